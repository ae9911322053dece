import CLinux
import Glibc
import TandemCore
import TandemSystem

/// Where the log of an instance ends.
public struct WALEnd: Sendable, Equatable {
    /// The end of the last complete record. What PostgreSQL's recovery reports for it (`pg_last_wal_replay_lsn`).
    public var position: LSN
    /// Where that record begins ("redo done at"); nil: none was read.
    public var lastRecord: LSN?
    /// How many records were read.
    public var records: Int
    /// Why reading ended there: a clause for logs.
    public var reason: String
}

/// Reads the write-ahead log of an instance that is dead while its host lives: where it ends, and its bytes (`protocol.md`
/// 4.4, step 3, and 6.3).
///
/// Every process of the instance must be gone: a busy backend goes on writing after its postmaster's death (`hazards.md` 0.1).
/// Needs read access to the folder and no program of PostgreSQL. Errors are of the disk or of the caller; a damaged or torn
/// record is an end, as it is for PostgreSQL.
public struct WALReader: Sendable {
    /// `pg_wal`.
    public let directory: String
    /// Bytes in a segment.
    public let segmentSize: Int

    public init(directory: String, segmentSize: Int = WALFile.usualSegmentSize) {
        self.directory = directory
        self.segmentSize = segmentSize
    }

    /// `findEnd(from:timeline:deadline:)`, the position alone.
    public func endOfWAL(from start: LSN, timeline: Timeline, deadline: Duration) throws(WALError) -> LSN {
        try findEnd(from: start, timeline: timeline, deadline: deadline).position
    }

    /// The end of the last complete record.
    ///
    /// `start` may be any position that the other node has replayed, flushed or received. Received bytes may end inside a
    /// record: reading begins with a record that began at or before `start`, on the same page as a rule. If the log before
    /// `start` is not here (removed segments, an older timeline), it begins with the first record behind `start`.
    ///
    /// The result is below `start` only if `start` lies beyond the last complete record here: the other node received a
    /// part of a record whose rest was never written. Recovery, there and here, ends at the result all the same.
    /// - Parameters:
    ///   - timeline: of the instance when it died; its segments only are read.
    ///   - deadline: how long this may take.
    /// - Throws: if the page of `start` is not here, `start` is inside a record of which neither beginning nor end is here, a
    ///   file cannot be read (which is no end), or the time is over.
    public func findEnd(from start: LSN, timeline: Timeline, deadline: Duration) throws(WALError) -> WALEnd {
        // A day stands for ever, and fits.
        let patience = SystemClock.now() &+ Int64(min(deadline, .seconds(86_400)) / .nanoseconds(1))
        let pages = try pages(around: start, timeline)
        let first: UInt64
        if let found = try recordBefore(start.bytes, pages, deadline: patience) {
            first = found
        } else {
            first = try recordBehind(start.bytes, pages, deadline: patience)
        }
        var walk = WALWalk(pages, from: first, deadline: patience)
        var stop = try walk.run()
        guard walk.records > 0 || first <= start.bytes else { throw insideRecord(start, pages) }
        if walk.end < start.bytes, start.bytes % 8 == 0 {
            // A damaged record before `start` that the other node has got in good order: the log goes on behind it.
            var second = WALWalk(pages, from: start.bytes, deadline: patience)
            let secondStop = try second.run()
            if second.records > 0 {
                walk = second
                stop = secondStop
            }
        }
        return WALEnd(
            position: LSN(walk.end), lastRecord: walk.last.map { LSN($0) }, records: walk.records, reason: stop.description)
    }

    /// Raw bytes, across segments, unchecked: also beyond the end of the log, where there are zeros or old content.
    /// - Throws: naming the file that is missing or too short.
    public func read(from start: LSN, count: Int, timeline: Timeline) throws(WALError) -> [UInt8] {
        let attempted = "read \(count) bytes of the log at \(start)"
        try requireSegmentSize(attempted)
        guard count >= 0, start.bytes.addingReportingOverflow(UInt64(max(0, count))).overflow == false else {
            throw WALError(attempted: attempted, happened: "there is no such range", advice: "Ask for a range inside the log.")
        }
        var result = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let position = LSN(start.bytes + UInt64(done))
            let offset = Int(position.bytes % UInt64(segmentSize))
            let piece = min(count - done, segmentSize - offset)
            let path = "\(directory)/\(WALFile.name(timeline: timeline, position: position, segmentSize: segmentSize))"
            guard let file = try WALFile.open(path, O_RDONLY) else { throw missing(attempted, path) }
            guard try WALFile.read(file, path, into: &result, done..<done + piece, at: offset) == piece else {
                throw WALError(
                    attempted: attempted, happened: "\(path) ends too early", advice: "Copy this node anew from the other one.")
            }
            done += piece
        }
        return result
    }

    private func pages(around start: LSN, _ timeline: Timeline) throws(WALError) -> WALPages {
        let attempted = "find the end of the write-ahead log from \(start) on"
        try requireSegmentSize(attempted)
        let size = UInt64(segmentSize)
        guard start.bytes >= size, start.bytes < UInt64.max - 2 * size else {
            throw WALError(
                attempted: attempted, happened: "no log has this position",
                advice: "Give the position that the standby has received or replayed.")
        }
        let segment = start.bytes / size * size
        func path(_ position: UInt64) -> String {
            "\(directory)/\(WALFile.name(timeline: timeline, position: LSN(position), segmentSize: segmentSize))"
        }
        let first = try WALFile.firstPage(of: path(segment))
        // The segment may not exist yet if the log ends exactly at its beginning; then the one before must be there.
        guard first != nil || start.bytes == segment else { throw missing(attempted, path(segment)) }
        var candidates = [(segment, first)]
        candidates.append((segment - size, try WALFile.firstPage(of: path(segment - size))))
        for case (let address, let page?) in candidates {
            let pageSize = Int(page.page_size)
            guard page.information & WALPage.isLong != 0, page.address == address, Int(page.segment_size) == segmentSize,
                (1 << 10...64 << 10).contains(pageSize), pageSize & (pageSize - 1) == 0
            else { continue }
            let identity = WALIdentity(magic: page.magic, system: page.system, pageSize: pageSize)
            return WALPages(directory: directory, timeline: timeline, segmentSize: segmentSize, identity: identity)
        }
        if first == nil { throw missing(attempted, path(segment)) }
        throw WALError(
            attempted: attempted, happened: "\(path(segment)) does not begin with a page of this log",
            advice: "Check that the segment size is \(segmentSize) bytes, and that the standby follows this primary.")
    }

    /// Where the last page begins its first record that has one at or before `start`; nil: older segments are not here.
    /// Usually the page of `start`; more when a long record covers whole pages, or after a switch of segments, which leaves
    /// pages of zeros.
    private func recordBefore(_ start: UInt64, _ pages: WALPages, deadline: Int64) throws(WALError) -> UInt64? {
        let pageSize = UInt64(pages.identity.pageSize)
        var address = (start - 1) / pageSize * pageSize
        while address >= pageSize, SystemClock.now() < deadline {
            switch try pages.page(address, notBefore: 0) {
            case .failure(.noSuchPage): return nil
            case .failure: break
            case .success(let page):
                let skipped = page.beginsInsideRecord ? (UInt64(page.header.remaining) + 7) & ~7 : 0
                let record = UInt64(page.headerSize) + skipped
                if record < pageSize, address + record <= start { return address + record }
            }
            address -= pageSize
        }
        return nil
    }

    /// When nothing before `start` can be read: `start` itself if it can be a record's end, or else where the record ends
    /// inside which it lies. The walk must find a sound record there, or that end is not known to be one.
    private func recordBehind(_ start: UInt64, _ pages: WALPages, deadline: Int64) throws(WALError) -> UInt64 {
        let pageSize = UInt64(pages.identity.pageSize)
        var address = start / pageSize * pageSize
        while SystemClock.now() < deadline {
            guard case .success(let page) = try pages.page(address, notBefore: 0), page.beginsInsideRecord else {
                if address == start { return start }
                throw insideRecord(LSN(start), pages)
            }
            let record = UInt64(page.headerSize) + (UInt64(page.header.remaining) + 7) & ~7
            if record <= pageSize { return address + record }
            address += pageSize
        }
        return start
    }

    private func insideRecord(_ start: LSN, _ pages: WALPages) -> WALError {
        WALError(
            attempted: "find the end of the write-ahead log from \(start) on in \(pages.path(start.bytes))",
            happened: "no record is known to end there, and what is before is not here",
            advice: "Start this instance, or copy it anew from the other node.")
    }

    private func requireSegmentSize(_ attempted: String) throws(WALError) {
        guard WALFile.isSegmentSize(segmentSize) else {
            throw WALError(
                attempted: attempted, happened: "\(segmentSize) bytes are no segment size",
                advice: "Give a power of two from 1 MiB to 1 GiB.")
        }
    }

    private func missing(_ attempted: String, _ path: String) -> WALError {
        WALError(
            attempted: attempted, happened: "there is no file \(path)",
            advice: "Copy the other node anew: it is further behind than this log reaches back.")
    }
}
