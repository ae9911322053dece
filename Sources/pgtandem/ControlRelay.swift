import TandemRuntime
import TandemWire

/// Sends a command to the agent, shows progress, and turns a refusal into a failure with its reasons.
struct ControlRelay {
    private let socket: String
    init(_ socket: String) { self.socket = socket }

    /// `what`: the command's name. `meaning`: what a refusal means; it stands before the reasons. `advice`: what to do, for those reasons; it stands behind.
    func run(
        _ request: ControlRequest, what: String, meaning: String = "nothing was changed",
        advice: ([NoteDocument]) -> String? = { _ in nil }
    ) throws -> String {
        let answer: ControlAnswer
        do {
            answer = try ControlClient(path: socket).ask(request) { Terminal.say($0) }
        } catch let error as UnixSocketError {
            throw CommandFailure.unreachable("\(error)")
        }
        if let done = answer.done { return done }
        let reasons = (answer.reasons ?? []).map { "  - \($0.text)  [\($0.code)]" }
        let lines = ["\(what) refused, \(meaning):"] + reasons + (advice(answer.reasons ?? []).map { [$0] } ?? [])
        throw CommandFailure.failed(lines.joined(separator: "\n"))
    }
}
