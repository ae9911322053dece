import Foundation
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

/// Copies of a real log, damaged by hand.
@Suite(.serialized) struct WALDamageTests {
    /// small records | 20 MB in one record | small records | switch of segments | small records
    private struct Log {
        let instance: WALInstance
        let start: LSN
        let beforeBig: LSN
        let behindBig: LSN
        let behindSwitch: LSN
        let end: LSN
        var reader: WALReader { instance.reader }
        func path(_ position: LSN) -> String {
            instance.wal + "/" + WALFile.name(timeline: 1, position: position, segmentSize: 16 << 20)
        }

        init() throws {
            let server = try WALInstance.primary(["autovacuum = off", "wal_writer_delay = '10s'"])
            try server.sql("create table t (n int, filler text)")
            start = try server.position("pg_current_wal_flush_lsn")
            instance = server
            func rows() throws {
                try server.sql("insert into t select n, repeat('x', n * 7919 % 2500) from generate_series(1, 2000) n")
            }
            try rows()
            beforeBig = try server.position("pg_current_wal_insert_lsn")
            try server.sql("select pg_logical_emit_message(false, 'big', repeat('x', 20000000))")
            behindBig = try server.position("pg_current_wal_insert_lsn")
            try rows()
            try server.sql("select pg_switch_wal()")
            behindSwitch = LSN(try server.position("pg_current_wal_insert_lsn").bytes & ~0xFF_FFFF)
            try rows()
            try server.stop()
            end = try server.reader.endOfWAL(from: start, timeline: 1, deadline: .seconds(10))
        }

        /// Changes bytes of the log, asks, and puts them back.
        func with<Answer>(_ bytes: [UInt8], at position: UInt64, _ body: () throws -> Answer) throws -> Answer {
            let writer = WALWriter(directory: instance.wal)
            let before = try reader.read(from: LSN(position), count: bytes.count, timeline: 1)
            try writer.write(bytes, at: LSN(position), timeline: 1)
            defer {
                do { try writer.write(before, at: LSN(position), timeline: 1) } catch { Issue.record("\(error)") }
            }
            return try body()
        }
    }

    @Test func theEndIsBeforeTheFirstDamagedRecordAndTheSameFromWhereverOneBegins() throws {
        let log = try Log()
        let reader = log.reader
        func end(from start: LSN) throws -> LSN { try reader.endOfWAL(from: start, timeline: 1, deadline: .seconds(10)) }
        let whole = try reader.findEnd(from: log.start, timeline: 1, deadline: .seconds(10))
        #expect(try log.instance.control("Latest checkpoint location") == whole.lastRecord?.description)
        #expect(log.behindSwitch > log.behindBig && log.end > log.behindSwitch)

        // From every page's beginning, from places inside records, headers and the skipped rest of a segment.
        var starts = [log.beforeBig, log.behindBig, log.behindSwitch, log.end, LSN(log.behindSwitch.bytes - 8192 * 3)]
        starts += stride(from: log.start.bytes, to: log.end.bytes, by: 8192 * 5).map { LSN(($0 + 8191) & ~8191) }
        starts += stride(from: log.start.bytes, to: log.end.bytes, by: 32_779).map { LSN($0) }
        for start in starts where start <= log.end { #expect(try end(from: start) == log.end, "from \(start)") }

        // Zeros, a flipped bit, a page of the big record gone: it never was.
        let inside = log.beforeBig.bytes + 9_000_000
        for (name, bytes) in [
            ("zeros", [UInt8](repeating: 0, count: 8192)), ("a flipped bit", [UInt8(ascii: "x") ^ 1]),
            ("zeros to the end", [UInt8](repeating: 0, count: Int(log.end.bytes - inside))),
        ] {
            // At least a page's header away from any page's beginning, so that the single bit is of the record.
            let place = inside / 8192 * 8192 + (bytes.count == 1 ? 100 : 0)
            let found = try log.with(bytes, at: place) {
                let found = try end(from: log.start)
                #expect(try end(from: log.beforeBig) == found)
                // pg_waldump takes the segment size from any file, also from one of zeros.
                if bytes.count <= 8192 {
                    let lastRecord = try reader.findEnd(from: log.start, timeline: 1, deadline: .seconds(10)).lastRecord
                    #expect(try log.instance.waldumpEnd(from: log.start)?.lastRecord == lastRecord)
                }
                return found
            }
            #expect(found <= log.beforeBig && log.beforeBig.bytes - found.bytes < 64, "\(name)")
        }
        // The header of the big record, cut anywhere.
        for field in 0..<24 where field != 18 && field != 19 {
            let place = log.beforeBig.bytes + (log.beforeBig.bytes % 8192 == 0 ? 24 : 0) + UInt64(field)
            let byte = try reader.read(from: LSN(place), count: 1, timeline: 1)[0]
            let found = try log.with([byte ^ 0x10], at: place) { try end(from: log.start) }
            #expect(found == log.beforeBig, "byte \(field)")
        }
        #expect(try end(from: log.start) == log.end)

        // Old content: a record with a good checksum from another place, and a page of another place.
        let last = try #require(whole.lastRecord)
        let record = try reader.read(from: last, count: Int(log.end.bytes - last.bytes), timeline: 1)
        #expect(log.end.bytes % 8192 + UInt64(record.count) < 8192)
        #expect(try log.with(record, at: log.end.bytes) { try end(from: log.start) } == log.end)
        for byte: UInt64 in [30, 60] {
            let place = last.bytes + byte
            let changed = try reader.read(from: LSN(place), count: 1, timeline: 1)[0] ^ 4
            #expect(try log.with([changed], at: place) { try end(from: log.start) } == last, "byte \(byte)")
        }
        let pageOfRows = (log.behindSwitch.bytes + 500_000) / 8192 * 8192
        let otherPage = try reader.read(from: LSN(pageOfRows - 8192), count: 8192, timeline: 1)
        let before = try log.with(otherPage, at: pageOfRows) { try end(from: log.start) }
        #expect(before.bytes <= pageOfRows && before.bytes > pageOfRows - 8192)

        // Every field of a page's header counts by itself: magic, flags, timeline, address.
        let header = try #require(try WALFile.firstPage(of: log.path(log.behindSwitch)))
        let identity = WALIdentity(magic: header.magic, system: header.system, pageSize: 8192)
        for (field, isSound) in [(0, false), (3, false), (5, false), (10, false), (15, false), (17, true)] as [(UInt64, Bool)] {
            let byte = try reader.read(from: LSN(pageOfRows + field), count: 1, timeline: 1)[0]
            let page = try log.with([byte ^ 0x20], at: pageOfRows + field) {
                try WALPages(directory: reader.directory, timeline: 1, segmentSize: 16 << 20, identity: identity)
                    .page(pageOfRows, notBefore: 0)
            }
            if case .success = page { #expect(isSound, "byte \(field)") } else { #expect(!isSound, "byte \(field)") }
        }

        // A segment that is not there, and one that cannot be read: the second is no end.
        let second = log.path(log.behindBig)
        try FileManager.default.moveItem(atPath: second, toPath: second + ".away")
        #expect(try end(from: log.start) <= log.beforeBig)
        #expect(throws: WALError.self) { try end(from: log.behindBig) }
        try FileManager.default.createDirectory(atPath: second, withIntermediateDirectories: false)
        #expect(throws: WALError.self) { try end(from: log.start) }
        try FileManager.default.removeItem(atPath: second)
        try FileManager.default.moveItem(atPath: second + ".away", toPath: second)

        // Where the segment of the beginning of the big record was removed, one may still begin inside it or behind it.
        let first = log.path(log.beforeBig)
        try FileManager.default.moveItem(atPath: first, toPath: first + ".away")
        let segment = log.behindBig.bytes & ~0xFF_FFFF
        for start in [LSN(segment), LSN(segment + 777), log.behindBig] {
            #expect(try end(from: start) == log.end, "from \(start)")
        }
        // The log ended with a switch: the next segment was never made, and its beginning is the end.
        try FileManager.default.moveItem(atPath: first + ".away", toPath: first)
        let third = log.path(log.behindSwitch)
        try FileManager.default.moveItem(atPath: third, toPath: third + ".away")
        for start in [log.start, log.behindSwitch, LSN(log.behindSwitch.bytes - 5000)] {
            #expect(try end(from: start) == log.behindSwitch, "from \(start)")
        }
        // Time is limited.
        #expect(throws: WALError.self) { try reader.endOfWAL(from: log.start, timeline: 1, deadline: .zero) }
    }

    @Test func theEndOfALongTailIsFoundQuickly() throws {
        let instance = try WALInstance.primary(["autovacuum = off"])
        try instance.sql("create table t (n int)")
        let start = try instance.position("pg_current_wal_flush_lsn")
        try instance.sql("insert into t select generate_series(1, 900000); update t set n = n + 1 where n < 100000")
        try instance.stop()
        let began = SystemClock.now()
        let end = try instance.reader.findEnd(from: start, timeline: 1, deadline: .seconds(10))
        let seconds = Double(SystemClock.now() - began) / 1e9
        let megabytes = Double(start.behind(end.position)) / 1e6
        print("\(Int(megabytes)) MB in \(end.records) records: \(Int(seconds * 1000)) ms, \(Int(megabytes / seconds)) MB/s")
        #expect(megabytes > 60)
        // Far below what was measured (see above): a loaded machine must not fail it.
        #expect(megabytes / seconds > 30)
    }
}
