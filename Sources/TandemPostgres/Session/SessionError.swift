/// How a session ended or was refused. What matters most: whether the SERVER has said something, since any answer of it
/// proves that it lives (`protocol.md` 8).
public enum SessionError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The server answered, with this SQLSTATE ("" if it only asked for a password that we do not have). It lives.
    case refused(sqlstate: String, message: String)
    /// The server answered that it takes no sessions now (57P03): start-up, recovery, shutdown.
    case startingUp(String)
    /// No connection came about: no socket, nobody listens.
    case unreachable(String)
    /// Nothing was heard within the deadline. The connection is finished; the server may still do what it was asked.
    case timedOut(String)
    /// An open connection broke: whether the statement took effect is unknown.
    case lost(String)

    /// The server itself has said something.
    public var isAnswer: Bool {
        switch self {
        case .refused, .startingUp: true
        case .unreachable, .timedOut, .lost: false
        }
    }

    public var sqlstate: String? {
        switch self {
        case .refused(let state, _): state
        case .startingUp: "57P03"
        case .unreachable, .timedOut, .lost: nil
        }
    }

    public var description: String {
        switch self {
        case .refused(let state, let message): state.isEmpty ? "\(message)." : "\(message) (SQLSTATE \(state))."
        case .startingUp(let message): "\(message) (SQLSTATE 57P03)."
        case .unreachable(let message): "no connection: \(message)."
        case .timedOut(let what): "no answer in time: \(what)."
        case .lost(let message): "the connection broke: \(message)."
        }
    }
}

/// The result of a statement, in PostgreSQL's text form.
public struct Rows: Sendable {
    public var columns: [String]
    public var rows: [[String?]]

    public init(columns: [String] = [], rows: [[String?]] = []) {
        self.columns = columns
        self.rows = rows
    }

    public var isEmpty: Bool { rows.isEmpty }

    /// The first value of the first row; nil if there is none, or it is NULL.
    public var value: String? { rows.first?.first ?? nil }

    /// PostgreSQL's `t`.
    public var isTrue: Bool { value == "t" }
}
