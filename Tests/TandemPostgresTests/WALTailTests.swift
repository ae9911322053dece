import Foundation
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

/// `protocol.md` 4.4 and 6.3 with real servers: the primary's PostgreSQL is dead, its host lives.
@Suite(.serialized) struct WALTailTests {
    @Test(arguments: [false, true])
    func theTailOfADeadPrimaryMakesItsStandbyCompleteAndItFollowsByAPlainStart(isSynchronous: Bool) throws {
        let primary = try WALInstance.primary()
        let standby = try WALInstance.standby(of: primary)
        if isSynchronous {
            try primary.append(["synchronous_standby_names = 'standby'"])
            try primary.sql("select pg_reload_conf()")
        }
        try requireEventually("streaming") { try standby.sql("select status from pg_stat_wal_receiver") == "streaming" }

        // Under load the standby is cut off, and then the primary dies.
        let load = try WALLoad(on: primary)
        try requireEventually("the table") { try standby.sql("select to_regclass('acknowledged') is not null") == "t" }
        try requireEventually("first rows") { try standby.sql("select count(*) > 50 from acknowledged") == "t" }
        let receiver = try #require(Int32(try standby.sql("select pid from pg_stat_wal_receiver")))
        #expect(ProcessTable.signal(receiver, SIGSTOP))
        let cut = try primary.position("pg_current_wal_flush_lsn")
        let lead: UInt64 = isSynchronous ? 1 : 40 << 20
        try requireEventually("more log on the primary than \(cut); \(primary.lastLines)") {
            try primary.position("pg_current_wal_flush_lsn").bytes > cut.bytes + lead
        }
        primary.killAll()
        #expect(ProcessTable.signal(receiver, SIGTERM) && ProcessTable.signal(receiver, SIGCONT))
        let acknowledged = load.lastAcknowledged()
        try requireEventually("no receiver") { ProcessTable.startTime(of: receiver) == nil }

        // Two ways to name what the standby has: one of them may end inside a record.
        let received = max(
            try standby.position("pg_last_wal_receive_lsn"), try standby.position("pg_last_wal_replay_lsn"))
        let began = SystemClock.now()
        let end = try primary.reader.endOfWAL(from: received, timeline: 1, deadline: .seconds(10))
        let found = SystemClock.now()
        #expect(
            try primary.reader.endOfWAL(
                from: standby.position("pg_last_wal_replay_lsn"), timeline: 1, deadline: .seconds(10)) == end)
        let copying = SystemClock.now()
        try copy(from: primary, to: standby, from: received, upTo: end)
        let copied = SystemClock.now()
        #expect(ProcessTable.signal(try standby.postmaster, SIGHUP))
        var last = received
        try requireEventually("replay up to \(end) from \(received), now \(last); \(standby.lastLines)") {
            last = try standby.position("pg_last_wal_replay_lsn")
            return last >= end
        }
        #expect(last == end)
        print(
            "tail \(end.bytes - received.bytes) bytes: end found in \((found - began) / 1000) us, copied in "
                + "\((copied - copying) / 1000) us, replayed \((SystemClock.now() - copied) / 1000) us later")

        try standby.promote()
        #expect(try standby.sql("select pg_is_in_recovery()") == "f")
        for (client, n) in acknowledged {
            #expect(n > 0)
            let rows = try standby.sql(
                "select count(*) || ' ' || max(n) from acknowledged where client = \(client) and n <= \(n)")
            #expect(rows == "\(n) \(n)", "client \(client)")
        }
        let history = try String(contentsOfFile: standby.wal + "/00000002.history", encoding: .utf8)
        #expect(history.hasPrefix("1\t\(end)\t"))

        // The old primary: a plain start.
        #expect(
            try WALWriter(directory: primary.wal)
                .prepareToFollow(fork: end, from: end, timeline: 1, deadline: .seconds(10)) == end)
        try primary.follow(standby, name: "old")
        try primary.append(["synchronous_standby_names = ''"])
        try primary.start()
        try requireEventually("the old primary follows; \(primary.lastLines)") {
            try primary.sql("select status || received_tli from pg_stat_wal_receiver") == "streaming2"
        }
        try standby.sql("insert into acknowledged values (99, 1)")
        try requireEventually("the new row") {
            try primary.sql("select count(*) from acknowledged where client = 99") == "1"
        }
        let sums = "select count(*), sum(n) from acknowledged"
        #expect(try primary.sql(sums) == standby.sql(sums))

        // The end of the second timeline, from before and after the fork.
        standby.killAll()
        let behindFork = try standby.reader.findEnd(from: end, timeline: 2, deadline: .seconds(10))
        #expect(behindFork.position > end)
        #expect(try standby.waldumpEnd(from: end, timeline: 2)?.lastRecord == behindFork.lastRecord)
        let segment = LSN(end.bytes & ~0xFF_FFFF)
        #expect(try standby.reader.endOfWAL(from: segment, timeline: 2, deadline: .seconds(10)) == behindFork.position)
    }

    struct Torn: Sendable, CustomTestStringConvertible {
        /// Otherwise inside a segment.
        var isAtSegmentEnd: Bool
        /// The standby has received all of the torn record that was written.
        var isReceived: Bool
        var testDescription: String {
            "torn \(isAtSegmentEnd ? "at the end of" : "inside") a segment, \(isReceived ? "received" : "not received")"
        }
    }

    /// The crash tore a record, and the standby may even have received a part of it: the torn record never was. At a segment's
    /// end this is common: the next segment was being made. There PostgreSQL does not follow without preparation.
    @Test(arguments: [
        Torn(isAtSegmentEnd: false, isReceived: false), Torn(isAtSegmentEnd: false, isReceived: true),
        Torn(isAtSegmentEnd: true, isReceived: false), Torn(isAtSegmentEnd: true, isReceived: true),
    ])
    func aTornRecordDoesNotKeepTheOldPrimaryFromFollowing(_ kind: Torn) throws {
        let primary = try WALInstance.primary()
        let standby = try WALInstance.standby(of: primary)
        try primary.sql("create table t (n int)")
        let received = try primary.position("pg_current_wal_insert_lsn")
        try requireEventually("replay") { try standby.position("pg_last_wal_replay_lsn") >= received }
        let receiver = try #require(Int32(try standby.sql("select pid from pg_stat_wal_receiver")))
        #expect(ProcessTable.signal(receiver, SIGSTOP))
        try primary.sql("insert into t values (1)")
        let before = try primary.position("pg_current_wal_insert_lsn")
        try primary.sql("select pg_logical_emit_message(false, 'big', repeat('x', 20000000)); insert into t values (2)")
        primary.killAll()
        #expect(ProcessTable.signal(receiver, SIGTERM) && ProcessTable.signal(receiver, SIGCONT))
        try requireEventually("no receiver") { ProcessTable.startTime(of: receiver) == nil }
        let segmentEnd = LSN((before.bytes | 0xFF_FFFF) + 1)
        let torn = kind.isAtSegmentEnd ? segmentEnd : LSN((before.bytes + 5_000_000) / 8192 * 8192)
        for name in try FileManager.default.contentsOfDirectory(atPath: primary.wal) {
            guard let segment = WALFile.parse(name, segmentSize: 16 << 20), segment.start >= segmentEnd else { continue }
            try FileManager.default.removeItem(atPath: primary.wal + "/" + name)
        }
        if torn < segmentEnd {
            let zeros = [UInt8](repeating: 0, count: Int(torn.behind(segmentEnd)))
            try WALWriter(directory: primary.wal).write(zeros, at: torn, timeline: 1)
        }

        let end = try primary.reader.endOfWAL(from: received, timeline: 1, deadline: .seconds(10))
        #expect(end <= before && end.behind(before) < 100)
        try copy(from: primary, to: standby, from: received, upTo: kind.isReceived ? torn : end)
        #expect(ProcessTable.signal(try standby.postmaster, SIGHUP))
        try requireEventually("replay up to \(end)") { try standby.position("pg_last_wal_replay_lsn") >= end }
        try standby.promote()
        let history = try String(contentsOfFile: standby.wal + "/00000002.history", encoding: .utf8)
        #expect(history.hasPrefix("1\t\(end)\t"))
        try standby.sql("insert into t values (3)")

        let writer = WALWriter(directory: primary.wal)
        // Promoted earlier, the other one would lack a commit: nothing is touched then.
        let untouched = try primary.reader.read(from: end, count: 1000, timeline: 1)
        #expect(try writer.prepareToFollow(fork: received, from: received, timeline: 1, deadline: .seconds(10)) == end)
        #expect(try primary.reader.read(from: end, count: 1000, timeline: 1) == untouched)
        // Promoted later (this host lost log, or never had it): it ends here all the same.
        let later = LSN(end.bytes + 50 << 20)
        #expect(try writer.prepareToFollow(fork: later, from: later, timeline: 1, deadline: .seconds(10)) == end)
        for _ in 1...2 {
            #expect(try writer.prepareToFollow(fork: end, from: received, timeline: 1, deadline: .seconds(10)) == end)
        }
        #expect(try primary.reader.read(from: end, count: 1000, timeline: 1) == [UInt8](repeating: 0, count: 1000))
        try primary.follow(standby, name: "old")
        try primary.start()
        try requireEventually("the new row; \(primary.lastLines)") {
            try primary.sql("select string_agg(n::text, ',' order by n) from t") == "1,3"
        }
        #expect(try primary.sql("select status || received_tli from pg_stat_wal_receiver") == "streaming2")
        // And on, over the end of the segment.
        try standby.sql("select pg_switch_wal(); insert into t values (4)")
        try requireEventually("the last row; \(primary.lastLines)") { try primary.sql("select max(n) from t") == "4" }
    }

    private func copy(from primary: WALInstance, to standby: WALInstance, from start: LSN, upTo end: LSN) throws {
        let writer = WALWriter(directory: standby.wal)
        var position = start
        while position < end {
            let count = min(256 << 10, Int(end.bytes - position.bytes))
            try writer.write(
                primary.reader.read(from: position, count: count, timeline: 1), at: position, timeline: 1)
            position = LSN(position.bytes + UInt64(count))
        }
    }

    private func requireEventually(_ what: @autoclosure () -> String, _ fact: () throws -> Bool) throws {
        let holds = try SystemClock.wait(upTo: .seconds(60), step: .milliseconds(5)) { try fact() }
        try #require(holds, "waited for: \(what())")
    }
}
