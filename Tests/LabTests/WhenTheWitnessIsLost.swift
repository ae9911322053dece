import Glibc
import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// The witness is needed when the hosts do not hear each other, and for nothing else.
    @Suite struct WhenTheWitnessIsLost {
        @Test func nothingHappensAndItsReturnIsNoticed() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.nothingHappens {
                    try pair.w.powerOff()
                    pair.letTimePass(PairOnHosts.lease * 3)
                }
                try pair.wait("both say so") { try pair.lab.hosts.allSatisfy { try pair.status($0).arbiter.reachable == false } }
                for host in pair.lab.hosts {
                    let codes = try pair.status(host).failover_ready.reasons?.map(\.code)
                    #expect(codes == ["witnessSilent"], "\(host.name): it could not take over now")
                }
                try pair.nothingHappens {
                    try pair.w.boot()
                    try pair.wait("the primary reaches it") { try pair.status(pair.a).arbiter.reachable == true }
                }
                try pair.waitUntilWhole(primary: "a")
            }
        }

        /// The standby consents before it stops, so nobody waits.
        @Test func theStandbyStopsInOrderWithoutAnOutage() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.w.powerOff()
                let before = pair.moment()
                try pair.b.stopService(.agent)
                try pair.waitUntilAlone(pair.a)
                try pair.letClientsWrite(100)
                #expect(try pair.longestWriteOutage(since: before.time) < PairOnHosts.calm)
                #expect(try pair.status(pair.a).term == before.terms["a"])
                try pair.b.startService(.agent)
                try pair.wait("they are paired again", upTo: .seconds(40)) { try pair.status(pair.a).bond == "paired" }
                try pair.w.boot()
                try pair.waitUntilWhole(primary: "a")
            }
        }

        /// Both nodes agree, so nobody else is asked: by a person, and when the primary's postmaster dies.
        @Test func handoversNeedItNot() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.w.powerOff()
                try pair.wait("both say so") {
                    try pair.lab.hosts.allSatisfy { try pair.status($0).failover_ready.reasons?.map(\.code) == ["witnessSilent"] }
                }
                func isPaired(_ primary: LabHost) -> Bool {
                    pair.statusIfAny(primary)?.role == "primary" && pair.statusIfAny(pair.other(primary))?.role == "standby"
                        && pair.statusIfAny(primary)?.bond == "paired" && pair.statusIfAny(pair.other(primary))?.bond == "paired"
                }
                try pair.ask(pair.a, "switchover")
                try pair.wait("b is primary, a its standby", upTo: .seconds(40)) { isPaired(pair.b) }
                let began = SystemClock.now()
                try pair.b.kill(.postmaster, signal: SIGKILL)
                try pair.wait("a is primary, b its standby", upTo: .seconds(40)) { isPaired(pair.a) }
                try pair.letClientsWrite(50)
                try pair.wereOut(since: began)
                try pair.w.boot()
                try pair.waitUntilWhole(primary: "a")
            }
        }

        /// Nobody can let the primary go on alone: its lease ends, and it stops. It is the price of two failures at a time, and ends by
        /// itself with either of them.
        @Test(arguments: ["w", "b"]) func theStandbyIsLostToo(returning: String) throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.w.powerOff()
                let lost = SystemClock.now()
                try pair.b.powerOff()
                try pair.wait("the primary has stopped") {
                    let status = try pair.status(pair.a)
                    return status.role == "none" && status.addresses.isEmpty
                }
                let late = try pair.clientLog().acknowledged.last { $0.node == "a" }
                if let late {
                    #expect(late.acknowledged < lost + PairOnHosts.lease.nanoseconds, "it wrote for longer than its lease")
                }
                try (returning == "w" ? pair.w : pair.b).boot()
                try pair.letClientsWrite(100)
                try (returning == "w" ? pair.b : pair.w).boot()
                try pair.waitUntilWhole(primary: "a")
            }
        }
    }
}
