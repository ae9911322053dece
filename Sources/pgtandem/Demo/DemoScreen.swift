import Synchronization
import TandemSystem

/// Lines that stay, and below them, on a terminal, a live view that is drawn again and again.
final class DemoScreen: Sendable {
    let isLive: Bool
    private let drawn = Mutex<Int>(0)
    private let began = SystemClock.now()
    private let interrupted = Mutex<Bool>(false)

    init(isLive: Bool) { self.isLive = isLive }

    /// A line that stays.
    func say(_ text: String) {
        drawn.withLock { count in
            erase(&count)
            Terminal.write(1, isLive || text.isEmpty ? text + "\n" : "[\(time())] \(text)\n")
        }
    }

    /// What is so now; replaced by the next one.
    func draw(_ lines: [String]) {
        guard isLive else { return }
        drawn.withLock { count in
            erase(&count)
            Terminal.write(1, "\u{1B}[?25l" + lines.joined(separator: "\n") + "\n")
            count = lines.count
        }
    }

    /// Ctrl-C or the like: what fails from now on fails because of it, and is not said.
    func interrupt() {
        restore()
        if !interrupted.withLock({ was in
            defer { was = true }
            return was
        }) {
            Terminal.write(1, "\ninterrupted: both hosts and all that belongs to them are being removed\n")
        }
    }

    var isInterrupted: Bool { interrupted.withLock { $0 } }

    /// The cursor comes back.
    func restore() {
        guard isLive else { return }
        Terminal.write(1, "\u{1B}[?25h")
    }

    private func erase(_ count: inout Int) {
        if count > 0 { Terminal.write(1, "\u{1B}[\(count)A\u{1B}[J") }
        count = 0
    }

    private func time() -> String {
        let ms = (SystemClock.now() - began) / 1_000_000
        let digits = String(ms % 1000 / 100)
        let seconds = String(ms / 1000)
        return String(repeating: " ", count: max(0, 3 - seconds.count)) + seconds + "." + digits
    }
}
