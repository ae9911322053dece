import Glibc
import TandemLab
import TandemSystem
import TandemWire
import Testing

extension OnHosts {
    /// Real-time priority and locked memory are luxuries: without the right to them everything runs, and `status` says what is less safe.
    @Suite struct WhenRightsAreMissing {
        /// As a unit without these capabilities, and with the kernel's small default limits, would start both services.
        private static let without = [
            "/usr/bin/prlimit", "--memlock=65536:65536", "--rtprio=0:0", "--", "/usr/bin/setpriv",
            "--bounding-set=-sys_nice,-ipc_lock",
            "--inh-caps=-sys_nice,-ipc_lock", "--",
        ]

        @Test func neitherPriorityNorLockedMemory() throws {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            // There is no such device in the lab: the gap is named.
            configuration.more = "watchdog: { device: /dev/watchdog-of-nobody }"
            try PairOnHosts.story(configuration) { pair in
                let sound = try #require(try pair.status(pair.a).guard)
                #expect(sound.realtime && sound.memory_locked, "where nothing is taken away it has both")
                let program = [LabHost.programPath]
                let lastAct = program + ["guard", "--last-act", "--config", LabConfiguration.path]
                pair.b.setService(Self.without + program + ["run"], lastAct: lastAct, startsAtBoot: true)
                pair.b.setService(
                    Self.without + program + ["guard", "--config", LabConfiguration.path], as: .guardian, lastAct: lastAct,
                    startsAtBoot: true)
                let tls = LabConfiguration.witnessTLSDirectory
                try pair.w.setService(
                    Self.without + program + [
                        "witness", "--listen", "\(Lab.witnessAddress):\(Lab.witnessPort)", "--state",
                        LabConfiguration.witnessStateDirectory,
                        "--tls", tls,
                    ], as: .witness, startsAtBoot: true)
                for machine in [pair.b, try pair.w] {
                    try machine.powerOff()
                    try machine.boot()
                    try pair.waitUntilWhole(primary: "a")
                }
                let told = try String(contentsOfLog: try pair.w)
                for words in ["take real-time priority", "lock memory"] {
                    #expect(
                        told.contains("answers may be late on a busy host reason=\"\(words)"),
                        "the witness says it in its log: \(told.suffix(1000))")
                }
                try pair.ask(pair.a, "switchover")
                try pair.waitUntilWhole(primary: "b")
                try pair.undisturbed("b") { pair.letTimePass(PairOnHosts.lease * 3) }

                let status = try pair.status(pair.b)
                let guardian = try #require(status.guard)
                #expect(guardian.alive && guardian.armed && !guardian.realtime && !guardian.memory_locked)
                let text = try pair.b.demand([LabHost.programPath, "status"], deadline: .seconds(10))
                for words in [
                    "the guard has no real-time priority and no locked memory",
                    "heartbeats may be late on a busy host: take real-time priority",
                    "heartbeats may be late on a busy host: lock memory", "CAP_SYS_NICE", "CAP_IPC_LOCK", "failover ready: yes",
                ] {
                    #expect(text.contains(words), "\(words): \(text)")
                }
                #expect(guardian.watchdog == "failed")
                #expect(text.contains("not covered: the watchdog /dev/watchdog-of-nobody cannot be used"), "\(text)")
                let quiet = try pair.a.demand([LabHost.programPath, "status"], deadline: .seconds(10))
                #expect(!quiet.contains("not covered"), "nothing is lent to a standby: \(quiet)")

                // And the guard does its work all the same.
                let began = SystemClock.now()
                try pair.b.signalService(SIGSTOP)
                try pair.waitUntilAlone(pair.a)
                try pair.letClientsWrite(50)
                try pair.wereOut(since: began)
                #expect(pair.b.postgresProcesses().isEmpty, "the guard has ended every process")
                try pair.b.signalService(SIGCONT)
                try pair.waitUntilWhole(primary: "a")
                let gap = try #require(try pair.status(pair.a).guard)
                #expect(gap.watchdog == "failed" && gap.not_covered != nil)
            }
        }
    }
}
