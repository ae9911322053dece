import Glibc
import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// Half dead is worse than dead: processes that stand still and hold what they have.
    @Suite struct WhenSomethingHangs {
        private static let patience = Duration.seconds(3)

        private static var impatient: LabConfiguration {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            configuration.hangPatience = "3s"
            return configuration
        }

        @Test(arguments: [nil, PostgresProcess.postmaster]) func postgresHangsAndTheStandbyTakesOver(kind: PostgresProcess?)
            throws
        {
            try PairOnHosts.story(Self.impatient) { pair in
                let began = SystemClock.now()
                try pair.a.kill(kind, signal: SIGSTOP)
                try pair.waitUntilWhole(primary: "b", upTo: .seconds(60))
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began, atMost: Self.patience + PairOnHosts.tolerance)
            }
        }

        /// The guard acts at the deadline that the agent does not renew; the other one takes over; the agent, awake again, comes back.
        @Test func thePrimarysAgentStandsStillForAMinute() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let began = SystemClock.now()
                try pair.a.signalService(SIGSTOP)
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began)
                #expect(pair.a.postgresProcesses().isEmpty, "the guard has ended every process")
                pair.letTimePass(.seconds(60) - .nanoseconds(SystemClock.now() - began))
                try pair.a.signalService(SIGCONT)
                try pair.waitUntilWhole(primary: "b")
            }
        }

        /// Both are gone at once, and nobody starts them again: the service manager runs the guard's last act at the deadline.
        @Test func agentAndGuardAreKilledTogether() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let began = SystemClock.now()
                try pair.a.killServices([.agent, .guardian])
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began)
                #expect(pair.a.postgresProcesses().isEmpty)
                try pair.a.startService(.guardian)
                try pair.a.startService(.agent)
                try pair.waitUntilWhole(primary: "b")
            }
        }

        @Test func theGuardDiesAndIsStartedAnew() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.nothingHappens {
                    try pair.a.signalService(SIGKILL, .guardian)
                    try pair.wait("another one guards") {
                        guard let its = try pair.status(pair.a).guard else { return false }
                        return its.alive && its.armed
                    }
                    pair.letTimePass(PairOnHosts.lease * 2)
                }
                try pair.waitUntilWhole(primary: "a")
            }
        }
    }
}
