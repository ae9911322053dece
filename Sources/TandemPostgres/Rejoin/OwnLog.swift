import CLinux
import TandemCore
import TandemSystem

/// The log of this stopped instance along its own history: where it ends, and records before a position.
final class OwnLog {
    let directory: String
    let segmentSize: Int
    let chain: TimelineChain
    /// The end of the last complete record.
    let end: LSN
    private let lastRecord: LSN
    private var pages: [Timeline: WALPages] = [:]
    private let deadline: Deadline

    private init(
        _ directory: String, _ segmentSize: Int, _ chain: TimelineChain, _ end: LSN, _ lastRecord: LSN, _ deadline: Deadline
    ) {
        self.directory = directory
        self.segmentSize = segmentSize
        self.chain = chain
        self.end = end
        self.lastRecord = lastRecord
        self.deadline = deadline
    }

    /// Why there is none: a clause.
    struct Damage: Error { var words: String }

    /// - Throws: `Damage` if the log does not reach what the data files already hold, so that this instance cannot recover.
    static func find(
        _ control: ControlData, directory: String, deadline: Deadline
    ) throws(PostgresError) -> Result<OwnLog, Damage> {
        let reader = WALReader(directory: directory, segmentSize: control.segmentSize)
        let timeline = max(control.timeline, control.minimumRecoveryTimeline)
        guard var chain = try TimelineChain.read(timeline, walDirectory: directory) else {
            return .failure(Damage(words: "\(TimelineChain.fileName(timeline)) is missing or damaged"))
        }
        // After a promotion and before its first checkpoint the control file's checkpoint is on the timeline before.
        let start = max(control.checkpoint, chain.current.begin)
        var end: LSN
        var lastRecord: LSN
        do throws(WALError) {
            let found = try reader.findEnd(from: start, timeline: timeline, deadline: deadline.left)
            guard let last = found.lastRecord, start > control.checkpoint || last >= control.checkpoint else {
                return .failure(Damage(words: "its checkpoint at \(control.checkpoint) cannot be read: \(found.reason)"))
            }
            end = found.position
            lastRecord = last
        } catch {
            return .failure(Damage(words: "\(error.attempted): \(error.happened)"))
        }
        if let minimum = control.minimumRecoveryEnd, minimum > end {
            return .failure(Damage(words: "the data files are at \(minimum), and the log ends at \(end)"))
        }
        // The control file may not know yet of the newest: a promotion, or a change of timeline while following, that had just happened.
        for newer in newerTimelines(than: timeline, directory) {
            guard let longer = try TimelineChain.read(newer, walDirectory: directory),
                longer.past.contains(where: { $0.timeline == chain.current.timeline && $0.begin == chain.current.begin }),
                // Else it is a file that was fetched from the other branch.
                end <= longer.current.begin
            else { continue }
            do throws(WALError) {
                let found = try reader.findEnd(from: longer.current.begin, timeline: newer, deadline: deadline.left)
                guard found.position > longer.current.begin, let last = found.lastRecord else { continue }
                chain = longer
                end = found.position
                lastRecord = last
            } catch {
                // No segment of it is here.
                continue
            }
        }
        return .success(OwnLog(directory, control.segmentSize, chain, end, lastRecord, deadline))
    }

    private static func newerTimelines(than timeline: Timeline, _ directory: String) -> [Timeline] {
        (OwnedFiles.names(in: directory) ?? []).compactMap { name in
            guard name.hasSuffix(".history"), name.utf8.count == 16 else { return nil }
            return Timeline(name.prefix(8), radix: 16)
        }.filter { $0 > timeline }.sorted()
    }

    /// The file here that holds the segment; nil: none does.
    func file(ofSegmentAt start: LSN) -> String? {
        for timeline in chain.timelines(ofSegmentAt: start, size: segmentSize) {
            let name = WALFile.name(timeline: timeline, position: start, segmentSize: segmentSize)
            for name in [name, name + ".partial"] where OwnedFiles.exists(directory + "/" + name) { return name }
        }
        return nil
    }

    /// nil: too short.
    func read(_ name: String, at offset: Int, count: Int) throws(WALError) -> [UInt8]? {
        let path = directory + "/" + name
        guard let file = try WALFile.open(path, 0) else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        let got = try WALFile.read(file, path, into: &bytes, 0..<count, at: offset)
        return got == count ? bytes : nil
    }

    struct Checkpoint { var record: LSN; var redo: LSN }

    /// The last checkpoint record that begins before the fork, found as pg_rewind does: from record to record backward.
    /// - Throws: naming the segment that is missing.
    func lastCheckpoint(before fork: LSN) throws(WALError) -> Checkpoint {
        try lastCheckpoint(before: fork, from: fork, "find the last checkpoint before \(fork)")
    }

    /// Whether the newest timeline has one.
    func hasCheckpointOnNewestTimeline() throws(WALError) -> Bool {
        let found = try lastCheckpoint(before: end, from: lastRecord, "find the last checkpoint")
        return found.record >= chain.current.begin
    }

    /// Whether a record with a time in microseconds begins there: a commit, an abort, or the end of a recovery. No two branches have
    /// the same one at one place.
    func hasTimedRecord(in range: Range<LSN>) throws(WALError) -> Bool {
        var found = false
        // At the end there is no record to begin with.
        let start = range.upperBound == end ? lastRecord : range.upperBound
        try walkBack(from: start, "find a record with a time before \(range.upperBound)") { position, header throws(WALError) in
            guard position >= range.lowerBound.bytes else { return false }
            // Resource managers 0 (XLOG) and 1 (transactions), access/rmgrlist.h.
            let isEndOfRecovery = header.manager == 0 && header.information & 0xF0 == 0x90
            let isOutcome = header.manager == 1 && [0x00, 0x20].contains(header.information & 0x70)
            found = position < range.upperBound.bytes && (isEndOfRecovery || isOutcome)
            return !found
        }
        return found
    }

    private func lastCheckpoint(
        before fork: LSN, from start: LSN, _ attempted: String
    ) throws(WALError) -> Checkpoint {
        var found: Checkpoint?
        try walkBack(from: start, attempted) { position, header throws(WALError) in
            // 0x00 and 0x10 are the two kinds of checkpoints (catalog/pg_control.h).
            guard position < fork.bytes, header.manager == 0, [0x00, 0x10].contains(header.information & 0xF0) else {
                return true
            }
            // Behind the header two bytes tell that data follows; the first field of a checkpoint is its redo position.
            let redo = try bytes(at: position, count: WALPage.recordHeader + 10, attempted)[(WALPage.recordHeader + 2)...]
            found = Checkpoint(record: LSN(position), redo: LSN(redo.reversed().reduce(0) { $0 << 8 | UInt64($1) }))
            return false
        }
        guard let found else { throw WALError(attempted: attempted, happened: "there is none", advice: "Make a new copy.") }
        return found
    }

    /// From record to record, until the visitor answers false.
    private func walkBack(
        from start: LSN, _ attempted: String, _ visit: (UInt64, cwal_record) throws(WALError) -> Bool
    ) throws(WALError) {
        var position = start.bytes
        let first = try page(position, attempted)
        if position % UInt64(first.pageSize) == 0 { position += UInt64(first.headerSize) }
        var steps = 0
        while true {
            let header = try bytes(at: position, count: WALPage.recordHeader, attempted).withUnsafeBytes {
                $0.baseAddress.map { cwal_read_record($0) }
            }
            guard let header, header.length >= WALPage.recordHeader, header.previous < position, header.previous > 0 else {
                throw WALError(
                    attempted: attempted, happened: "no record was found at \(LSN(position))", advice: "Make a new copy.")
            }
            guard try visit(position, header) else { return }
            position = header.previous
            steps += 1
            guard steps % 4096 != 0 || !deadline.isOver else {
                throw WALError(attempted: attempted, happened: "the time was over", advice: "Look whether this disk is slow.")
            }
        }
    }

    private func page(
        _ position: UInt64, _ attempted: String
    ) throws(WALError) -> (bytes: UnsafeRawPointer, pageSize: Int, headerSize: Int) {
        let start = LSN(position / UInt64(segmentSize) * UInt64(segmentSize))
        var happened = "there is no segment for \(start)"
        for timeline in chain.timelines(ofSegmentAt: start, size: segmentSize) {
            guard let pages = try pages(timeline, start) else { continue }
            let size = UInt64(pages.identity.pageSize)
            switch try pages.page(position / size * size, notBefore: 0) {
            case .success(let page): return (page.bytes, Int(size), page.headerSize)
            case .failure(let stop): happened = stop.description
            }
        }
        throw WALError(attempted: attempted, happened: happened, advice: "Make a new copy.")
    }

    private func pages(_ timeline: Timeline, _ start: LSN) throws(WALError) -> WALPages? {
        if let known = pages[timeline] { return known }
        let path = "\(directory)/\(WALFile.name(timeline: timeline, position: start, segmentSize: segmentSize))"
        guard let first = try WALFile.firstPage(of: path), first.information & WALPage.isLong != 0, first.page_size > 0 else {
            return nil
        }
        let identity = WALIdentity(magic: first.magic, system: first.system, pageSize: Int(first.page_size))
        let made = WALPages(directory: directory, timeline: timeline, segmentSize: segmentSize, identity: identity)
        pages[timeline] = made
        return made
    }

    /// Bytes of records: headers of pages in between are left out.
    private func bytes(at position: UInt64, count: Int, _ attempted: String) throws(WALError) -> [UInt8] {
        var result: [UInt8] = []
        var position = position
        while result.count < count {
            let page = try page(position, attempted)
            var offset = Int(position % UInt64(page.pageSize))
            if offset == 0 { offset = page.headerSize }
            let piece = min(count - result.count, page.pageSize - offset)
            result += UnsafeRawBufferPointer(start: page.bytes + offset, count: piece)
            position = (position / UInt64(page.pageSize) + 1) * UInt64(page.pageSize)
        }
        return result
    }
}
