import Foundation
import Glibc
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

/// A primary `a` with its standby `b`, and what it takes for `a` to come back after `b` was promoted.
final class RejoinPair {
    let scratch: Scratch
    let a: ScratchServer
    let b: ScratchServer
    static let copyA = CopyID(high: 1, low: 1)
    static let copyB = CopyID(high: 2, low: 2)

    /// - Parameter configuration: of both.
    init(_ scratch: Scratch, _ configuration: String = "") throws {
        self.scratch = scratch
        a = try scratch.server("a", "fsync = off\n" + configuration)
        try HBABlock(user: "rep", database: "postgres", addresses: ["127.0.0.1"]).ensure(a.settings)
        try Self.configure(a, "a", Self.copyA, peer: a)
        _ = try a.instance.start(.primary, deadline: .seconds(60))
        try ReplicationRole.ensure(try a.session(), user: "rep", password: "secret")
        try a.sql("create table public.t (n int primary key, filler text)")
        try a.sql("insert into public.t select g, repeat('x', 100) from generate_series(1, 1000) g")
        b = try scratch.standby(of: a, "b", "fsync = off\n" + configuration)
        try Self.configure(b, "b", Self.copyB, peer: a)
        for (server, node, copy) in [(a, "a", Self.copyA), (b, "b", Self.copyB)] {
            try Passfile.write(server.settings, user: "rep", password: "secret")
            try Self.mark(server, node, copy)
        }
        _ = try b.instance.start(.standby, deadline: .seconds(60))
        try caughtUp()
    }

    static func mark(_ server: ScratchServer, _ node: String, _ copy: CopyID) throws {
        try CopyMarkFile.write(
            LocalPostgres.CopyMark(copy: copy, node: NodeName(node)), server.settings.dataDirectory, osUser: "postgres")
    }

    static func configure(
        _ server: ScratchServer, _ node: String, _ copy: CopyID, peer: ScratchServer, slot: String? = nil
    ) throws(PostgresError) {
        let source = ManagedSettings.Peer(
            address: "127.0.0.1", port: peer.settings.port, user: "rep", passFile: server.settings.passFile, slot: slot)
        _ = try server.instance.configure(
            ManagedSettings(
                cluster: "test", node: NodeName(node), port: server.settings.port, ownCopy: copy, peer: source,
                synchronousStandby: nil, slotKeepMegabytes: 1024))
    }

    func caughtUp() throws {
        let position = try a.instance.position()
        try eventually("b has replayed what a has") {
            // It takes no sessions until it is consistent.
            do { return try b.sql("select pg_last_wal_replay_lsn() >= '\(position)'::pg_lsn") == "t" } catch is SessionError {
                return false
            }
        }
    }

    /// `b` is away, `a` commits, `a` dies, `b` is promoted and commits.
    func diverge(rowsOfB: Int = 300) throws {
        try b.instance.stop(.fast, deadline: .seconds(30))
        try a.sql("insert into public.t select 10000 + g, repeat('a', 200) from generate_series(1, 200) g")
        try a.sql("delete from public.t where n <= 10")
        #expect(a.instance.endAll(deadline: .seconds(10)).isComplete)
        _ = try b.instance.start(.standby, deadline: .seconds(60))
        _ = try b.instance.promote(deadline: .seconds(60))
        try b.sql("insert into public.t select 20000 + g, repeat('b', 150) from generate_series(1, \(rowsOfB)) g")
    }

    var source: Rejoin.Source { source(of: a) }

    func source(of server: ScratchServer) -> Rejoin.Source {
        .init(
            host: "127.0.0.1", port: b.settings.port, user: "rep", database: "postgres", passFile: server.settings.passFile)
    }

    func rejoin(_ instance: Instance? = nil) -> Rejoin {
        var rejoin = Rejoin(instance: instance ?? a.instance, node: "a", source: source)
        rejoin.moreCopyArguments = ["--no-sync"]
        rejoin.options.copyDeadline = .seconds(120)
        return rejoin
    }

    func work(onProgress: @escaping @Sendable (Rejoin.Progress) -> Void = { _ in }) -> Rejoin.Work {
        let (a, b) = (a, b)
        return Rejoin.Work(
            prepareSource: { copy throws(PostgresError) in
                try b.instance.dropAbandonedSlots(prefix: "pgtandem_", keeping: [copy.applicationName])
                try b.instance.ensureSlot(copy.applicationName)
            },
            checkpointSource: { () throws(PostgresError) in try b.instance.checkpoint(deadline: .seconds(60)) },
            configure: { copy throws(PostgresError) in
                try RejoinPair.configure(a, "a", copy, peer: b, slot: copy.applicationName)
            }, onProgress: onProgress)
    }

    /// `a` streams from `b` under the new copy's name and has the same content, now and after another commit.
    func expectFollows(_ copy: CopyID, _ instance: Instance? = nil) throws {
        let instance = instance ?? a.instance
        #expect(try CopyMarkFile.read(a.settings.dataDirectory)?.copy == copy)
        #expect(try CopyMarkFile.read(a.settings.dataDirectory)?.node == "a")
        #expect(OwnedFiles.exists(a.settings.dataDirectory + "/standby.signal"))
        #expect(try Rejoin.unfinishedRewind(a.settings) == nil)
        _ = try instance.start(.standby, deadline: .seconds(60))
        try b.sql("insert into public.t values (\(Int(Random.word() % 1_000_000) + 100_000), 'after')")
        let sql = "select string_agg(n || filler, ',' order by n) from public.t"
        let wanted = try b.sql(sql)
        try eventually("a has the content of b: \(instance.lastLogLines())", within: .seconds(30)) {
            do { return try a.sql(sql) == wanted } catch is SessionError { return false }
        }
        let senders = """
            select count(*) from pg_stat_replication r join pg_replication_slots s on s.active_pid = r.pid
            where r.application_name = '\(copy.applicationName)' and slot_name = r.application_name and state = 'streaming'
            """
        try eventually("it streams by its slot") { try b.sql(senders) == "1" }
        #expect(try a.sql("select pg_is_in_recovery()") == "t")
        #expect(try a.sql("select count(*) from pg_replication_slots") == "0")
        #expect(try a.sql("show cluster_name") == "test/a")
    }

    /// Everything below a folder, by name and content, without what a look changes.
    static func fingerprint(_ folder: String) throws -> String {
        let script = "cd \"$0\" && find . -type f -print0 | sort -z | xargs -0 cksum; find . | sort"
        let result = try Tool("/bin/bash", ["-c", script, folder]).run(deadline: .seconds(60), outputLimit: 8 << 20)
        try #require(result.succeeded, "\(result.errors)")
        return result.output
    }
}
