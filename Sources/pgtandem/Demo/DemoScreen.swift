import Glibc
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
            // A line that the terminal breaks would be two, and the next drawing would not erase them all.
            let width = Self.width()
            Terminal.write(1, "\u{1B}[?25l" + lines.map { Self.clipped($0, to: width) }.joined(separator: "\n") + "\n")
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
            Terminal.write(1, "\ninterrupted: the hosts and all that belongs to them are being removed\n")
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

    private static func width() -> Int {
        var size = winsize()
        return ioctl(1, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    /// Sequences that change the looks take no place, and stay.
    private static func clipped(_ line: String, to width: Int) -> String {
        var (text, room, isSequence) = ("", width, false)
        for character in line {
            if character == "\u{1B}" { isSequence = true }
            if isSequence || room > 0 { text.append(character) }
            if !isSequence { room -= 1 }
            if character == "m" { isSequence = false }
        }
        return text
    }

    private func time() -> String {
        let ms = (SystemClock.now() - began) / 1_000_000
        let digits = String(ms % 1000 / 100)
        let seconds = String(ms / 1000)
        return String(repeating: " ", count: max(0, 3 - seconds.count)) + seconds + "." + digits
    }
}
