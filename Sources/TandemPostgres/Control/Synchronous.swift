import TandemCore
import TandemSystem

extension Instance {
    /// Makes certain that commits now wait for the standby that holds `copy`, and that it holds all that was committed
    /// before (`protocol.md` 4.2, step 1; `hazards.md` H90; mistake 15). Before: `configure` with this standby.
    ///
    /// Why the answer can be trusted. PostgreSQL's backends wait only if a flag in shared memory says so, and the
    /// checkpointer sets that flag at some moment after the reload returned; until then commits are acknowledged without
    /// the standby, although `pg_stat_replication` already says `sync`. Four facts are collected, in this order:
    ///
    /// 1. Whom would they wait for? A sender counts by the priority that it gave itself when it last read its configuration.
    ///    Of all senders exactly one has a priority above zero: it has the name of this copy, comes from the standby's
    ///    address, and is `sync`, not `potential`. A sender of an earlier standby that has not read the new names yet has a
    ///    priority, and would release commits: while it is there nothing is confirmed. One that connects later has read them.
    /// 2. A backend is SEEN waiting (`wait_event = SyncRep`): it has read the flag as set. Our own probe commit is repeated
    ///    until it is seen, or another client's commit is. The flag stays set until somebody empties the names. A probe that
    ///    merely returned proves nothing: it may have passed unprotected.
    /// 3. After both, the insert position P is read. A backend that read the flag as not set did so before 2, and it inserts
    ///    its commit record before it reads the flag: the commit lies before P, as does every one that an earlier standby
    ///    released. Every later commit waits for this standby.
    /// 4. The sender, found in the state of 1 once more, has flushed P or beyond.
    ///
    /// So at the end everything acknowledged is on the standby's disk, either before P (by 4) or because it waited for it.
    /// The names are looked at once more at the end, in case somebody changed them meanwhile.
    ///
    /// - Parameter standbyAddresses: numeric addresses, of which the standby's connection may come.
    /// - Returns: P.
    /// - Throws: at the deadline, saying what was missing. A waiting probe is ended by terminating its backend: to cancel
    ///   it would make PostgreSQL acknowledge a commit that no standby has.
    public func confirmSynchronous(
        _ copy: CopyID, standbyAddresses: [String], deadline: Duration
    ) throws(PostgresError) -> LSN {
        try SynchronousCheck(settings: settings, copy: copy, addresses: standbyAddresses, end: Deadline(deadline)).run()
    }

    /// Waits until the standby that holds `copy` has flushed `lsn`, whether commits wait for it or not.
    public func waitConfirmed(_ copy: CopyID, _ lsn: LSN, deadline: Duration) throws(PostgresError) {
        let end = Deadline(deadline)
        let attempted = "wait until the standby of copy \(copy) has flushed \(lsn)"
        let sql = """
            select count(*) > 0 from pg_catalog.pg_stat_replication
            where application_name = $1 and state = 'streaming' and flush_lsn >= $2::pg_lsn
            """
        do throws(SessionError) {
            while try !ask(sql, [copy.applicationName, lsn.description], end).isTrue {
                guard !end.isOver else { throw SessionError.timedOut("no streaming sender of that name has flushed so far") }
                _ = SystemClock.wait(upTo: .milliseconds(2)) { false }
            }
        } catch {
            throw PostgresError(
                attempted, error, meaning: "The standby may lack commits.",
                advice: "Look why the standby does not stream, in its log.")
        }
    }
}
