import TandemCore

/// Whether this instance and the source are of one branch up to a position. History files do not tell: two promotions can write
/// identical ones (`hazards.md` 0.1, 4). Two things do: the bytes of the log, which hold times, transactions and checksums, and
/// the lineage that is written down at every promotion.
struct Descent {
    enum Answer: Equatable {
        case same
        case different(String)
        case unknown(String)
    }

    let log: OwnLog
    let source: RejoinSource
    let sourceChain: TimelineChain

    private static let piece = 32 << 10
    /// A page or two could be alike by chance: on idle servers records of fixed content stand at equal places.
    private static let enough = 16 << 10
    private static let most = 128 << 10

    /// - Parameters:
    ///   - position: both have the log up to here, on a common timeline.
    ///   - begin: of that timeline. What follows it holds the time of the promotion.
    func answer(
        upTo position: LSN, timelineFrom begin: LSN, _ own: [Instance.LineageEntry], _ theirs: [Instance.LineageEntry]?
    ) throws(PostgresError) -> Answer {
        let byBytes = try compare(upTo: position, begin)
        if case .different = byBytes { return byBytes }
        let byLineage = Self.lineage(begin, own, theirs)
        if case .different = byLineage { return byLineage }
        return byBytes == .same ? .same : byLineage == .same ? .same : byBytes
    }

    private func compare(upTo position: LSN, _ begin: LSN) throws(PostgresError) -> Answer {
        var compared = 0
        if begin.bytes > 0, position > begin {
            let count = min(Int(clamping: position.bytes - begin.bytes), Self.piece, roomInSegment(begin))
            switch try isEqual(begin, count) {
            case .some(false): return .different("the log behind its beginning at \(begin) differs")
            case .some(true): compared += count
            case .none: break
            }
        }
        var end = position
        while compared < Self.most, end.bytes > UInt64(log.segmentSize) {
            let intoSegment = Int((end.bytes - 1) % UInt64(log.segmentSize)) + 1
            let count = min(Self.piece, intoSegment)
            let start = LSN(end.bytes - UInt64(count))
            guard let equal = try isEqual(start, count) else { break }
            guard equal else { return .different("the log from \(start) to \(end) differs") }
            compared += count
            end = start
        }
        if compared >= Self.enough { return .same }
        // The source may have removed all but the segment of the fork, which can begin just before it.
        if end < position, try isTimed(end..<position) { return .same }
        return .unknown("only \(compared) bytes of the log before \(position) are both here and at the source")
    }

    private func isTimed(_ range: Range<LSN>) throws(PostgresError) -> Bool {
        do throws(WALError) {
            return try log.hasTimedRecord(in: range)
        } catch {
            // What cannot be read proves nothing.
            return false
        }
    }

    private func roomInSegment(_ position: LSN) -> Int {
        log.segmentSize - Int(position.bytes % UInt64(log.segmentSize))
    }

    /// nil: one of them does not have these bytes.
    private func isEqual(_ start: LSN, _ count: Int) throws(PostgresError) -> Bool? {
        let size = UInt64(log.segmentSize)
        let segment = LSN(start.bytes / size * size)
        let offset = Int(start.bytes % size)
        guard let ours = log.file(ofSegmentAt: segment),
            let theirs = try source.file(ofSegmentAt: segment, sourceChain, size: log.segmentSize)
        else { return nil }
        let here: [UInt8]?
        do throws(WALError) {
            here = try log.read(ours, at: offset, count: count)
        } catch {
            throw PostgresError("compare the logs", error, meaning: "Nothing was changed.")
        }
        guard let here, let there = try source.read(theirs, at: offset, count: count) else { return nil }
        return here == there
    }

    /// Of the promotion with which a timeline began: did the source get what this node wrote down then?
    static func lineage(
        _ begin: LSN, _ own: [Instance.LineageEntry], _ theirs: [Instance.LineageEntry]?
    ) -> Answer {
        guard begin.bytes > 0, let promotion = own.first(where: { $0.lsn == begin }) else {
            return .unknown("nothing was written down here about a promotion at \(begin)")
        }
        guard let theirs, !theirs.isEmpty else { return .unknown("the source's lineage is not known") }
        if theirs.contains(where: { $0.term == promotion.term && $0.copy == promotion.copy }) { return .same }
        return .different("the source's lineage does not hold the promotion of term \(promotion.term) at \(begin)")
    }
}
