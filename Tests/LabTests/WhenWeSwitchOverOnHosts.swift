import Glibc
import TandemLab
import TandemSystem
import Testing

@Suite(
    .serialized, .enabled(if: PairOnHosts.canRun, "needs root, nft and the built program"),
    .timeLimit(.minutes(PairOnHosts.patience)))
struct OnHosts {}

extension OnHosts {
    @Suite struct WhenWeSwitchOver {
        @Test func bothWaysUnderLoadNothingIsLost() throws {
            try PairOnHosts.story { pair in
                for (round, target) in ["b", "a"].enumerated() {
                    let began = SystemClock.now()
                    try pair.script.command(on: pair.host(target), ["switchover", "--to", target])
                    try pair.waitUntilWhole(primary: target)
                    try pair.letClientsWrite(50)
                    let outage = try pair.outage(since: began)
                    #expect(outage.writes.longestGap < .seconds(2), "writes were out for \(outage.writes.longestGap)")
                    // Handover, consent, paired (which leaves one number out): and none more while nothing happens.
                    let status = try pair.status(pair.host(target))
                    #expect(status.term == UInt64(3 + round))
                    #expect(status.step.map { $0 <= 4 } == true, "the bond swings: step \(status.step ?? 0)")
                }
            }
        }

        @Test func aDryRunAndARefusalChangeNothing() throws {
            try PairOnHosts.story { pair in
                let dry = try pair.a.run([PairOnHosts.binaryInside, "switchover", "--dry-run"], deadline: .seconds(10))
                #expect(dry.succeeded, "\(dry.errors)")
                #expect(dry.output.contains("could take over now"))
                let refused = try pair.b.run([PairOnHosts.binaryInside, "failover", "--peer-is-down"], deadline: .seconds(10))
                #expect(refused.ending == .exited(1))
                #expect(refused.errors.contains("peerHeard"), "\(refused.errors)")
                let wrong = try pair.a.run([PairOnHosts.binaryInside, "switchover", "--to", "c"], deadline: .seconds(10))
                #expect(wrong.ending == .exited(2))
                #expect(pair.isWhole(primary: "a"))
            }
        }
    }

    @Suite struct WhenPostgresDies {
        @Test func thePrimarysPostmasterTheStandbyTakesOver() throws {
            try PairOnHosts.story { pair in
                let began = SystemClock.now()
                #expect(try pair.a.kill(.postmaster) == 1)
                try pair.waitUntilWhole(primary: "b")
                try pair.letClientsWrite(50)
                let outage = try pair.outage(since: began)
                #expect(outage.writes.longestGap < .seconds(2), "writes were out for \(outage.writes.longestGap)")
                #expect(try pair.a.kill(.postmaster) == 1, "the old primary runs as a standby")
                try pair.waitUntilWhole(primary: "b")
            }
        }

        @Test func aBackendNoDataIsLostAndServiceComesBack() throws {
            try PairOnHosts.story { pair in
                #expect(try pair.a.kill(.backend) > 0)
                try pair.waitUntilWhole(primary: "b")
                try pair.letClientsWrite(50)
            }
        }

        @Test func theStandbysItsAddressMovesAndComesBack() throws {
            try PairOnHosts.story { pair in
                let began = SystemClock.now()
                #expect(try pair.b.kill(.postmaster) == 1)
                try pair.wait("the primary goes on alone, or the standby is back already") {
                    let text = try String(contentsOfLog: pair.a)
                    return text.contains("this node goes on alone")
                }
                try pair.waitUntilWhole(primary: "a")
                let outage = try pair.outage(since: began)
                #expect(outage.writes.longestGap < .seconds(2), "writes were out for \(outage.writes.longestGap)")
                #expect(outage.reads.longestGap < .seconds(3), "reads were out for \(outage.reads.longestGap)")
            }
        }
    }

    @Suite struct WhenAnAgentStops {
        @Test func theStandbysInOrderThePrimaryServesBoth() throws {
            try PairOnHosts.story { pair in
                _ = try pair.b.stopService()
                try pair.wait("the primary has both addresses") {
                    let status = try pair.status(pair.a)
                    return status.role == "primary_standby" && status.addresses == [Lab.primaryAddress, Lab.standbyAddress]
                }
                #expect(pair.b.postgresProcesses().isEmpty, "PostgreSQL was stopped too")
                try pair.letClientsWrite(50)
                try pair.b.startService()
                try pair.waitUntilWhole(primary: "a")
            }
        }

        @Test func thePrimarysInOrderTheRoleIsHandedOver() throws {
            try PairOnHosts.story { pair in
                let began = SystemClock.now()
                _ = try pair.a.stopService()
                try pair.wait("the standby serves both") { try pair.status(pair.b).role == "primary_standby" }
                try pair.letClientsWrite(50)
                let outage = try pair.outage(since: began)
                #expect(outage.writes.longestGap < .seconds(2), "writes were out for \(outage.writes.longestGap)")
                try pair.a.startService()
                try pair.waitUntilWhole(primary: "b")
            }
        }

        @Test func killedAndRestartedUnderLoadClientsDoNotNotice() throws {
            try PairOnHosts.story { pair in
                // The longest gap of an equal span, with the same questions asked and nobody killed: what this machine does by itself.
                func longestGap(_ act: () throws -> Void) throws -> Duration {
                    let began = SystemClock.now()
                    try act()
                    try pair.waitUntilWhole(primary: "a")
                    try pair.letClientsWrite(400)
                    return try pair.outage(since: began).writes.longestGap
                }
                let usual = try max(longestGap {}, longestGap {})
                for host in [pair.a, pair.b] {
                    let starts = try host.serviceStatus().starts
                    let longest = try longestGap {
                        try host.signalService(SIGKILL)
                        try pair.wait("the agent was started again") { try host.serviceStatus().starts > starts }
                    }
                    // A machine whose own gaps are long is one where the start of a program costs as much more.
                    #expect(longest - usual < max(usual, .milliseconds(50)), "the longest gap was \(longest), usually \(usual)")
                }
            }
        }
    }

    @Suite struct WhenNothingMayHappen {
        @Test func allConnectionsAreUsedUp() throws {
            try PairOnHosts.story { pair in
                let hog = try pair.a.spawn(
                    ["/bin/sh", "-c", "for i in $(seq 1 120); do psql -q -d postgres -c 'select pg_sleep(8)' & done; wait"],
                    user: "postgres", outputPath: pair.lab.folder + "/hog.out")
                try pair.wait("clients are turned away") {
                    let answer = try pair.a.run(
                        ["psql", "-h", "/run/postgresql", "-d", "postgres", "-Atc", "select 1"], user: "postgres",
                        deadline: .seconds(5))
                    return answer.errors.contains("too many clients") || answer.errors.contains("remaining connection slots")
                }
                for _ in 0..<10 {
                    #expect(try pair.status(pair.a).role == "primary")
                    #expect(try pair.status(pair.a).bond == "paired")
                }
                _ = hog.stop(within: .seconds(20))
                try pair.waitUntilWhole(primary: "a")
            }
        }
    }

    @Suite struct WhenSomebodyMeddles {
        @Test func anAddressRemovedByHandComesBackWithinAHeartbeat() throws {
            try PairOnHosts.story { pair in
                for (host, address) in [(pair.a, Lab.primaryAddress), (pair.b, Lab.standbyAddress)] {
                    let began = SystemClock.now()
                    try host.demand(["ip", "address", "del", address + "/32", "dev", "eth0"])
                    try pair.wait("it is back") { try host.demand(["ip", "address", "show", "dev", "eth0"]).contains(address) }
                    #expect(SystemClock.now() - began < 1_000_000_000)
                }
                try pair.waitUntilWhole(primary: "a")
            }
        }

        @Test func anAddressAddedByHandGoes() throws {
            try PairOnHosts.story { pair in
                try pair.b.demand(["ip", "address", "add", Lab.primaryAddress + "/32", "dev", "eth0"])
                try pair.wait("it is gone") {
                    try !pair.b.demand(["ip", "address", "show", "dev", "eth0"]).contains(Lab.primaryAddress + "/")
                }
                try pair.waitUntilWhole(primary: "a")
            }
        }
    }
}

extension String {
    init(contentsOfLog host: LabHost) throws {
        self = String(decoding: try DurableFile.read(host.serviceLogPath, limit: 64 << 20) ?? [], as: UTF8.self)
    }
}
