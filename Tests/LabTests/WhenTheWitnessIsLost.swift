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
