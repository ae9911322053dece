import TandemCore
import TandemSystem

/// Reading or writing the write-ahead log of an instance from outside failed.
public struct WALError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What was attempted, and on what.
    public var attempted: String
    /// What happened instead.
    public var happened: String
    /// One imperative sentence.
    public var advice: String

    public init(attempted: String, happened: String, advice: String) {
        self.attempted = attempted
        self.happened = happened
        self.advice = advice
    }

    public var description: String { "Could not \(attempted): \(happened). \(advice)" }

    /// Of a system call that failed just now: call it before anything else touches errno.
    static func last(_ attempted: String, advice: String? = nil) -> WALError {
        let error = SystemError.last(attempted)
        return WALError(
            attempted: attempted, happened: "\(error.reason) (\(error.code))",
            advice: advice ?? "Look at the kernel's log and at the file system of this path.")
    }
}
