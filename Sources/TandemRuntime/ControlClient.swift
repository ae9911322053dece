import TandemSystem
import TandemWire

/// A command's side of the control socket.
public struct ControlClient {
    private let path: String
    public init(path: String) { self.path = path }

    /// Sends one request; progress goes to the closure, the last answer is returned.
    public func ask(_ request: ControlRequest, patience: Duration = .seconds(130), progress: (String) -> Void = { _ in }) throws
        -> ControlAnswer
    {
        let connection = try UnixSocket.connect(path)
        try UnixSocket.write(try JSON.encode(request) + [UInt8(ascii: "\n")], to: connection, patience: .seconds(5))
        while let line = try UnixSocket.readLine(connection, limit: 1 << 20, patience: patience) {
            let answer = try JSON.decode(ControlAnswer.self, from: line)
            if answer.isLast { return answer }
            if let text = answer.progress { progress(text) }
        }
        throw UnixSocketError(
            text: "the agent ended the connection without an answer: look at its log (`journalctl -u pgtandem`)")
    }
}
