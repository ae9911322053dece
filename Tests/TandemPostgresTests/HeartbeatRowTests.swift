import Synchronization
import Testing

@testable import TandemCore
@testable import TandemPostgres
@testable import TandemSystem

/// `pgtandem.heartbeat` on real servers: what it refuses, who makes it again, and that nothing waits for it.
@Suite(.serialized) struct HeartbeatRowTests {
    private final class Findings: Sendable {
        let last = Mutex(HeartbeatKeeper.Finding())
        var row: HeartbeatRow? { last.withLock { $0.row } }
        var trouble: String? { last.withLock { $0.trouble } }
    }

    private func keeping(
        _ server: ScratchServer, mayWrite: Bool = true, _ body: (Findings) throws -> Void
    ) throws {
        let findings = Findings()
        var patience = HeartbeatKeeper.Patience()
        patience.interval = .milliseconds(100)
        patience.lock = .milliseconds(100)
        patience.recreation = .milliseconds(500)
        let keeper = HeartbeatKeeper(server.settings, patience: patience) {
            mayWrite ? .init(node: "a", term: Term(4)) : nil
        } deliver: { finding in
            findings.last.withLock { $0 = finding }
        }
        let watch = try Watch(server.settings) { keeper.observed($0) }
        try watch.start()
        keeper.start()
        defer {
            keeper.stop()
            watch.stop()
        }
        try body(findings)
    }

    private func primary(_ scratch: Scratch, _ configuration: String = "") throws -> ScratchServer {
        let server = try scratch.server("a", configuration)
        _ = try server.instance.start(.primary, deadline: .seconds(30))
        return server
    }

    private func refusal(_ server: ScratchServer, _ sql: String) -> String {
        do throws(SessionError) {
            let session = try Session(to: SessionTarget(server.settings), deadline: .seconds(5))
            defer { session.close() }
            _ = try session.query(sql, deadline: .seconds(5))
            return ""
        } catch {
            return error.description
        }
    }

    @Test func theRowIsWrittenAndCannotBeDeletedTruncatedOrDoubled() throws {
        try Scratch.run { scratch in
            // What a database may be set to, and our session is not.
            let server = try primary(
                scratch,
                "default_transaction_read_only = on\ndefault_transaction_isolation = serializable\ntrack_commit_timestamp = on")
            try keeping(server) { findings in
                try eventually("it beats") { (findings.row?.beat ?? 0) > 3 }
                #expect(findings.trouble == nil)
                #expect(try server.sql("select node || term from pgtandem.heartbeat") == "a4")
                #expect(try server.sql("select now() - at < '10 s' from pgtandem.heartbeat") == "t")
                for sql in [
                    "delete from pgtandem.heartbeat", "truncate pgtandem.heartbeat",
                    "set session_replication_role = replica; delete from pgtandem.heartbeat",
                ] {
                    #expect(refusal(server, sql).contains("pgtandem.heartbeat is one row"), "\(sql)")
                }
                let second = "insert into pgtandem.heartbeat (one, node, term, beat, at) values"
                #expect(refusal(server, "\(second) (true, 'x', 1, 1, now())").contains("pgtandem_heartbeat_is_one_row"))
                #expect(refusal(server, "\(second) (false, 'x', 1, 1, now())").contains("pgtandem_heartbeat_is_one_row"))
                #expect(refusal(server, "\(second) (null, 'x', 1, 1, now())").contains("null value"))
                #expect(try server.sql("select count(*) from pgtandem.heartbeat") == "1")
            }
        }
    }

    @Test func everybodyMayReadItAndNobodyElseWrite() throws {
        try Scratch.run { scratch in
            let server = try primary(scratch)
            try server.sql(
                "create role mallory; alter default privileges grant all on tables to mallory; alter default privileges grant all on tables to public"
            )
            try keeping(server) { findings in
                try eventually("it beats") { findings.row != nil }
                #expect(refusal(server, "set role mallory; select now() - at from pgtandem.heartbeat") == "")
                #expect(refusal(server, "set role mallory; update pgtandem.heartbeat set beat = 0").contains("42501"))
                #expect(refusal(server, "set role mallory; drop table pgtandem.heartbeat").contains("42501"))
            }
        }
    }

    @Test func aTableThatWasDroppedIsMadeAgainAndTheBeatGoesOnRising() throws {
        try Scratch.run { scratch in
            let server = try primary(scratch)
            try keeping(server) { findings in
                try eventually("it beats") { (findings.row?.beat ?? 0) > 3 }
                let before = try #require(findings.row?.beat)
                try server.sql("drop schema pgtandem cascade")
                try eventually("it is told") { findings.trouble?.contains("was dropped") == true }
                try eventually("it is there again") { (findings.row?.beat ?? 0) > before }
                #expect(refusal(server, "delete from pgtandem.heartbeat").contains("one row"))
            }
        }
    }

    @Test func aLockOnItIsToldAndHoldsNothingUp() throws {
        try Scratch.run { scratch in
            let server = try primary(scratch)
            try keeping(server) { findings in
                try eventually("it beats") { findings.row != nil }
                let session = try server.session()
                _ = try session.query("begin; lock table pgtandem.heartbeat", deadline: .seconds(5))
                try eventually("it is told") { findings.trouble?.contains("somebody holds a lock") == true }
                let committed = try #require(findings.row)
                let waiting =
                    "select count(*) from pg_stat_activity where application_name = 'pgtandem heartbeat' and wait_event_type = 'Lock'"
                try eventually("it does not stand in the queue of the lock") { try server.sql(waiting) == "0" }
                #expect(findings.row == committed, "what was committed last is still the newest")
                session.close()
                try eventually("it beats again") { findings.trouble == nil && findings.row?.beat == committed.beat + 1 }
            }
        }
    }

    /// H63: a primary whose synchronous standby is nobody.
    @Test func itDoesNotWaitForAStandby() throws {
        try Scratch.run { scratch in
            let server = try primary(scratch, "synchronous_standby_names = 'nobody'")
            try keeping(server) { findings in
                try eventually("it beats") { (findings.row?.beat ?? 0) > 3 }
                let nobody = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"
                #expect(try server.sql(nobody) == "0")
            }
        }
    }

    @Test func itIsReadOnTheStandbyAndNotWrittenWithoutAuthority() throws {
        try Scratch.run { scratch in
            let server = try primary(scratch)
            let standby = try scratch.standby(of: server, "b", "primary_conninfo = '\(server.conninfo(as: "pgtandem_x"))'")
            _ = try standby.instance.start(.standby, deadline: .seconds(30))
            try keeping(standby) { there in
                try eventually("the standby answers") {
                    do { return try standby.sql("select pg_is_in_recovery()") == "t" } catch { return false }
                }
                try keeping(server, mayWrite: false) { here in
                    // Turns go by: the standby's show it.
                    try eventually("nothing is there, and nothing is wrong") {
                        try server.sql("select to_regclass('pgtandem.heartbeat') is null") == "t" && there.trouble == nil
                            && there.row == nil && here.row == nil
                    }
                }
                #expect(there.row == nil && there.trouble == nil, "a table that is not there yet is no error")
                try keeping(server) { here in
                    try eventually("both know the row") { (here.row?.beat ?? 0) > 3 && (there.row?.beat ?? 0) > 3 }
                    #expect(try #require(there.row?.shownAge) < .seconds(10))
                    try standby.sql("select pg_wal_replay_pause()")
                    try eventually("replay stands") { try standby.sql("select pg_get_wal_replay_pause_state()") == "paused" }
                    let told = try standby.sql("select beat from pgtandem.heartbeat")
                    let paused = try #require(told)
                    try eventually("the primary goes on") { (here.row?.beat ?? 0) > (UInt64(paused) ?? 0) + 5 }
                    #expect(there.row.map { "\($0.beat)" } == paused, "the row is what is read there")
                    try standby.sql("select pg_wal_replay_resume()")
                    try eventually("it has caught up") { (there.row?.beat ?? 0) > (UInt64(paused) ?? 0) + 5 }
                    // The lock comes to the standby by WAL.
                    let session = try server.session()
                    _ = try session.query("begin; lock table pgtandem.heartbeat", deadline: .seconds(5))
                    // Of itself it is not flushed.
                    try server.sql("create table public.other ()")
                    try eventually("the standby tells the lock") {
                        there.trouble?.contains("somebody holds a lock") == true && there.row == nil
                    }
                    session.close()
                    try eventually("it reads again") { there.row != nil }
                }
            }
        }
    }

    @Test func aStrangersTableIsNotWritten() throws {
        try Scratch.run { scratch in
            let server = try primary(scratch)
            try server.sql(
                """
                create role mallory; create schema pgtandem authorization mallory;
                create table pgtandem.heartbeat (one boolean primary key, node text, term numeric, beat bigint, at timestamptz);
                alter table pgtandem.heartbeat owner to mallory
                """)
            try keeping(server) { findings in
                try eventually("it is told") { findings.trouble?.contains("mallory") == true }
                #expect(try server.sql("select count(*) from pgtandem.heartbeat") == "0")
            }
        }
    }

    /// A dump of a database takes the row along; what is restored from it is the same, and goes on.
    @Test func aDumpIsRestoredAndGoesOn() throws {
        try Scratch.run { scratch in
            let server = try primary(scratch)
            let dump = scratch.folder + "/a/dump"
            try keeping(server) { findings in
                try eventually("it beats") { findings.row != nil }
                try succeed(server.client("pg_dump", ["-Fc", "-f", dump, "postgres"]))
                let before = try #require(findings.row?.beat)
                try eventually("it is beyond the dump") { (findings.row?.beat ?? 0) > before + 3 }
                let dumped = try #require(findings.row?.beat)
                // Into an empty database, and over the running one.
                try server.sql("create database other")
                try succeed(server.client("pg_restore", ["--exit-on-error", "-d", "other", dump]))
                try succeed(server.client("pg_restore", ["--exit-on-error", "--clean", "--if-exists", "-d", "postgres", dump]))
                // Never back to what the dump holds: the other node counts by it.
                // A beat that was told may be from before the restoration: the table itself is asked.
                try eventually("it beats") {
                    let now = try server.sql("select beat from pgtandem.heartbeat").flatMap { UInt64($0) } ?? 0
                    return findings.trouble == nil && now > dumped
                }
                #expect(refusal(server, "delete from pgtandem.heartbeat").contains("one row"))
            }
        }
    }
}

extension ScratchServer {
    fileprivate func client(_ name: String, _ arguments: [String]) -> Tool {
        settings.tool(name, ["-h", settings.socketDirectory, "-p", "\(settings.port)", "-U", "postgres"] + arguments)
    }
}
