import Glibc

/// What commands write to a person.
enum Terminal {
    static func complain(_ text: String) { write(2, text + "\n") }

    static func say(_ text: String) { write(1, text + "\n") }

    /// Straight to the descriptor: the order of both streams is kept, and nothing waits in a buffer when the process ends.
    static func write(_ descriptor: Int32, _ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count <= 0 {
                if count < 0, errno == EINTR || errno == EAGAIN { continue }
                return
            }
            bytes = bytes.dropFirst(count)
        }
    }

    static var isInteractive: Bool { isatty(1) == 1 }

    static func bold(_ text: String) -> String { isInteractive ? "\u{1B}[1m\(text)\u{1B}[0m" : text }
    static func dim(_ text: String) -> String { isInteractive ? "\u{1B}[2m\(text)\u{1B}[0m" : text }
}
