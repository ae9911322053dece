import Glibc
import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// Wall time decides nothing (`protocol.md` 3.1). The clock of one host is moved by a preloaded library, under the services and under
    /// PostgreSQL: a stand-in, as one machine has one wall clock.
    @Suite struct WhenClocksLie {
        @Test(arguments: [5.0, -5.0]) func theWallClockOfThePrimaryJumps(hours: Double) throws {
            try PairOnHosts.story(arbiter: "witness", movableWallClocks: ["a"]) { pair in
                try pair.nothingHappens {
                    try pair.a.moveWallClock(hours: hours)
                    pair.letTimePass(PairOnHosts.lease * 2)
                }
                let began = SystemClock.now()
                try pair.a.powerOff()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(50)
                try pair.wereOut(since: began)
                try pair.a.boot()
                try pair.waitUntilWhole(primary: "b")
            }
        }

        /// By the clock of this host every certificate ended years ago: its agent warns, and both links come up all the same.
        @Test func everyCertificateIsOutOfDate() throws {
            try PairOnHosts.story(arbiter: "witness", movableWallClocks: ["a"]) { pair in
                try pair.nothingHappens {
                    try pair.a.moveWallClock(hours: 24 * 365 * 30)
                    try pair.a.signalService(SIGKILL)
                    try pair.wait("its agent is back, hears the other one, and reaches the witness") {
                        guard let status = pair.statusIfAny(pair.a) else { return false }
                        return status.peer.reachable && status.arbiter.reachable == true && status.role == "primary"
                    }
                }
                let log = try String(contentsOfLog: pair.a)
                #expect(log.contains("it still works; make a new one with `pgtandem tls renew`"), "it warns")
                try pair.waitUntilWhole(primary: "a")
            }
        }
    }

    /// Asynchronous mode: what was acknowledged on one host alone may be lost with it, within the limits, and it is told.
    @Suite struct WhenCommitsAreAsynchronous {
        @Test func whatThePrimaryAloneHadIsLostWithItAndTold() throws {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            configuration.mode = "asynchronous"
            var cut: Int64 = 0
            func alone(_ pair: PairOnHosts) throws -> Int {
                try pair.clientLog().acknowledged.count { $0.node == "a" && $0.acknowledged >= cut }
            }
            try PairOnHosts.story(configuration, mayLose: alone) { pair in
                cut = SystemClock.now()
                // WAL does not arrive any more; heartbeats do.
                try pair.lab.cut(from: "a", to: "b", tcpPort: 5432)
                try pair.letClientsWrite(20)
                try pair.a.powerOff()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(50)
                try pair.lab.heal()
                try pair.a.boot()
                try pair.waitUntilWhole(primary: "b")
                let log = try String(contentsOfLog: pair.a)
                #expect(log.contains("that branch of its WAL is kept"), "\(log.suffix(2000))")
                #expect(log.contains("lost bytes="), "the log says how much")
                let report = try pair.a.demand(["sh", "-c", "cat /var/lib/pgtandem/diverged/*/report*"])
                #expect(report.contains("commits"), "\(report)")
            }
        }
    }
}
