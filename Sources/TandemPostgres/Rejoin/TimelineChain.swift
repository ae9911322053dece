import TandemCore
import TandemSystem

/// The timelines through which one instance has come, oldest first: its own and the content of that one's history file.
struct TimelineChain: Hashable, Sendable {
    struct Piece: Hashable, Sendable {
        var timeline: Timeline
        var begin: LSN
        /// Where the next one left it; nil: the newest goes on.
        var end: LSN?
    }

    /// All but the newest.
    private(set) var past: [Piece] = []
    private(set) var current: Piece

    var pieces: [Piece] { past + [current] }

    /// - Parameter history: of that timeline; nil: it has no history file, which is right for timeline 1 alone.
    /// - Returns: nil if the text is damaged.
    init?(timeline: Timeline, history: String?) {
        var begin = LSN(0)
        for line in (history ?? "").split(separator: "\n") {
            let text = line.trimmed()
            if text.isEmpty || text.hasPrefix("#") { continue }
            let fields = text.split(whereSeparator: { $0 == "\t" || $0 == " " })
            guard fields.count >= 2, let parent = Timeline(fields[0]), let end = LSN(fields[1]), end >= begin,
                parent > past.last?.timeline ?? 0, parent < timeline
            else { return nil }
            past.append(Piece(timeline: parent, begin: begin, end: end))
            begin = end
        }
        guard !past.isEmpty || timeline == 1 else { return nil }
        current = Piece(timeline: timeline, begin: begin, end: nil)
    }

    /// The last timeline that both have with the same number and the same beginning: what their history files can tell, and no
    /// proof, since two promotions can write the same file (`protocol.md` 9).
    func lastCommon(with other: TimelineChain) -> (own: Piece, other: Piece)? {
        Array(zip(pieces, other.pieces).prefix { $0.timeline == $1.timeline && $0.begin == $1.begin }).last
            .map { (own: $0.0, other: $0.1) }
    }

    /// Where the first of both left the last timeline in common; nil: both are on it, or none is.
    func fork(with other: TimelineChain) -> LSN? {
        lastCommon(with: other).flatMap { [$0.own.end, $0.other.end].compactMap { $0 }.min() }
    }

    /// The timelines whose file may hold the segment, newest first: the first segment of a timeline has the end of the one before in it.
    func timelines(ofSegmentAt start: LSN, size: Int) -> [Timeline] {
        pieces.reversed().filter { $0.begin.bytes < start.bytes + UInt64(size) }.map(\.timeline)
    }

    static func fileName(_ timeline: Timeline) -> String {
        let digits = String(timeline, radix: 16, uppercase: true)
        return String(repeating: "0", count: 8 - digits.count) + digits + ".history"
    }

    /// nil: there is no such file, or it is damaged.
    static func read(_ timeline: Timeline, walDirectory: String) throws(PostgresError) -> TimelineChain? {
        let path = walDirectory + "/" + fileName(timeline)
        let bytes = try SetupTool.perform("read \(path)", meaning: "Nothing was changed.") { () throws(SystemError) in
            try DurableFile.read(path)
        }
        if bytes == nil, timeline != 1 { return nil }
        return TimelineChain(timeline: timeline, history: bytes.map { String(decoding: $0, as: UTF8.self) })
    }
}
