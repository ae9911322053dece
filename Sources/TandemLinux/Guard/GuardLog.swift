import CLinux
import Glibc
import Synchronization
import TandemSystem

/// Lines on standard error, written by a thread of their own: whoever reads them (a pipe that nobody empties) holds up no act.
final class GuardLog: Sendable {
    private let lines = Mutex<[String]>([])
    private let added: Bell
    private let written: Bell

    init() throws(SystemError) {
        added = try Bell()
        written = try Bell()
        // Lives as long as the process.
        try OwnThread.start("guard log", stackBytes: GuardProcess.stackBytes) { self.run() }
    }

    func say(_ text: String) {
        // More than that are of no use to anybody.
        lines.withLock { if $0.count < 100 { $0.append("pgtandem guard: \(text)\n") } }
        added.ring()
    }

    /// Before an end: waits a moment for a reader.
    func flush() {
        added.ring()
        _ = written.wait(upTo: .milliseconds(200))
    }

    private func run() {
        // Not for the sake of its lines: our end is seen when our last thread has ended, which on a busy host would take this one long.
        _ = RealTime.raise(priority: 1)
        while added.wait() {
            added.clear()
            written.clear()
            while let line = lines.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
                Array(line.utf8).withUnsafeBytes { _ = cl_write_quietly(2, $0.baseAddress, $0.count) }
            }
            written.ring()
        }
    }
}
