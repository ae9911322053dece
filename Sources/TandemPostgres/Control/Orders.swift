import TandemCore
import TandemSystem

/// Small orders in SQL; each may be repeated.
extension Instance {
    /// A physical slot of that name that holds WAL back from now on.
    public func ensureSlot(_ name: String, deadline: Duration = .seconds(10)) throws(PostgresError) {
        let sql = """
            select pg_catalog.pg_create_physical_replication_slot($1, true)
            where not exists (select from pg_catalog.pg_replication_slots where slot_name = $1)
            """
        do throws(SessionError) {
            _ = try ask(sql, [name], Deadline(deadline))
        } catch {
            // 42710: another session of ours made it between question and order.
            guard error.sqlstate != "42710" else { return }
            throw PostgresError(
                "make the replication slot \(name)", error,
                meaning: "The standby cannot stream, as its slot is missing.", advice: "Look at pg_replication_slots.")
        }
    }

    /// Removes the slot; a standby that uses it loses its connection. An absent one is fine.
    public func dropSlot(_ name: String, deadline: Duration = .seconds(10)) throws(PostgresError) {
        let end = Deadline(deadline)
        let endSender = """
            select pg_catalog.pg_terminate_backend(active_pid) from pg_catalog.pg_replication_slots
            where slot_name = $1 and active_pid is not null
            """
        let drop = """
            select pg_catalog.pg_drop_replication_slot(slot_name) from pg_catalog.pg_replication_slots
            where slot_name = $1
            """
        while true {
            do throws(SessionError) {
                _ = try ask(endSender, [name], end)
                _ = try ask(drop, [name], end)
                return
            } catch {
                // 42704: gone already. 55006: its sender has not ended yet, or the standby came back meanwhile.
                if error.sqlstate == "42704" { return }
                guard error.sqlstate == "55006", !end.isOver else {
                    throw PostgresError(
                        "remove the replication slot \(name)", error, meaning: "It goes on holding WAL back.",
                        advice: "Remove it with pg_drop_replication_slot, or free space in pg_wal.")
                }
            }
            _ = SystemClock.wait(upTo: .milliseconds(10)) { false }
        }
    }

    /// Drops the slots of this prefix that nobody uses, on a server in recovery: a standby serves nobody, and what it once kept for
    /// the other node would fill its disk. On a primary nothing is dropped.
    public func dropIdleSlots(prefix: String, deadline: Duration = .seconds(10)) throws(PostgresError) {
        let sql = """
            select pg_catalog.pg_drop_replication_slot(slot_name) from pg_catalog.pg_replication_slots
            where pg_catalog.pg_is_in_recovery() and slot_type = 'physical' and not active
              and pg_catalog.starts_with(slot_name::text, $1)
            """
        do throws(SessionError) {
            _ = try ask(sql, [prefix], Deadline(deadline))
        } catch {
            throw PostgresError("drop idle replication slots", error, meaning: "They keep WAL on this disk for nobody.")
        }
    }

    /// Drops the slots of this prefix that nobody uses but those named: what interrupted copies have left on a primary that
    /// waits for no standby, and what would hold back WAL for nobody.
    public func dropAbandonedSlots(
        prefix: String, keeping kept: [String], deadline: Duration = .seconds(10)
    ) throws(PostgresError) {
        let sql = """
            select pg_catalog.pg_drop_replication_slot(slot_name) from pg_catalog.pg_replication_slots
            where slot_type = 'physical' and not active and pg_catalog.starts_with(slot_name::text, $1)
              and slot_name <> all ($2::text[])
            """
        do throws(SessionError) {
            _ = try ask(sql, [prefix, Instance.arrayText(kept)], Deadline(deadline))
        } catch {
            throw PostgresError("drop abandoned replication slots", error, meaning: "They keep WAL on this disk for nobody.")
        }
    }

    /// Once the standby streams by its slot, nobody comes back by another one: what it used before it was rewound or copied anew, and what
    /// interrupted attempts have left, would keep WAL for nobody. Nothing is done while its slot is idle.
    public func dropSlots(prefix: String, otherThan active: String, deadline: Duration = .seconds(10)) throws(PostgresError) {
        let sql = """
            select pg_catalog.pg_drop_replication_slot(slot_name) from pg_catalog.pg_replication_slots
            where slot_type = 'physical' and not active and pg_catalog.starts_with(slot_name::text, $1) and slot_name <> $2
              and exists (select from pg_catalog.pg_replication_slots where slot_name = $2 and active)
            """
        do throws(SessionError) {
            _ = try ask(sql, [prefix, active], Deadline(deadline))
        } catch {
            throw PostgresError("drop abandoned replication slots", error, meaning: "They keep WAL on this disk for nobody.")
        }
    }

    /// Before pg_rewind from a new primary, and before a planned handover (`hazards.md` 0.1, 3). Uses a session of its own:
    /// it can take minutes.
    public func checkpoint(deadline: Duration) throws(PostgresError) {
        let end = Deadline(deadline)
        do throws(SessionError) {
            let session = try Session(to: SessionTarget(settings, statementTimeout: deadline), deadline: end.left)
            defer { session.close() }
            _ = try session.query("checkpoint", deadline: end.left)
        } catch {
            throw PostgresError("run a checkpoint", error, meaning: "What follows takes longer, or must wait for it.")
        }
    }

    /// The end of everything written: on a primary the insert position, on a standby the greater of received and replayed.
    public func position(deadline: Duration = .seconds(5)) throws(PostgresError) -> LSN {
        let sql = """
            select case when pg_is_in_recovery() then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
              else pg_current_wal_insert_lsn() end
            """
        do throws(SessionError) {
            guard let text = try ask(sql, [], Deadline(deadline)).value, let position = LSN(text) else {
                throw SessionError.lost("the server told no position")
            }
            return position
        } catch {
            throw PostgresError("ask for the WAL position", error, meaning: "How far this node is, is unknown.")
        }
    }

    /// Makes the schema `pgtandem` with the table of lineage, and writes down a promotion: what descends from what, since
    /// timelines do not tell (`protocol.md` 9). Written once per term.
    public func recordLineage(
        _ term: Term, _ copy: CopyID, parent: Term?, _ lsn: LSN, deadline: Duration = .seconds(10)
    ) throws(PostgresError) {
        let end = Deadline(deadline)
        do throws(SessionError) {
            _ = try ask(Instance.lineageSchema, [], end)
            let sql = """
                insert into pgtandem.lineage (term, copy, parent_term, lsn)
                values ($1::numeric, $2, $3::numeric, $4::pg_lsn) on conflict (term) do nothing
                """
            _ = try ask(sql, ["\(term)", copy.text, parent.map { "\($0)" }, lsn.description], end)
        } catch {
            throw PostgresError(
                "record the lineage of term \(term)", error,
                meaning: "A later rejoin cannot tell from this database what descends from what.",
                advice: "Look why the schema pgtandem cannot be written.")
        }
        // After the table: what stands here, the table has too.
        try LineageFile.add(
            LineageEntry(term: term, copy: copy, parent: parent, lsn: lsn), stateDirectory: settings.stateDirectory,
            osUser: settings.osUser)
    }

    /// Terms are unsigned 64-bit numbers, which numeric holds and bigint does not.
    static let lineageSchema = """
        do $$ begin
          if to_regclass('pgtandem.lineage') is null then
            create schema if not exists pgtandem;
            create table if not exists pgtandem.lineage (
              term numeric(20) primary key, copy text not null, parent_term numeric(20), lsn pg_lsn not null,
              recorded timestamptz not null default now());
            comment on table pgtandem.lineage is 'Promotions of this pair: written by pgtandem, do not change.';
          end if;
          -- The replication role reads it when the other host comes back; it holds numbers only.
          if not has_table_privilege('public', 'pgtandem.lineage', 'select') then
            grant usage on schema pgtandem to public;
            grant select on pgtandem.lineage to public;
          end if;
        end $$
        """

    public struct LineageEntry: Hashable, Sendable {
        public var term: Term
        public var copy: CopyID
        public var parent: Term?
        public var lsn: LSN
    }

    /// Newest first; empty if nothing was ever recorded.
    public func lineage(deadline: Duration = .seconds(5)) throws(PostgresError) -> [LineageEntry] {
        do throws(SessionError) {
            return Instance.lineageEntries(try ask(Instance.lineageQuestion, [], Deadline(deadline)))
        } catch {
            // 42P01, 3F000: no table, no schema.
            if error.sqlstate == "42P01" || error.sqlstate == "3F000" { return [] }
            throw PostgresError("read the lineage", error, meaning: "What descends from what is unknown here.")
        }
    }

    static let lineageQuestion =
        "select term, copy, parent_term, lsn from pgtandem.lineage order by term desc limit 1000"

    static func lineageEntries(_ rows: Rows) -> [LineageEntry] {
        rows.rows.compactMap { row in
            guard let term = row[0].flatMap({ UInt64($0) }), let copy = row[1].flatMap({ CopyID($0) }),
                let lsn = row[3].flatMap({ LSN($0) })
            else { return nil }
            return LineageEntry(
                term: Term(term), copy: copy, parent: row[2].flatMap { UInt64($0) }.map { Term($0) }, lsn: lsn)
        }
    }

    /// `postgresql.auto.conf` wins over every file: takes our names out of it (they come along with a base copy or by
    /// `ALTER SYSTEM`).
    public func resetSystemSettings(_ wanted: ManagedSettings, deadline: Duration = .seconds(10)) throws(PostgresError) {
        let end = Deadline(deadline)
        let sql = """
            select distinct name from pg_catalog.pg_file_settings
            where name = any($1::text[]) and sourcefile like '%/postgresql.auto.conf'
            """
        do throws(SessionError) {
            let names = Instance.arrayText(wanted.values.map(\.name))
            for row in try ask(sql, [names], end).rows {
                guard let name = row[0] else { continue }
                // The name is one of ours: letters and underscores.
                _ = try ask("alter system reset \(name)", [], end)
            }
        } catch {
            throw PostgresError(
                "take settings of ours out of postgresql.auto.conf", error,
                meaning: "They win over the settings of this program.", advice: "Run ALTER SYSTEM RESET for them.")
        }
    }
}
