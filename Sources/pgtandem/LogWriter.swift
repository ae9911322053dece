import Glibc
import Synchronization
import TandemSystem

/// Lines on their way to standard error. A reader that stands still (a journal whose disk hangs, a stopped pager) must not stop the thread
/// that sends heartbeats: lines wait in a bounded queue, and what finds no place in it is counted.
final class LogWriter: Sendable {
    private struct Queue {
        var lines: [String] = []
        var lost = 0
        /// Handed to the kernel, and not yet taken.
        var isWriting = false
    }

    private let queue = Mutex(Queue())
    private let arrived: Bell
    private let capacity: Int
    private let write: @Sendable (String) -> Void

    /// - Parameter write: may block for as long as it likes.
    init(capacity: Int = 4096, write: @escaping @Sendable (String) -> Void) throws(SystemError) {
        self.capacity = capacity
        self.write = write
        arrived = try Bell()
        try OwnThread.start("log") { self.run() }
    }

    func add(_ line: String) {
        queue.withLock { queue in
            if queue.lines.count < capacity { queue.lines.append(line) } else { queue.lost += 1 }
        }
        arrived.ring()
    }

    /// True if everything was taken within the time.
    @discardableResult
    func flush(within patience: Duration) -> Bool {
        SystemClock.wait(upTo: patience) { queue.withLock { $0.lines.isEmpty && !$0.isWriting } }
    }

    private func run() {
        while true {
            arrived.wait()
            arrived.clear()
            while let text = next() { write(text) }
        }
    }

    private func next() -> String? {
        queue.withLock { queue in
            queue.isWriting = false
            guard !queue.lines.isEmpty else { return nil }
            var text = queue.lines.joined()
            queue.lines = []
            if queue.lost > 0 { text += "\(queue.lost) lines of this log were lost here: whoever reads it stood still\n" }
            queue.lost = 0
            queue.isWriting = true
            return text
        }
    }
}
