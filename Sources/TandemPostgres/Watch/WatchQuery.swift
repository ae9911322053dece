import TandemCore

/// The one question of each look, and how its answer is read. It works on primaries and standbys of PostgreSQL 14 to 18.
enum WatchQuery {
    /// One row per sender, or one row with NULLs for it. The name of the WAL file tells the timeline of a primary (the
    /// control file is stale after a promotion), and only a primary may ask for it. The functions behind the views are
    /// asked, since the views join every session of the server.
    static let sql = """
        select r.rec,
          case when r.rec then coalesce(
              case when wr.status = 'streaming' then wr.received_tli end,
              nullif((select min_recovery_end_timeline from pg_control_recovery()), 0),
              (select timeline_id from pg_control_checkpoint()))::text
            else left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) end,
          case when not r.rec then pg_current_wal_flush_lsn() end,
          greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()),
          pg_last_wal_replay_lsn(),
          wr.status,
          current_setting('synchronous_standby_names'),
          current_setting('recovery_min_apply_delay'),
          case when r.rec then pg_get_wal_replay_pause_state() end,
          s.application_name, s.address, s.state, s.sync_state, s.flush_lsn, s.replay_lsn
        from (select pg_is_in_recovery() as rec offset 0) r
          left join pg_stat_get_wal_receiver() wr on r.rec
          left join (select a.application_name, host(a.client_addr) as address, w.state, w.sync_state, w.flush_lsn,
                w.replay_lsn
              from pg_stat_get_wal_senders() w join lateral pg_stat_get_activity(w.pid) a on true) s on true
        """

    /// What changes only with a restart: asked rarely.
    static let frameSQL = """
        select current_setting('max_connections'), current_setting('max_worker_processes'),
          current_setting('max_wal_senders'), current_setting('max_prepared_transactions'),
          current_setting('max_locks_per_transaction'), (select system_identifier from pg_control_system())
        """

    /// The facts of `sql`'s answer put into `facts`; false if it is not of the expected form.
    static func read(_ answer: Rows, into facts: inout LocalPostgres) -> Bool {
        guard let row = answer.rows.first, row.count == 15 else { return false }
        let isInRecovery = row[0] == "t"
        facts.condition = .running(isInRecovery: isInRecovery)
        // A standby without a stream shows what its control file says, which is older than what it has replayed; a directory's
        // timeline never goes back.
        if let timeline = row[1].flatMap({ Timeline($0, radix: isInRecovery ? 10 : 16) }) {
            facts.timeline = max(timeline, facts.timeline ?? 0)
        }
        facts.flushed = row[2].flatMap { LSN($0) }
        facts.received = isInRecovery ? row[3].flatMap { LSN($0) } : nil
        facts.replayed = isInRecovery ? row[4].flatMap { LSN($0) } : nil
        facts.isStreaming = row[5] == "streaming"
        facts.synchronousStandbyNames = row[6]
        facts.isDelayed = (row[7] ?? "0") != "0"
        // `pause requested` too: it comes with the next record.
        facts.isReplayPaused = row[8].map { $0 != "not paused" }
        facts.replicas = answer.rows.compactMap { row in
            guard let name = row[9] else { return nil }
            return LocalPostgres.Replica(
                applicationName: name, address: row[10] ?? "", isStreaming: row[11] == "streaming",
                isSynchronous: row[12] == "sync", flushed: row[13].flatMap { LSN($0) },
                replayed: row[14].flatMap { LSN($0) })
        }
        return true
    }

    static func readFrame(_ answer: Rows, into facts: inout LocalPostgres) {
        guard let row = answer.rows.first, row.count == 6 else { return }
        let numbers = row[0..<5].compactMap { $0.flatMap { Int($0) } }
        if numbers.count == 5 {
            facts.capacity = LocalPostgres.Capacity(
                connections: numbers[0], workers: numbers[1], senders: numbers[2], preparedTransactions: numbers[3],
                locks: numbers[4])
        }
        // PostgreSQL shows it as a signed number.
        facts.systemIdentifier = row[5].flatMap { Int64($0) }.map { UInt64(bitPattern: $0) } ?? facts.systemIdentifier
    }
}
