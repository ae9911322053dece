import Glibc
import Synchronization
import TandemSystem

/// Takes what the client's threads saw, counts it, and appends it to the log from one thread.
final class LoadRecorder: Sendable {
    private struct State {
        var lines: [UInt8] = []
        var counters = LoadCounters()
        var lastComplaint: [String: (text: String, at: Int64)] = [:]
        var generation: UInt64 = 0
    }

    private let state = Mutex(State())
    private let log: Descriptor
    private let live: Descriptor

    init(_ spec: LoadSpec) throws(LabError) {
        log = try LoadRecorder.open(spec.logPath, O_APPEND)
        live = try LoadRecorder.open(spec.livePath, 0)
    }

    func add(_ entry: ClientEntry) {
        let line = Array("\(entry.line)\n".utf8)
        state.withLock { state in
            state.lines += line
            state.counters.count(entry)
        }
    }

    /// The same words again within a second are only counted.
    func complain(_ who: String, kind: String, text: String) {
        let now = SystemClock.now()
        let told = "\(kind) \(text)"
        state.withLock { state in
            state.counters.countComplaint(who)
            if let last = state.lastComplaint[who], last.text == told, now - last.at < 1_000_000_000 { return }
            state.lastComplaint[who] = (told, now)
            state.lines += Array("\(ClientEntry.error(who: who, at: now, kind: kind, text: text).line)\n".utf8)
        }
    }

    /// To the files; called by one thread.
    func flush() throws(LabError) {
        let (lines, counters) = state.withLock { state in
            state.generation += 1
            defer { state.lines.removeAll(keepingCapacity: true) }
            return (state.lines, state.counters.line(generation: state.generation))
        }
        var done = 0
        while done < lines.count {
            let count = lines[done...].withUnsafeBytes { write(log.number, $0.baseAddress, $0.count) }
            guard count > 0 || errno == EINTR else { throw LabError(SystemError.last("write the client's log")) }
            done += max(0, count)
        }
        guard pwrite(live.number, counters, counters.count, 0) == counters.count else {
            throw LabError(SystemError.last("write the client's counters"))
        }
    }

    private static func open(_ path: String, _ flags: Int32) throws(LabError) -> Descriptor {
        let number = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0o644)
        guard number >= 0 else { throw LabError(SystemError.last("open \(path)")) }
        return Descriptor(number)
    }
}

extension LoadCounters {
    fileprivate mutating func count(_ entry: ClientEntry) {
        switch entry {
        case .acknowledged(let commit):
            acknowledged += 1
            lastAcknowledgement = max(lastAcknowledgement, commit.acknowledged)
            writeNode = commit.node
        case .uncertain: uncertain += 1
        case .refused: refused += 1
        case .read(let read):
            reads += 1
            lastRead = max(lastRead, read.answered)
            readNode = read.node
        case .error: break
        }
    }

    fileprivate mutating func countComplaint(_ who: String) {
        if who.hasPrefix("r") { failedReads += 1 } else { failedConnections += 1 }
    }
}
