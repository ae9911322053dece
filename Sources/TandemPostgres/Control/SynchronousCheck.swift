import TandemCore
import TandemSystem

/// One run of `Instance.confirmSynchronous`; its reasons stand there.
struct SynchronousCheck {
    let settings: InstanceSettings
    let copy: CopyID
    let addresses: [String]
    let end: Deadline

    /// For one statement: never so little that it could not be answered and the reason would be lost.
    private var patience: Duration { max(end.left, .milliseconds(500)) }

    private var names: String { ManagedSettings.synchronousNames(copy) }

    func run() throws(PostgresError) -> LSN {
        let watcher = try open(SessionTarget(settings))
        defer { watcher.close() }
        try awaitNames(watcher)
        try awaitSender(watcher, flushed: nil)
        try seeCommitWait(watcher)
        let answer = try ask(watcher, "select pg_catalog.pg_current_wal_insert_lsn()")
        guard let position = answer.value.flatMap({ LSN($0) }) else { throw failure("The server told no insert position.") }
        try awaitSender(watcher, flushed: position)
        guard try namesAreSet(watcher) else { throw failure("Somebody changed synchronous_standby_names meanwhile.") }
        return position
    }

    // MARK: the names

    private func namesAreSet(_ watcher: Session) throws(PostgresError) -> Bool {
        try ask(watcher, "select pg_catalog.current_setting('synchronous_standby_names')").value == names
    }

    private func awaitNames(_ watcher: Session) throws(PostgresError) {
        while try !namesAreSet(watcher) {
            try pause("synchronous_standby_names is not \(names).")
        }
    }

    // MARK: the sender

    /// Until exactly one sender counts for commits, and it is the right one. Both are looked at in one answer.
    private func awaitSender(_ watcher: Session, flushed position: LSN?) throws(PostgresError) {
        let sql = """
            select pid, application_name, coalesce(host(client_addr), 'a local socket'),
              coalesce(client_addr = any($1::inet[]), false), state, sync_state, sync_priority,
              coalesce(flush_lsn >= $2::pg_lsn, false), flush_lsn
            from pg_catalog.pg_stat_replication where sync_priority > 0 or application_name = $3
            """
        let parameters = [Instance.arrayText(addresses), (position ?? LSN(0)).description, copy.applicationName]
        while true {
            let problem = problem(try ask(watcher, sql, parameters).rows, position)
            guard let problem else { return }
            try pause(problem)
        }
    }

    /// What is missing; nil: nothing.
    private func problem(_ senders: [[String?]], _ position: LSN?) -> String? {
        guard let sender = senders.first else { return "No sender with the name \(copy.applicationName) is connected." }
        guard senders.count == 1, sender.count == 9 else {
            let list = senders.map { "\($0[1] ?? "") from \($0[2] ?? "")" }.joined(separator: ", ")
            return "More than one sender counts for commits, or has the name: \(list)."
        }
        guard sender[1] == copy.applicationName else { return "Commits wait for another sender: \(sender[1] ?? "")." }
        guard sender[3] == "t" else {
            return "The sender of that name comes from \(sender[2] ?? ""), not from \(addresses.joined(separator: " or "))."
        }
        guard sender[4] == "streaming" else { return "The sender is not streaming (state \(sender[4] ?? "unknown"))." }
        guard sender[5] == "sync" else { return "The sender does not count for commits (\(sender[5] ?? "unknown"))." }
        guard sender[7] == "t" else {
            return "The standby has flushed \(sender[8] ?? "nothing"), not yet \(position?.description ?? "anything")."
        }
        return nil
    }

    // MARK: the probe

    /// Commits until a commit was seen to wait. A quick standby answers before we look: then the message grows, and with
    /// it the time that the standby needs.
    private func seeCommitWait(_ watcher: Session) throws(PostgresError) {
        var target = SessionTarget(settings)
        target.synchronousCommit = "on"
        let probe = try open(target)
        var bytes = 16
        do throws(PostgresError) {
            while try !probeWaits(probe, watcher, bytes) {
                bytes = min(bytes * 4, 1 << 20)
                guard !end.isOver else { throw failure("No commit was seen to wait for the standby.") }
            }
        } catch {
            try terminate(probe, watcher, error)
        }
        probe.close()
    }

    /// One commit; true if some commit (this or a client's) was seen waiting.
    private func probeWaits(_ probe: Session, _ watcher: Session, _ bytes: Int) throws(PostgresError) -> Bool {
        let commit = "select pg_catalog.pg_logical_emit_message(true, 'pgtandem', pg_catalog.repeat('.', \(bytes)))"
        // pg_stat_activity without its joins: the look must be quicker than the standby.
        let look = """
            select exists (select from pg_catalog.pg_stat_get_activity(null)
              where wait_event = 'SyncRep' and backend_type = 'client backend')
            """
        var isWaiting = false
        do throws(SessionError) {
            try probe.begin(commit)
            while true {
                if try watcher.query(prepared: "waiting", look, deadline: patience).isTrue { isWaiting = true }
                if isWaiting { return true }
                if try probe.isDone() { break }
                // It neither returned nor was seen to wait: it hangs elsewhere.
                if end.isOver { return false }
            }
            _ = try probe.finish(deadline: patience)
        } catch {
            throw failure("The probe commit failed: \(error)")
        }
        return false
    }

    /// Ends the probe's backend, as its commit may wait for ever. Terminated, never cancelled: a cancelled wait is
    /// acknowledged as a success (`hazards.md` H88).
    private func terminate(_ probe: Session, _ watcher: Session, _ reason: PostgresError) throws(PostgresError) -> Never {
        var reason = reason
        do throws(SessionError) {
            // The deadline is over already; this has a small one of its own.
            _ = try watcher.query("select pg_catalog.pg_terminate_backend($1)", ["\(probe.backend)"], deadline: .seconds(1))
        } catch {
            reason.happened += " Its backend \(probe.backend) could not be ended: \(error)"
        }
        probe.close()
        throw reason
    }

    // MARK: words

    private func open(_ target: SessionTarget) throws(PostgresError) -> Session {
        do throws(SessionError) {
            return try Session(to: target, deadline: end.left)
        } catch {
            throw failure("No session with the server: \(error)")
        }
    }

    private func ask(_ session: Session, _ sql: String, _ parameters: [String?] = []) throws(PostgresError) -> Rows {
        do throws(SessionError) {
            return try session.query(sql, parameters, deadline: patience)
        } catch {
            throw failure("The server did not answer: \(error)")
        }
    }

    private func pause(_ problem: String) throws(PostgresError) {
        if end.isOver { throw failure(problem) }
        _ = SystemClock.wait(upTo: .milliseconds(2)) { false }
    }

    private func failure(_ happened: String) -> PostgresError {
        PostgresError(
            attempted: "make sure that commits wait for the standby of copy \(copy)", happened: happened,
            meaning: "Commits may be acknowledged without that standby, so it must not be called paired.",
            advice: "Look why the standby does not stream as a synchronous one, in both servers' logs.")
    }
}
