import Glibc
import Logging
import Synchronization
import TandemCore
import TandemSystem
import TandemWire

/// The history on disk: `history.jsonl` in the state directory, one entry a line, fsynced; when it is full it becomes `history.old.jsonl`.
/// Written in a thread of its own: no change of roles waits for it. An entry that cannot be written is told in the log.
public final class HistoryFile: Sendable {
    private let folder: String
    private let lane = Lane(name: "history")
    private let log: Logger
    /// Some thousand changes; two files are kept.
    static let limit = 4 << 20

    public init(stateDirectory: String, log: Logger) {
        folder = stateDirectory
        self.log = log
    }

    public func add(_ entry: HistoryEntry) {
        lane.submit { [self] in
            do { try append(try JSON.encode(entry) + [UInt8(ascii: "\n")]) } catch {
                log.warning(
                    "a change of roles is missing in the history", metadata: ["reason": "\(error)", "entry": "\(entry.why)"])
            }
        }
    }

    /// For `pgtandem history` on the other host: behind what is on its way to the disk. A file that cannot be read is told there.
    func answer(_ request: HistoryRequestDocument, as node: String, _ reply: @escaping @Sendable ([UInt8]) -> Void) {
        lane.submit { [self] in
            var answer = HistoryAnswerDocument(node: node)
            do {
                let found = try Self.read(stateDirectory: folder)
                answer.damaged = found.damaged
                try answer.fill(with: found.entries.suffix(request.last ?? .max))
            } catch {
                answer.problem = "\(error)"
            }
            do { reply(try JSON.encode(answer)) } catch {
                log.warning("the history could not be sent", metadata: ["reason": "\(error)"])
            }
        }
    }

    /// Returns when everything is written.
    public func close() { lane.stop() }

    private static func current(_ folder: String) -> String { folder + "/history.jsonl" }
    private static func old(_ folder: String) -> String { folder + "/history.old.jsonl" }

    private func append(_ line: [UInt8]) throws(SystemError) {
        let path = Self.current(folder)
        let number = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else { throw SystemError.last("open \(path)") }
        let file = Descriptor(number)
        var facts = stat()
        guard fstat(file.number, &facts) == 0 else { throw SystemError.last("look at \(path)") }
        // A line that a power loss tore is ended, so that it spoils no other.
        let bytes = facts.st_size > 0 ? [UInt8(ascii: "\n")] + line : line
        guard write(file.number, bytes, bytes.count) == bytes.count else { throw SystemError.last("write \(path)") }
        guard fsync(file.number) == 0 else { throw SystemError.last("fsync \(path)") }
        if facts.st_size == 0 { try DurableFile.syncFolder(of: path) }
        guard Int(facts.st_size) > Self.limit else { return }
        guard rename(path, Self.old(folder)) == 0 else { throw SystemError.last("rename \(path)") }
    }

    /// What is there, oldest first, and how many lines could not be read.
    public static func read(stateDirectory folder: String) throws(SystemError) -> (entries: [HistoryEntry], damaged: Int) {
        var entries: [HistoryEntry] = []
        var damaged = 0
        for path in [old(folder), current(folder)] {
            guard let bytes = try DurableFile.read(path, limit: limit * 2) else { continue }
            for line in bytes.split(separator: UInt8(ascii: "\n")) {
                do throws(WireError) { entries.append(try JSON.decode(HistoryEntry.self, from: line)) } catch { damaged += 1 }
            }
        }
        return (entries, damaged)
    }
}

/// The agent's side: the book, and the file behind it.
public final class HistoryKeeper: Sendable {
    private let book = Mutex(HistoryBook())
    private let file: HistoryFile

    public init(_ file: HistoryFile) { self.file = file }

    /// On the agent's thread.
    func observe(_ before: Node, _ after: Node, _ effects: [Effect], at now: Instant) {
        let entry = book.withLock { $0.observe(before, after, effects, at: now) { WallTime.text(.now) } }
        if let entry { file.add(entry) }
    }

    func close() { file.close() }
}

/// The time of the day in UTC, for people: `2026-11-26T05:57:31.042Z`. Nothing is decided by it.
public enum WallTime {
    public struct Point: Sendable {
        public var seconds: Int
        public var milliseconds: Int
        public static var now: Point {
            var time = timespec()
            clock_gettime(CLOCK_REALTIME, &time)
            return Point(seconds: time.tv_sec, milliseconds: time.tv_nsec / 1_000_000)
        }
    }

    public static func text(_ point: Point) -> String {
        var seconds = point.seconds
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func digits(_ number: Int, _ count: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        let date = "\(digits(Int(parts.tm_year) + 1900, 4))-\(digits(Int(parts.tm_mon) + 1, 2))-\(digits(Int(parts.tm_mday), 2))"
        let time = "\(digits(Int(parts.tm_hour), 2)):\(digits(Int(parts.tm_min), 2)):\(digits(Int(parts.tm_sec), 2))"
        return "\(date)T\(time).\(digits(point.milliseconds, 3))Z"
    }

    /// Minutes since midnight by this host's local time.
    public static func minuteOfDay(_ point: Point) -> Int {
        var seconds = point.seconds
        var parts = tm()
        localtime_r(&seconds, &parts)
        return Int(parts.tm_hour) * 60 + Int(parts.tm_min)
    }
}
