import TandemCore
import TandemSystem

/// Brings a crashed instance to a clean end, which pg_rewind needs: as a standby without a source. Unlike single-user mode, which
/// pg_rewind itself would use, it writes no log, keeps `standby.signal` in its place, and removes no segment.
struct RejoinRecovery {
    let rejoin: Rejoin
    let attempted: String

    /// Command line settings win over all files.
    private static let options =
        [
            "primary_conninfo", "primary_slot_name", "restore_command", "archive_cleanup_command", "recovery_end_command",
            "recovery_target", "recovery_target_lsn", "recovery_target_name", "recovery_target_time", "recovery_target_xid",
            "listen_addresses", "synchronous_standby_names",
        ].map { "\($0)=" } + [
            // The control file's own: a history file that was fetched from the other branch must not lead it there.
            "recovery_target_timeline=current",
            // Nobody enters, and the parameters of before need not be reached.
            "hot_standby=off", "ssl=off", "logging_collector=off", "wal_keep_size=1000000", "max_slot_wal_keep_size=-1",
        ]

    func run(_ copy: CopyID, _ target: String) throws(PostgresError) {
        let instance = rejoin.instance
        var control = try instance.controlData()
        guard !control.wasShutDown else { return }
        let intent = RejoinIntent(phase: .recovering, target: target, copy: copy, words: "its own log is replayed")
        try intent.write(rejoin.settings)
        let end = Deadline(rejoin.options.recoveryDeadline)
        do throws(PostgresError) {
            while !control.wasShutDown {
                _ = try instance.start(.standby, deadline: end.atMost(.seconds(60)), options: Self.options)
                try awaitReplayed(control, end)
                try instance.stop(.fast, deadline: end.atMost(.seconds(300)))
                control = try instance.controlData()
                guard control.wasShutDown || !end.isOver else { throw late(control.state) }
            }
        } catch {
            _ = instance.endAll(deadline: .seconds(10))
            try RejoinIntent.remove(rejoin.settings)
            throw error
        }
        try RejoinIntent.remove(rejoin.settings)
    }

    /// The control file says `in archive recovery` once the end of the own log is reached. If that was its state before, there is
    /// no need for the end: what was not replayed yet is not in the data files either.
    private func awaitReplayed(_ before: ControlData, _ end: Deadline) throws(PostgresError) {
        var failure: PostgresError?
        let processes = rejoin.instance.processes
        let isDone = SystemClock.wait(upTo: end.left, step: .milliseconds(20)) {
            do throws(PostgresError) {
                guard try rejoin.instance.postmaster() != nil else {
                    throw PostgresError(
                        attempted: attempted,
                        happened: "PostgreSQL ended while it replayed its log: \(rejoin.instance.lastLogLines())",
                        meaning: "The directory is as a crash left it.",
                        advice: "Put right what its log names, or make a new copy.")
                }
                // Without a source, its title stays `recovering`, also where there is nothing left to replay.
                if before.isStandby {
                    let progress = processes.recoveryProgress() ?? ""
                    return progress.contains("recovering") || progress.contains("waiting for")
                }
                return try rejoin.instance.controlData().isStandby
            } catch {
                failure = error
                return true
            }
        }
        if let failure { throw failure }
        guard isDone else { throw late("recovery goes on") }
    }

    private func late(_ state: String) -> PostgresError {
        PostgresError(
            attempted: attempted, happened: "Replaying the own log was not done in time (\(state)).",
            meaning: "Nothing was lost; the server was stopped again.", advice: "Try it again with more time, or make a new copy."
        )
    }
}
