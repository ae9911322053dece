import Glibc
import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// Our own lineage tells whose WAL leads where: numbers of timelines do not (protocol.md section 6, `hazards.md` 0.1).
    @Suite struct WhenBranchesLookAlike {
        /// Without agents, somebody promotes both by hand: two branches with one number. pg_rewind alone would find nothing to do.
        @Test func bothWerePromotedByHandToTheSameTimeline() throws {
            try PairOnHosts.story(arbiter: "manual") { pair in
                let (here, there) = (LabPostgres.plain(pair.a), LabPostgres.plain(pair.b))
                for host in [pair.a, pair.b] { try host.killServices([.agent], withoutLastAct: true) }
                // Else the second one would follow the first one's new timeline before it is promoted.
                try pair.lab.separate("a", "b")
                try here.stop()
                try there.promote()
                try here.start()
                try here.promote()
                for (host, name) in [(pair.a, "of_a"), (pair.b, "of_b")] {
                    _ = try LabPostgres.query(
                        "set synchronous_commit = local; create table \(name) (n int); checkpoint", on: host)
                }
                let timeline = "select timeline_id from pg_control_checkpoint()"
                #expect(try LabPostgres.query(timeline, on: pair.a) == LabPostgres.query(timeline, on: pair.b))

                try pair.lab.heal()
                for host in [pair.a, pair.b] { try host.startService() }
                try pair.waitUntilWhole(primary: "a", upTo: .seconds(90))
                let tables = "select relname from pg_class where relname like 'of\\__' order by 1"
                #expect(try LabPostgres.query(tables, on: pair.a) == ["of_a"])
                try pair.wait("b has what a has") { try LabPostgres.query(tables, on: pair.b) == ["of_a"] }
                let entry = try #require(try pair.history(pair.b).last { $0.kind == .rejoin })
                let kept = try #require(entry.lost?.kept_in, "what b wrote is kept: \(entry)")
                #expect(access(pair.b.diskPath(of: kept), F_OK) == 0, "\(kept)")
            }
        }

        /// The standby was away for so long that its slot was given up, so that the primary's disk does not fill: it comes back by a new copy.
        @Test func theSlotWasGivenUp() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                for setting in ["max_slot_wal_keep_size = '32MB'", "wal_keep_size = 0", "max_wal_size = '64MB'"] {
                    _ = try LabPostgres.query("alter system set \(setting)", on: pair.a)
                }
                _ = try LabPostgres.query("select pg_reload_conf(); create table much (words text)", on: pair.a)
                let lost = "select count(*) from pg_replication_slots where slot_name like 'pgtandem%' and wal_status = 'lost'"
                try pair.wait("the slot is given up", upTo: .seconds(60)) {
                    _ = try LabPostgres.query(
                        "insert into much select repeat(md5(random()::text), 8) from generate_series(1, 50000); checkpoint",
                        on: pair.a)
                    return try LabPostgres.query(lost, on: pair.a) != ["0"]
                }
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "a", upTo: .seconds(90))
                let entry = try #require(try pair.history(pair.b).last { $0.kind == .rejoin })
                #expect(entry.cause == "copy", "\(entry)")
            }
        }
    }
}
