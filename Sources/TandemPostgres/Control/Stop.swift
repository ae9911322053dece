import Glibc
import TandemCore
import TandemSystem

extension Instance {
    public enum StopMode: Hashable, Sendable {
        /// Sessions end, a shutdown checkpoint is written and sent to the standby.
        case fast
        /// Every process ends at once, without a checkpoint.
        case immediate
    }

    public struct EndResult: Hashable, Sendable {
        public var duration: Duration
        /// Processes that even SIGKILL did not end in time: they hang in the kernel (state D). Not empty means NOT stopped.
        public var survivors: [Int32]
        public var isComplete: Bool { survivors.isEmpty }
    }

    /// Stops the server and waits until NO process of the data directory is left: the postmaster's death alone is not an
    /// end, a busy backend can acknowledge a commit seconds later (`protocol.md` 9).
    /// - Throws: at the deadline, naming who is left; the order stands, and `endAll` can follow.
    @discardableResult
    public func stop(_ mode: StopMode, deadline: Duration) throws(PostgresError) -> Duration {
        let begun = SystemClock.now()
        let end = Deadline(deadline)
        release()
        var signalled: Postmaster?
        while true {
            let left = processes.all()
            if left.isEmpty { return .nanoseconds(SystemClock.now() - begun) }
            if let found = try postmaster() ?? processes.lastKnown(), found != signalled {
                _ = ProcessTable.signal(found.pid, mode == .fast ? SIGINT : SIGQUIT)
                signalled = found
            }
            if end.isOver {
                throw PostgresError(
                    attempted: "stop PostgreSQL in \(settings.dataDirectory) (\(mode))",
                    happened: "After \(deadline.components.seconds) s these processes are left: \(left.listed).",
                    meaning: signalled == nil
                        ? "Their postmaster is gone; they may still acknowledge commits."
                        : "The server is still stopping and may still acknowledge commits.",
                    advice: "Wait longer, or end every process of the data directory.")
            }
            _ = SystemClock.wait(upTo: .milliseconds(2)) { false }
        }
    }

    /// Ends every process of the data directory with SIGKILL, the postmaster first, so that it forks no more; looks again
    /// until none is left. Needs neither the disk nor the server's help, except that the directory's path was resolved
    /// when this object was made.
    public func endAll(deadline: Duration) -> EndResult {
        let begun = SystemClock.now()
        let end = Deadline(deadline)
        release()
        while true {
            let left = processes.all()
            if left.isEmpty { return EndResult(duration: .nanoseconds(SystemClock.now() - begun), survivors: []) }
            // A postmaster is the parent of the others; a new one that appears between two looks is met in the next.
            for pid in left.sorted(by: { rank($0, left) < rank($1, left) }) { _ = ProcessTable.signal(pid, SIGKILL) }
            if end.isOver { return EndResult(duration: .nanoseconds(SystemClock.now() - begun), survivors: processes.all()) }
            _ = SystemClock.wait(upTo: .milliseconds(1)) { false }
        }
    }

    /// 0 for a process whose parent is none of the directory's: the postmaster (or an orphan).
    private func rank(_ pid: Int32, _ all: [Int32]) -> Int {
        guard let parent = ProcessParent.of(pid) else { return 1 }
        return all.contains(parent) ? 1 : 0
    }
}

extension [Int32] {
    var listed: String { map { String($0) }.joined(separator: ", ") }
}

/// Whose child a process is.
enum ProcessParent {
    static func of(_ pid: Int32) -> Int32? {
        do throws(SystemError) {
            guard let bytes = try DurableFile.read("/proc/\(pid)/stat", limit: 65536),
                let parenthesis = bytes.lastIndex(of: UInt8(ascii: ")"))
            else { return nil }
            let fields = String(decoding: bytes[(parenthesis + 1)...], as: UTF8.self).split(separator: " ")
            return fields.count > 1 ? Int32(fields[1]) : nil
        } catch {
            // It ended between two looks: whose child it was does not matter any more.
            return nil
        }
    }
}
