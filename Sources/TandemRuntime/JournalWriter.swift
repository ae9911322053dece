import Logging
import TandemCore
import TandemSystem

/// One event on its way to the disk.
struct JournalEntry: Sendable {
    var event: Event
    var moment: Moment
    /// Milliseconds since 1970, for display only.
    var wall: Int64
    var effects: [Effect]
    /// So many events before this one found no place in the queue.
    var lostBefore = 0
    private let kept: Kept

    /// The core as it was before: any entry may have to begin a file.
    var before: Node { kept.node }

    init(event: Event, moment: Moment, wall: Int64, before: Node, effects: [Effect]) {
        self.event = event
        self.moment = moment
        self.wall = wall
        self.effects = effects
        kept = Kept(before)
    }

    /// Five kilobytes full of references, which are copied once and not at each step of the way.
    private final class Kept: Sendable {
        let node: Node
        init(_ node: Node) { self.node = node }
    }
}

/// Puts entries into the journal's files, on the journal's own thread. What cannot be written is counted, and the next line that can be
/// says so; the agent goes on either way.
struct JournalWriter {
    let folder: String
    let program: String
    /// The bound of each of the two files.
    let limitBytes: Int
    /// Between two attempts at a disk that refuses.
    let retry: Duration
    let log: Logger

    private var file: JournalFile?
    private var memory = JournalMemory()
    private var lost = 0
    private var notBefore: Int64 = 0
    private var hasWarned = false
    private var hasResumed = false

    init(folder: String, program: String, limitBytes: Int, retry: Duration, log: Logger) {
        self.folder = folder
        self.program = program
        self.limitBytes = limitBytes
        self.retry = retry
        self.log = log
    }

    mutating func write(_ entry: JournalEntry) {
        lost += entry.lostBefore
        guard SystemClock.now() >= notBefore else {
            lost += 1
            return
        }
        do {
            try append(entry)
            if lost > 0 {
                tell(.info, "the journal is written again; events are missing in it", ["lost": "\(lost)"], &hasResumed)
            }
            lost = 0
        } catch {
            file = nil
            lost += 1
            notBefore = SystemClock.after(retry)
            tell(
                .warning,
                "the journal cannot be written, so `pgtandem replay` will lack what happens meanwhile; nothing else depends on it",
                ["reason": "\(error)", "folder": "\(folder)"], &hasWarned)
        }
    }

    /// Once: a disk that is full says so in many places, and the agent does not need the journal.
    private func tell(_ level: Logger.Level, _ text: Logger.Message, _ facts: Logger.Metadata, _ isTold: inout Bool) {
        log.log(level: isTold ? .debug : level, text, metadata: facts)
        isTold = true
    }

    private mutating func append(_ entry: JournalEntry) throws {
        let words = entry.effects.map(\.word)
        let event = JournalEvent(event: entry.event, moment: entry.moment, wall: entry.wall, effects: words)
        var file: JournalFile
        var lines: [UInt8]
        if let open = self.file, lost == 0 {
            file = open
            lines = try event.line(&memory)
        } else {
            file = try self.file ?? JournalFile.open(folder)
            lines = try beginning(entry, event)
        }
        if file.isForeign || file.sizeBytes > 0 && file.sizeBytes + lines.count > limitBytes {
            lines = try beginning(entry, event)
            try file.begin(with: lines)
        } else {
            try file.append(lines)
        }
        self.file = file
    }

    private mutating func beginning(_ entry: JournalEntry, _ event: JournalEvent) throws -> [UInt8] {
        memory = JournalMemory()
        let header = JournalHeader(
            journal: JournalFormat.number, lost: lost > 0 ? lost : nil, node: entry.before, program: program, wall: entry.wall)
        return try header.line() + event.line(&memory)
    }
}
