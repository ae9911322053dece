import Glibc

/// A system call that was refused: what was attempted, on what, what the kernel said, and what a person can do.
public struct SystemError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What was attempted and on what, as "write /var/lib/pgtandem/ledger".
    public var attempted: String
    /// The kernel's errno.
    public var code: Int32
    /// One imperative sentence, where we know one.
    public var advice: String?

    public init(attempted: String, code: Int32, advice: String? = nil) {
        self.attempted = attempted
        self.code = code
        self.advice = advice
    }

    /// The error that errno tells about just now. Call it right after the failed call, before anything else.
    public static func last(_ attempted: @autoclosure () -> String, advice: String? = nil) -> SystemError {
        let code = errno
        return SystemError(attempted: attempted(), code: code, advice: advice)
    }

    /// The kernel's words for `code`.
    public var reason: String {
        var text = [CChar](repeating: 0, count: 256)
        guard strerror_r(code, &text, text.count) == 0 else { return "unknown error" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    public var description: String {
        let told = "\(attempted) failed: \(reason) (\(code))."
        guard let advice else { return told }
        return "\(told) \(advice)"
    }
}
