/// What came of an external program.
public struct ToolResult: Sendable {
    public enum Ending: Equatable, Sendable {
        case exited(Int32)
        case signalled(Int32)
        /// The deadline passed; its process group was ended (TERM, then KILL).
        case timedOut
        /// Somebody rang for its end (`Tool.run`); its process group was ended in the same way.
        case interrupted
    }

    public var ending: Ending
    /// Standard output; of a longer one the last `outputLimit` bytes.
    public var output: String
    /// Standard error, bounded alike.
    public var errors: String
    public var duration: Duration

    public init(ending: Ending, output: String, errors: String, duration: Duration) {
        self.ending = ending
        self.output = output
        self.errors = errors
        self.duration = duration
    }

    /// True after exit status 0 within the deadline, never otherwise.
    public var succeeded: Bool { ending == .exited(0) }
}
