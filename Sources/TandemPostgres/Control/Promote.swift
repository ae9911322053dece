import Glibc
import TandemCore
import TandemSystem

extension Instance {
    /// How long the parts of a promotion took, and what came of it.
    public struct PromotionPhases: Hashable, Sendable {
        /// From the call until PostgreSQL had the order.
        public var requested: Duration
        /// From the order until recovery had ended: all received WAL was replayed, the new timeline began.
        public var recoveryEnded: Duration
        /// From there until the first transaction of ours was committed.
        public var firstWrite: Duration
        /// It was a primary already; nothing was done.
        public var wasOpen: Bool
        public var timeline: Timeline
        public var parentTimeline: Timeline?
        /// Where the new timeline begins; nil if its history file cannot be read.
        public var fork: LSN?
        /// `standby.signal` is there again; false: call `writeStandbySignal` and tell a person why it failed.
        public var hasStandbySignal: Bool
        public var total: Duration { requested + recoveryEnded + firstWrite }
    }

    /// Promotes the standby and returns when the first write was possible. Repeated on a primary it changes nothing.
    ///
    /// The order goes over the kept session if there is one (`keepReady`), else by the file and signal that pg_ctl
    /// uses, so that it also works when no session is to be had.
    /// - Throws: only when the server does not accept writes at the deadline, or it ended. The order stands then: PostgreSQL
    ///   goes on promoting, and it must not be taken for a standby any more (`hazards.md` H83).
    public func promote(deadline: Duration) throws(PostgresError) -> PromotionPhases {
        let end = Deadline(deadline)
        let begun = SystemClock.now()
        let order = try order(end)
        let ordered = SystemClock.now()
        let session = try awaitEndOfRecovery(order, end)
        let ended = SystemClock.now()
        do throws(SessionError) {
            _ = try session.query(Instance.firstWrite, deadline: end.left)
        } catch {
            throw failure(error.description)
        }
        let written = SystemClock.now()
        if order == .byFile { removeOrder() }
        var phases = PromotionPhases(
            requested: .nanoseconds(ordered - begun), recoveryEnded: .nanoseconds(ended - ordered),
            firstWrite: .nanoseconds(written - ended), wasOpen: order == .wasOpen, timeline: 0, parentTimeline: nil, fork: nil,
            hasStandbySignal: true)
        do throws(PostgresError) {
            try writeStandbySignal()
        } catch {
            // The server is open and needed: the caller is told by the flag, and repeats it.
            phases.hasStandbySignal = false
        }
        try describe(&phases, session, end)
        return phases
    }

    /// A commit like any other, that leaves nothing in a table.
    private static let firstWrite = "select pg_catalog.pg_logical_emit_message(true, 'pgtandem', 'opened')"

    private enum Order { case wasOpen, bySession, byFile }

    private func order(_ end: Deadline) throws(PostgresError) -> Order {
        do throws(SessionError) {
            let session = try session(end)
            let inRecovery = try session.query(
                prepared: "recovery", Instance.recoveryQuestion, deadline: end.atMost(.seconds(1)))
            guard inRecovery.isTrue else { return .wasOpen }
            _ = try session.query("select pg_catalog.pg_promote(false)", deadline: end.atMost(.seconds(1)))
            return .bySession
        } catch {
            // No session, or one that hangs: by the file.
            try orderByFile()
            return .byFile
        }
    }

    /// What `pg_ctl promote` does, without its look at the control file, which refuses a standby in its first moments.
    private func orderByFile() throws(PostgresError) {
        guard let postmaster = try postmaster() else {
            throw failure("There is no server. Its last words: \(lastLogLines())")
        }
        do throws(SystemError) {
            try files.write([], to: settings.inData("promote"))
        } catch {
            // The server may take it away before it is handed over (after an earlier signal): that is what it is for.
            guard error.code == ENOENT, OwnedFiles.exists(settings.dataDirectory) else { throw failure(error.description) }
        }
        _ = ProcessTable.signal(postmaster.pid, SIGUSR1)
    }

    /// PostgreSQL removes it; but one more may have been written in between.
    private func removeOrder() {
        // Best effort: it has no effect on a primary, and PostgreSQL removes it at its next start.
        _ = unlink(settings.inData("promote"))
    }

    /// Asks every millisecond on the kept session; makes a new one if it broke.
    private func awaitEndOfRecovery(_ order: Order, _ end: Deadline) throws(PostgresError) -> Session {
        var last = "pg_is_in_recovery() still says true."
        var nextSignal = SystemClock.now() + 200_000_000
        while !end.isOver {
            do throws(SessionError) {
                let session = try session(end)
                let inRecovery = try session.query(
                    prepared: "recovery", Instance.recoveryQuestion, deadline: end.atMost(.seconds(1)))
                if !inRecovery.isTrue { return session }
                last = "pg_is_in_recovery() still says true."
            } catch {
                last = error.description
                if processes.all().isEmpty { throw failure("The server ended. Its last words: \(lastLogLines())") }
            }
            // A signal that came before the process that recovers is lost; one more changes nothing.
            if order == .byFile, SystemClock.now() > nextSignal {
                try orderByFile()
                nextSignal = SystemClock.now() + 200_000_000
            }
            _ = SystemClock.wait(upTo: .milliseconds(1)) { false }
        }
        throw failure(last)
    }

    private func describe(_ phases: inout PromotionPhases, _ session: Session, _ end: Deadline) throws(PostgresError) {
        do throws(SessionError) {
            let name = try session.query(Instance.walFileQuestion, deadline: end.atMost(.seconds(2))).value ?? ""
            phases.timeline = Timeline(name.prefix(8), radix: 16) ?? 0
        } catch {
            throw failure(error.description)
        }
        let fork = Fork.read(settings.dataDirectory, phases.timeline)
        phases.parentTimeline = fork?.parent
        phases.fork = fork?.lsn
    }

    /// The control file tells the old timeline until the first checkpoint; the name of the WAL file does not.
    static let walFileQuestion = "select pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())"

    private func failure(_ happened: String) -> PostgresError {
        PostgresError(
            attempted: "promote PostgreSQL in \(settings.dataDirectory)", happened: happened,
            meaning: "Nobody accepts writes now; the promotion may still complete by itself.",
            advice: "Look into PostgreSQL's log on this host, and do not start another primary.")
    }
}
