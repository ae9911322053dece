import Glibc
import TandemCore
import TandemSystem

extension WALWriter {
    /// Makes a dead primary's log fit for a plain start as the standby of the node that was promoted at `fork` (`protocol.md`
    /// 6, step 2), if its history allows that, and returns where this log ends: at or before `fork` the plain start is right
    /// and everything is prepared; behind `fork` this node has commits that the other lacks, nothing was touched, and only
    /// pg_rewind or a new copy helps.
    ///
    /// What is prepared: a crash often leaves a record that was being written, above all at the end of a segment, since making
    /// the next one takes long. If such a record reaches into the next segment, PostgreSQL (15.18 at least) cannot follow the
    /// new timeline: it has kept the beginning, asks for the next segment on the new timeline, finds no rest there ("there is
    /// no contrecord flag") and ends with a PANIC at every start. So the beginning is overwritten with zeros, durably:
    /// recovery then ends before it and asks for the log from `fork` on.
    ///
    /// Only right before a start as a standby, never before one as a primary: going on in the same timeline, a primary must
    /// still see the torn record, to tell standbys that received a part of it (XLP_FIRST_IS_OVERWRITE_CONTRECORD).
    /// May be repeated. Every process of the instance must be gone.
    /// - Parameters:
    ///   - start: a position at or before `fork`, usually `fork` itself. If its segment is not here, as this log ended before,
    ///     the end is looked for from the last segment before it that is.
    ///   - timeline: of this instance when it died as a primary. An instance that has followed beyond `fork` since then must not
    ///     be asked with its new timeline: it would seem to have diverged.
    /// - Throws: as `WALReader.findEnd`, and if it cannot be written.
    public func prepareToFollow(
        fork: LSN, from start: LSN, timeline: Timeline, deadline: Duration
    ) throws(WALError) -> LSN {
        let reader = WALReader(directory: directory, segmentSize: segmentSize)
        let end = try reader.endOfWAL(from: present(start, timeline), timeline: timeline, deadline: deadline)
        guard end <= fork else { return end }
        let path = "\(directory)/\(WALFile.name(timeline: timeline, position: end, segmentSize: segmentSize))"
        // No file: the log ends with its segment, and nothing was begun behind it.
        guard try WALFile.open(path, O_RDONLY) != nil else { return end }
        // The rest of the page, whatever its size: PostgreSQL's largest is 64 KiB. No later page is looked at from here.
        let largestPage = 64 << 10
        let rest = largestPage - Int(end.bytes % UInt64(largestPage))
        let found = try reader.read(from: end, count: rest, timeline: timeline)
        if found.contains(where: { $0 != 0 }) {
            try write([UInt8](repeating: 0, count: rest), at: end, timeline: timeline)
        }
        return end
    }

    /// `start`, or the end of the last segment before it if its own is not here.
    private func present(_ start: LSN, _ timeline: Timeline) throws(WALError) -> LSN {
        guard WALFile.isSegmentSize(segmentSize) else { return start }
        let size = UInt64(segmentSize)
        var position = start
        // 16 GiB of usual segments: more was never lost by a host's crash.
        for _ in 0..<1024 where position.bytes >= size {
            let name = WALFile.name(timeline: timeline, position: position, segmentSize: segmentSize)
            if try WALFile.open("\(directory)/\(name)", O_RDONLY) != nil {
                return position == start ? start : LSN(position.bytes + size)
            }
            position = LSN(position.bytes / size * size - size)
        }
        // The reader will name the file that is missing.
        return start
    }
}
