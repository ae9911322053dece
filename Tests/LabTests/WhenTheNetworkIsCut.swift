import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// Links fail in one direction or both, carrier stays. Whoever is cut off stops in time; whoever can be reached serves.
    @Suite struct WhenTheNetworkIsCut {
        /// The witness hears both: the primary asks it first, as its standby does not confirm.
        @Test func theHostsAreCutApart() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let began = SystemClock.now()
                try pair.lab.separate("a", "b")
                try pair.wait("one of them serves alone") { pair.lab.hosts.contains { pair.serves($0, alone: true) } }
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began)
                try pair.lab.heal()
                try pair.waitUntilWhole()
            }
        }

        @Test(arguments: [("a", "b"), ("b", "a")]) func oneDirectionBetweenTheHostsIsCut(from: String, to: String) throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let began = SystemClock.now()
                try pair.lab.cut(from: LabPort(from), to: LabPort(to))
                try pair.wait("one of them serves alone") { pair.lab.hosts.contains { pair.serves($0, alone: true) } }
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began)
                #expect(try pair.lab.droppedFrames() > 0, "the cut was hit")
                try pair.lab.heal()
                try pair.waitUntilWhole()
            }
        }

        /// Its lease runs out, its guard ends PostgreSQL and removes the addresses; the other one is promoted.
        @Test func thePrimaryIsCutOffFromEveryone() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let began = SystemClock.now()
                try pair.lab.isolate("a")
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began)
                let status = try pair.status(pair.a)
                #expect(status.addresses.isEmpty, "\(status)")
                #expect(status.role == "none", "\(status)")
                let healed = SystemClock.now()
                try pair.lab.heal()
                try pair.waitUntilWhole(primary: "b")
                // What was taken away from it, the old primary does not claim any more: no client is drawn there.
                let whole = SystemClock.now()
                try pair.letClientsWrite(200)
                #expect(try pair.machines(with: Lab.primaryAddress, since: healed) == [pair.b.hardwareAddress])
                #expect(try pair.longestWriteOutage(since: whole) < PairOnHosts.calm)
            }
        }

        @Test func thePrimaryIsCutOffFromTheWitnessOnly() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.nothingHappens {
                    try pair.lab.separate("a", "w")
                    pair.letTimePass(PairOnHosts.lease * 3)
                }
                try pair.wait("it says so") { try pair.status(pair.a).arbiter.reachable == false }
                try pair.lab.heal()
                try pair.waitUntilWhole(primary: "a")
            }
        }

        /// That clients reach nobody is no failure of the pair: both hosts, the witness and the gateway answer.
        @Test func onlyTheClientsAreCutOff() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let terms = try pair.lab.hosts.map { try pair.status($0).term }
                for host: LabPort in ["a", "b"] { try pair.lab.separate(host, .client) }
                pair.letTimePass(PairOnHosts.lease * 3)
                #expect(pair.isWhole(primary: "a"))
                #expect(try pair.lab.hosts.map { try pair.status($0).term } == terms)
                try pair.lab.heal()
                try pair.letClientsWrite(100)
            }
        }
    }
}

extension PairOnHosts {
    func serves(_ host: LabHost, alone: Bool) -> Bool {
        guard let status = statusIfAny(host) else { return false }
        return status.role == (alone ? "primary_standby" : "primary")
    }
}
