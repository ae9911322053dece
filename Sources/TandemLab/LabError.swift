import TandemSystem

/// What the lab could not do: what was attempted and on what, what happened, and what a person can do.
public struct LabError: Error, Sendable, CustomStringConvertible {
    public var attempted: String
    public var happened: String
    /// One imperative sentence, where we know one.
    public var advice: String?

    public init(attempted: String, happened: String, advice: String? = nil) {
        self.attempted = attempted
        self.happened = happened
        self.advice = advice
    }

    init(_ error: SystemError) {
        self.init(attempted: error.attempted, happened: error.reason, advice: error.advice)
    }

    public var description: String {
        let told = "Could not \(attempted): \(happened)."
        guard let advice else { return told }
        return "\(told) \(advice)"
    }
}

/// Turns the system's errors into the lab's, so that callers meet one type.
func asLabError<Value>(_ body: () throws(SystemError) -> Value) throws(LabError) -> Value {
    do throws(SystemError) {
        return try body()
    } catch {
        throw LabError(error)
    }
}
