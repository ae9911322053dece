import Foundation
import Glibc
import TandemLab
import TandemSystem
import TandemWire
import Testing

extension OnHosts {
    /// The units of `packaging/`, kept by a real systemd: what the lab's own service manager does everywhere else is what systemd does.
    @Suite(
        .enabled(if: access(LabUnits.systemd, X_OK) == 0, "systemd is not installed here"))
    struct UnderSystemd {
        private static func text(_ name: String) throws -> String {
            let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent()
            return try String(contentsOf: root.appending(path: "packaging/\(name)"), encoding: .utf8)
        }

        private static func story(_ body: (PairOnHosts) throws -> Void) throws {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            let names = ["pgtandem.service", "pgtandem-guard.service"]
            let hosts = try LabUnits(Dictionary(uniqueKeysWithValues: names.map { ($0, try text($0)) }))
            let witness = try LabUnits(
                ["pgtandem-witness.service": text("pgtandem-witness.service")], users: ["pgtandem-witness"])
            try PairOnHosts.story(configuration, units: (hosts, witness), body)
        }

        private static func starts(_ unit: String, _ host: LabHost) throws -> Int {
            try #require(Int(host.systemctl(["show", "--value", "-p", "NRestarts", unit])))
        }

        /// Numbers of its processes.
        private static func postgres(on host: LabHost) throws -> String {
            try host.run(["pgrep", "-x", "postgres"]).output
        }

        private static func kill(_ units: String..., on host: LabHost) throws {
            try host.systemctl(["kill", "--kill-who=main", "-s", "KILL"] + units)
        }

        private static func waitUntilStartedAgain(_ unit: String, _ host: LabHost, after before: Int, _ pair: PairOnHosts) throws
        {
            try pair.wait("systemd has started \(unit) again") {
                try starts(unit, host) > before && host.systemctl(["show", "--value", "-p", "SubState", unit]) == "running"
            }
        }

        @Test func servicesThatDieAreStartedAgainAndClientsDoNotNotice() throws {
            try Self.story { pair in
                for host in [pair.a, pair.b] {
                    let status = try pair.status(host)
                    let guardian = try #require(status.guard)
                    #expect(guardian.alive && guardian.realtime && guardian.memory_locked, "the units give the rights for both")
                    #expect(status.notes.isEmpty, "\(status.notes)")
                }
                let machine = try pair.w
                #expect(try machine.demand(["ps", "-C", "pgtandem", "-o", "uid="]).contains("64000"), "its own user")
                let told = try String(contentsOfLog: machine)
                #expect(told.contains("witness serves") && !told.contains("answers may be late"), "\(told)")

                try pair.nothingHappens {
                    try pair.a.systemctl(["reload", "pgtandem"])
                    try pair.wait("it has read its certificates anew") {
                        try String(contentsOfLog: pair.a).contains("the certificates were read anew")
                    }
                    try machine.systemctl(["reload", "pgtandem-witness"])
                    for (host, unit) in [
                        (pair.a, "pgtandem"), (pair.b, "pgtandem"), (pair.a, "pgtandem-guard"), (machine, "pgtandem-witness"),
                    ] {
                        let before = try Self.starts(unit, host)
                        try Self.kill(unit, on: host)
                        try Self.waitUntilStartedAgain(unit, host, after: before, pair)
                        try pair.waitUntilWhole(primary: "a")
                    }
                    let before = try Self.starts("pgtandem", pair.a)
                    try Self.kill("pgtandem", "pgtandem-guard", on: pair.a)
                    try Self.waitUntilStartedAgain("pgtandem", pair.a, after: before, pair)
                    try pair.waitUntilWhole(primary: "a")
                }
            }
        }

        @Test func stoppedInOrderTheRoleIsHandedOver() throws {
            try Self.story { pair in
                let began = SystemClock.now()
                try pair.a.systemctl(["stop", "pgtandem"], within: .seconds(160))
                try pair.wait("the standby serves both") { try pair.status(pair.b).role == "primary_standby" }
                try pair.letClientsWrite(50)
                try pair.wereOut(since: began, atMost: .seconds(2))
                #expect(try pair.a.systemctl(["show", "--value", "-p", "Result", "pgtandem"]) == "success")
                #expect(try Self.postgres(on: pair.a).isEmpty, "PostgreSQL is stopped with it")
                #expect(try !Self.postgres(on: pair.b).isEmpty)
                try pair.a.systemctl(["start", "pgtandem"])
                try pair.waitUntilWhole(primary: "b")
            }
        }

        @Test func aHostThatLostPowerComesBackByItself() throws {
            try Self.story { pair in
                let began = SystemClock.now()
                try pair.a.powerOff()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(50)
                try pair.wereOut(since: began)
                try pair.a.boot()
                try pair.waitUntilWhole(primary: "b")
            }
        }

        @Test func whatCannotBeginIsTriedOnceASecond() throws {
            try Self.story { pair in
                let file = LabConfiguration.path
                try pair.b.demand(["cp", file, "\(file).good"])
                try pair.b.demand(["/bin/sh", "-c", "echo 'nonsense: 1' >> \(file)"])
                try pair.b.systemctl(["restart", "pgtandem"])
                let before = try Self.starts("pgtandem", pair.b)
                pair.letTimePass(.seconds(5))
                let tries = try Self.starts("pgtandem", pair.b) - before
                #expect((2...6).contains(tries), "\(tries) starts in 5 s")
                try pair.b.demand(["cp", "\(file).good", file])
                try pair.waitUntilWhole(primary: "a")
            }
        }

        /// Neither comes back: what `ExecStopPost` runs is all that is left.
        @Test func agentAndGuardGoneForGoodTheLastActEndsTheInstance() throws {
            try Self.story { pair in
                for unit in ["pgtandem", "pgtandem-guard"] {
                    let folder = "/run/units/\(unit).service.d"
                    try pair.a.demand(["mkdir", "-p", folder])
                    try pair.a.demand(["/bin/sh", "-c", "printf '[Service]\\nRestart=no\\n' > \(folder)/once.conf"])
                }
                try pair.a.systemctl(["daemon-reload"])
                let began = SystemClock.now()
                #expect(try !Self.postgres(on: pair.a).isEmpty)
                // At one moment, with the spare that the agent keeps: whoever is left starts another.
                try pair.a.insideSystemd(["pkill", "-KILL", "-f", "^[^ ]*pgtandem (run|guard)"])
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(50)
                try pair.wereOut(since: began)
                try pair.wait("no process of the instance is left") { try Self.postgres(on: pair.a).isEmpty }
                let addresses = try pair.a.demand(["ip", "-o", "address", "show", "dev", "eth0"])
                #expect(!addresses.contains(Lab.primaryAddress), "\(addresses)")
                try pair.a.systemctl(["start", "pgtandem-guard", "pgtandem"])
                try pair.waitUntilWhole(primary: "b")
            }
        }
    }
}
