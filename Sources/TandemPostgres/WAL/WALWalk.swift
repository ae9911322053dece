import CLinux
import TandemCore
import TandemSystem

/// Goes from record to record, checking each: the rules of PostgreSQL's xlogreader.c (XLogDecodeNextRecord), so that it ends
/// where recovery would end.
///
/// Not checked, since no bytes that pass the CRC and the backward link can fail it: the number of the resource manager and
/// the inside of a record.
struct WALWalk {
    let pages: WALPages
    /// The end of the last sound record, in PostgreSQL's way (EndRecPtr): rounded up to 8, and a page's beginning, not the
    /// place after its header, when a record fills its page to the end.
    private(set) var end: UInt64
    /// Where the last sound record begins.
    private(set) var last: UInt64?
    private(set) var records = 0

    /// Where the next record is looked for. Differs from `end` only after a torn record that was overwritten.
    private var next: UInt64
    private var timeline: Timeline = 0
    private let deadline: Int64
    private var pagesUntilClock = 0

    /// - Parameters:
    ///   - start: a record's beginning or end. Of the first record the backward link can only be checked to point backward.
    ///   - deadline: a reading of `SystemClock`.
    init(_ pages: WALPages, from start: UInt64, deadline: Int64) {
        self.pages = pages
        self.deadline = deadline
        end = start
        next = start
    }

    /// Ends at the first thing that is not sound. `next` grows with every round, so it does end.
    mutating func run() throws(WALError) -> WALStop {
        while true {
            if let stop = try walkPage() { return stop }
        }
    }

    /// All records that begin on the page of `next`.
    private mutating func walkPage() throws(WALError) -> WALStop? {
        let pageSize = pages.identity.pageSize
        let address = next & ~UInt64(pageSize - 1)
        let page: WALPage
        switch try sound(address) {
        case .success(let found): page = found
        case .failure(let stop): return stop
        }
        var offset = Int(next - address)
        if offset == 0 { offset = page.headerSize }
        guard offset >= page.headerSize, offset % 8 == 0 else { return .noBoundary(next) }
        if offset == page.headerSize, page.beginsInsideRecord { return .noBoundary(next) }

        while offset < pageSize {
            let record = address + UInt64(offset)
            let bytes = page.bytes + offset
            let room = pageSize - offset
            let length = Int(cwal_read_length(bytes))
            guard length >= WALPage.recordHeader else { return .shortRecord(record, length: UInt32(length)) }
            if length > room { return try walkAcross(record, bytes, room: room, length: length) }

            let header = cwal_read_record(bytes)
            guard follows(header, record) else { return .wrongPrevious(record, header.previous) }
            guard cwal_record_crc(bytes, length) == header.crc else { return .wrongChecksum(record) }
            offset += (length + 7) & ~7
            accept(record, header, end: address + UInt64(offset))
            if next != address + UInt64(offset) { return nil }
        }
        return nil
    }

    /// A record that goes on upon other pages. Its CRC is computed piece by piece: it can have a gigabyte.
    private mutating func walkAcross(
        _ record: UInt64, _ start: UnsafeRawPointer, room: Int, length: Int
    ) throws(WALError) -> WALStop? {
        let pageSize = pages.identity.pageSize
        let size = WALPage.recordHeader
        let scratch = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
        defer { scratch.deallocate() }
        // Even the header may be cut in two.
        scratch.copyMemory(from: start, byteCount: min(size, room))
        if room >= size {
            let header = cwal_read_record(scratch)
            guard follows(header, record) else { return .wrongPrevious(record, header.previous) }
        }
        var crc: UInt32 = room > size ? cwal_crc32c(.max, start + size, room - size) : .max
        var got = room
        var address = record & ~UInt64(pageSize - 1)
        var recordEnd: UInt64 = 0
        while got < length {
            address += UInt64(pageSize)
            let page: WALPage
            switch try sound(address) {
            case .success(let found): page = found
            case .failure: return .tornRecord(record, page: address)
            }
            if page.overwritesRecord {
                // The torn record does not count, and the log goes on here: its first record follows the last sound one.
                next = address
                return nil
            }
            let remaining = Int(page.header.remaining)
            guard page.beginsInsideRecord, remaining > 0, got + remaining == length else {
                return .tornRecord(record, page: address)
            }
            let piece = page.bytes + page.headerSize
            let count = min(remaining, pageSize - page.headerSize)
            let ofHeader = min(max(0, size - got), count)
            if ofHeader > 0 {
                (scratch + got).copyMemory(from: piece, byteCount: ofHeader)
                let header = cwal_read_record(scratch)
                guard follows(header, record) else { return .wrongPrevious(record, header.previous) }
            }
            crc = cwal_crc32c(crc, piece + ofHeader, count - ofHeader)
            got += count
            recordEnd = address + UInt64(page.headerSize + (count + 7) & ~7)
        }
        let header = cwal_read_record(scratch)
        // The header comes last, without the checksum itself.
        guard ~cwal_crc32c(crc, scratch, size - 4) == header.crc else { return .wrongChecksum(record) }
        accept(record, header, end: recordEnd)
        return nil
    }

    private func follows(_ header: cwal_record, _ record: UInt64) -> Bool {
        if let last { return header.previous == last }
        return header.previous < record
    }

    private mutating func accept(_ record: UInt64, _ header: cwal_record, end recordEnd: UInt64) {
        last = record
        records += 1
        end = recordEnd
        // pg_switch_wal(): resource manager 0, information 0x40; the low four bits are flags of any record. The rest of the
        // segment is skipped.
        if header.manager == 0, header.information & 0xF0 == 0x40 {
            let size = UInt64(pages.segmentSize)
            end = (recordEnd + size - 1) / size * size
        }
        next = end
    }

    private mutating func sound(_ address: UInt64) throws(WALError) -> Result<WALPage, WALStop> {
        if pagesUntilClock == 0 {
            pagesUntilClock = 64
            guard SystemClock.now() < deadline else {
                throw WALError(
                    attempted: "find the end of the write-ahead log in \(pages.directory)",
                    happened: "the time was over at \(LSN(end))", advice: "Look whether this disk is slow.")
            }
        }
        pagesUntilClock -= 1
        let found = try pages.page(address, notBefore: timeline)
        if case .success(let page) = found { timeline = page.header.timeline }
        return found
    }
}
