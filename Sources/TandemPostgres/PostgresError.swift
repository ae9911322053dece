import TandemSystem

/// What this module could not do: four texts, each for a person. No secret is ever in them.
public struct PostgresError: Error, Sendable, CustomStringConvertible {
    /// What was attempted and on what.
    public var attempted: String
    /// What happened instead: the words of PostgreSQL or of the kernel.
    public var happened: String
    /// What that means for the pair.
    public var meaning: String
    /// One imperative sentence.
    public var advice: String

    public init(attempted: String, happened: String, meaning: String, advice: String) {
        self.attempted = attempted
        self.happened = happened
        self.meaning = meaning
        self.advice = advice
    }

    public var description: String { "Could not \(attempted): \(happened) \(meaning) \(advice)" }
}

extension PostgresError {
    init(_ attempted: String, _ error: SystemError, meaning: String, advice: String? = nil) {
        self.init(
            attempted: attempted, happened: error.description, meaning: meaning,
            advice: advice ?? "Put right what the message names, and repeat the command.")
    }

    init(_ attempted: String, _ error: SessionError, meaning: String, advice: String? = nil) {
        self.init(
            attempted: attempted, happened: error.description, meaning: meaning,
            advice: advice ?? "Look into PostgreSQL's log for the same moment.")
    }

    /// After an external program that did not succeed; its last words are what happened.
    init(_ attempted: String, _ result: ToolResult, meaning: String, advice: String) {
        let words = (result.errors.isEmpty ? result.output : result.errors).lastLines(6)
        self.init(attempted: attempted, happened: "\(result.ending.text): \(words)", meaning: meaning, advice: advice)
    }
}

extension ToolResult.Ending {
    var text: String {
        switch self {
        case .exited(let status): "it ended with status \(status)"
        case .signalled(let signal): "it was ended by signal \(signal)"
        case .timedOut: "it was not done in time"
        case .interrupted: "it was ended, as this agent is told to stop"
        }
    }
}

extension String {
    /// The last lines that are not empty, joined for one line of a message.
    func lastLines(_ count: Int) -> String {
        split(separator: "\n", omittingEmptySubsequences: true).suffix(count)
            .map { $0.trimmed() }.joined(separator: " | ")
    }
}

extension StringProtocol {
    /// Without spaces, tabs and line ends at both ends.
    func trimmed() -> String {
        let blanks: Set<Character> = [" ", "\t", "\n", "\r", "\r\n"]
        guard let first = firstIndex(where: { !blanks.contains($0) }), let last = lastIndex(where: { !blanks.contains($0) })
        else { return "" }
        return String(self[first...last])
    }
}
