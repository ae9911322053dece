import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// Power, and machines that stand still: nobody's hand is needed, neither for the failover nor for the way back.
    @Suite struct WhenAHostIsLost {
        @Test func thePrimarysHostLosesPowerAndTheStandbyTakesOver() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let began = SystemClock.now()
                try pair.a.powerOff()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began)
                try pair.a.boot()
                try pair.waitUntilWhole(primary: "b")
            }
        }

        @Test func theStandbysHostLosesPowerAndThePrimaryGoesOnAlone() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let began = SystemClock.now()
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                try pair.letClientsWrite(100)
                // Commits wait until the witness lets the primary go on: within a lease, too.
                try pair.wereOut(since: began)
                let term = try pair.status(pair.a).term
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "a")
                #expect(try pair.status(pair.a).term == term, "the primary stays what it was")
            }
        }

        /// Who was primary may open again when the witness answers, whoever boots first.
        @Test(arguments: ["a", "b"]) func bothLosePowerAndBootOneAfterTheOther(first: String) throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.a.powerOff()
                try pair.b.powerOff()
                let early = pair.host(first)
                try early.boot()
                try pair.wait("the one that is up serves alone", upTo: .seconds(60)) {
                    guard let status = pair.statusIfAny(early) else { return false }
                    return status.role == "primary_standby" && status.bond == "sole"
                }
                try pair.letClientsWrite(50)
                try pair.other(early).boot()
                try pair.waitUntilWhole(primary: first)
            }
        }

        /// Without the witness neither may open before it hears the other one: each of them might have been left behind.
        @Test(arguments: ["a", "b"]) func bothLosePowerAndTheWitnessToo(first: String) throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                for host in [pair.a, pair.b, try pair.w] { try host.powerOff() }
                let early = pair.host(first)
                try early.boot()
                try pair.wait("it waits, as a standby or with no role", upTo: .seconds(30)) {
                    guard let status = pair.statusIfAny(early) else { return false }
                    return status.postgresql.condition == "recovering" && status.role != "primary"
                        && status.role != "primary_standby"
                }
                pair.letTimePass(.seconds(5))
                let status = try pair.status(early)
                #expect(status.role == (first == "a" ? "none" : "standby"), "\(status)")
                #expect(!status.addresses.contains(Lab.primaryAddress))
                try pair.other(early).boot()
                try pair.wait("they hear each other, and a opens", upTo: .seconds(40)) {
                    pair.statusIfAny(pair.a)?.role == "primary" && pair.statusIfAny(pair.b)?.role == "standby"
                }
                try pair.letClientsWrite(100)
                try pair.w.boot()
                try pair.waitUntilWhole(primary: "a")
            }
        }

        /// Every process of the host stands still for longer than a lease, the guard too, and goes on when the other one is primary. In
        /// synchronous mode nothing that it still acknowledges is lost, as nobody confirms its WAL any more.
        /// Frozen are its processes: the kernel goes on, and answers for the address until its lifetime ends, which is the lease and a second.
        @Test func aFrozenHostThawsWhenTheOtherOneIsPrimary() throws {
            try PairOnHosts.story(arbiter: "witness", overlap: .milliseconds(1500)) { pair in
                let began = SystemClock.now()
                try pair.a.freeze()
                try pair.wait("b is primary") { try pair.status(pair.b).role == "primary_standby" }
                try pair.letClientsWrite(100)
                try pair.a.thaw()
                try pair.waitUntilWhole(primary: "b")
                try pair.wereOut(since: began)
            }
        }

        @Test func theProfileFastIsFaster() throws {
            try PairOnHosts.story(arbiter: "witness", timing: "fast") { pair in
                let began = SystemClock.now()
                try pair.a.powerOff()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began, atMost: .milliseconds(400) + PairOnHosts.tolerance)
                try pair.a.boot()
                try pair.waitUntilWhole(primary: "b")
            }
        }
    }
}
