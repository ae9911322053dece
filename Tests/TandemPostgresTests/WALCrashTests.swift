import Foundation
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite(.serialized) struct WALCrashTests {
    @Test func afterEveryKillTheEndIsWherePostgreSQLItselfFindsIt() throws {
        let primary = try WALInstance.primary()
        for round in 1...5 {
            let start = try primary.position("pg_current_wal_flush_lsn")
            let load = try WALLoad(on: primary)
            let goal = start.bytes + UInt64(1 + 3 * round) << 20
            #expect(
                try SystemClock.wait(upTo: .seconds(30), step: .milliseconds(10)) {
                    try primary.position("pg_current_wal_flush_lsn").bytes > goal
                })
            // A flushed position: possibly inside a record.
            let behind = try primary.position("pg_current_wal_flush_lsn")
            primary.killAll()
            _ = load.lastAcknowledged()

            let end = try primary.reader.findEnd(from: behind, timeline: 1, deadline: .seconds(10))
            let whole = try primary.reader.findEnd(from: start, timeline: 1, deadline: .seconds(10))
            let dump = try primary.waldumpEnd(from: start)
            print("round \(round): \(end.position), \(end.reason) | \(dump?.text ?? "no segment")")
            #expect(end.position == whole.position && end.lastRecord == whole.lastRecord)
            #expect(whole.records > end.records)
            if let dump { #expect(dump.lastRecord == end.lastRecord) }
            if let complaint = dump?.complaint { #expect(complaint.isSameEnd(as: end.position), "\(dump?.text ?? "")") }

            try primary.start()
            let redo = try #require(try primary.logged("redo done at ")).prefix { $0 != " " }
            #expect(LSN(redo) == end.lastRecord)
        }
    }

    @Test func afterACleanShutdownTheEndIsThatOfTheShutdownCheckpoint() throws {
        let primary = try WALInstance.primary()
        let start = try primary.position("pg_current_wal_flush_lsn")
        try primary.sql("create table t as select generate_series(1, 10000)")
        try primary.stop()
        let end = try primary.reader.findEnd(from: start, timeline: 1, deadline: .seconds(10))
        #expect(try primary.control("Latest checkpoint location") == end.lastRecord?.description)
        #expect(try primary.waldumpEnd(from: start)?.complaint?.isSameEnd(as: end.position) == true)
        // Nothing newer: from the end itself, and it is where the next start writes.
        #expect(try primary.reader.endOfWAL(from: end.position, timeline: 1, deadline: .seconds(1)) == end.position)
        #expect(try WALFile.segmentSize(ofDirectory: primary.wal) == 16 << 20)
    }

    @Test func aRecordThatACrashToreIsPassedOverOnceTheServerWroteOn() throws {
        let primary = try WALInstance.primary()
        let start = try primary.position("pg_current_wal_flush_lsn")
        try primary.sql("create table t (n int)")
        let before = try primary.position("pg_current_wal_insert_lsn")
        try primary.sql("select pg_logical_emit_message(false, 'big', repeat('x', 3000000)); insert into t values (1)")
        primary.killAll()
        // The first pages of the big record were written, the others not.
        try WALWriter(directory: primary.wal).write(
            [UInt8](repeating: 0, count: 4 << 20), at: LSN((before.bytes / 8192 + 20) * 8192), timeline: 1)
        let torn = try primary.reader.findEnd(from: start, timeline: 1, deadline: .seconds(10))
        #expect(torn.position <= before)
        #expect(try primary.waldumpEnd(from: start)?.lastRecord == torn.lastRecord)
        // Received up to the last page that was written, so inside the torn record.
        let inside = LSN((before.bytes / 8192 + 20) * 8192)
        #expect(try primary.reader.findEnd(from: inside, timeline: 1, deadline: .seconds(10)).position == torn.position)

        try primary.start()
        #expect(LSN(try #require(try primary.logged("redo done at ")).prefix { $0 != " " }) == torn.lastRecord)
        try primary.sql("insert into t values (2)")
        let flushed = try primary.position("pg_current_wal_insert_lsn")
        primary.killAll()
        for from in [start, before, inside] {
            let end = try primary.reader.findEnd(from: from, timeline: 1, deadline: .seconds(10))
            #expect(end.position >= flushed)
            #expect(try primary.waldumpEnd(from: start)?.lastRecord == end.lastRecord)
        }
    }
}
