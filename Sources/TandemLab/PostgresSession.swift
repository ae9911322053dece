import Clibpq
import Glibc
import TandemSystem

/// How a statement, or a connection, failed, as far as a client can know.
struct SessionFailure: Error {
    enum Kind {
        /// The server took the statement and rejected it: nothing of it was committed.
        case refused
        /// Nothing reached a server: nothing was committed.
        case notSent
        /// It was sent, and what became of it is unknown.
        case uncertain
    }

    var kind: Kind
    /// SQLSTATE, or a word of ours: `deadline`, `connection`, `warning`.
    var code: String
    var text: String
}

/// One connection through libpq, used by one thread; every call has a deadline.
final class PostgresSession {
    private let connection: OpaquePointer
    /// SQLSTATE of the last warning of the running statement.
    private var warning: String?

    /// For the login at a server that has been reached: it may be busy, and coming again would make it busier.
    private static let loginPatience = Duration.seconds(1)

    /// - Parameters:
    ///   - parameters: libpq's; a host is given as `hostaddr`, so that no name is resolved.
    ///   - deadline: until a server is reached.
    init(_ parameters: [(String, String)], deadline: Duration) throws(SessionFailure) {
        var end = SystemClock.now() + deadline.nanoseconds
        var isReached = false
        let started = SpawnOrder.withCStrings(parameters.map(\.0)) { names in
            SpawnOrder.withCStrings(parameters.map(\.1)) { values in
                UnsafeRawPointer(names).withMemoryRebound(to: UnsafePointer<CChar>?.self, capacity: parameters.count + 1) {
                    names in
                    UnsafeRawPointer(values).withMemoryRebound(
                        to: UnsafePointer<CChar>?.self, capacity: parameters.count + 1
                    ) { PQconnectStartParams(names, $0, 0) }
                }
            }
        }
        guard let started else { throw SessionFailure(kind: .notSent, code: "memory", text: "out of memory") }
        connection = started
        var wish = PGRES_POLLING_WRITING
        while PQstatus(started) != CONNECTION_BAD {
            let writing = wish == PGRES_POLLING_WRITING
            guard PostgresSession.ready(PQsocket(started), Int16(writing ? POLLOUT : POLLIN), until: end) else {
                throw SessionFailure(kind: .notSent, code: "deadline", text: "no connection within \(deadline)")
            }
            wish = PQconnectPoll(started)
            if !isReached, PQstatus(started) != CONNECTION_STARTED {
                isReached = true
                end += PostgresSession.loginPatience.nanoseconds
            }
            if wish == PGRES_POLLING_OK { break }
            if wish == PGRES_POLLING_FAILED { break }
        }
        guard PQstatus(started) == CONNECTION_OK, PQsetnonblocking(started, 1) == 0 else {
            throw SessionFailure(kind: .notSent, code: "connection", text: errorText())
        }
        PQsetNoticeReceiver(
            started,
            { context, result in
                guard let context, let result else { return }
                Unmanaged<PostgresSession>.fromOpaque(context).takeUnretainedValue().noticed(result)
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit { PQfinish(connection) }

    /// Runs one statement and waits until the server is ready again. Only then is it committed: in the stream, the word
    /// that a statement is complete may come before its commit.
    /// - Returns: rows of texts.
    func query(_ sql: String, deadline: Duration) throws(SessionFailure) -> [[String]] {
        let end = SystemClock.now() + deadline.nanoseconds
        warning = nil
        guard PQstatus(connection) == CONNECTION_OK else {
            throw SessionFailure(kind: .notSent, code: "connection", text: errorText())
        }
        guard PQsendQuery(connection, sql) == 1 else { throw lost() }
        while true {
            let left = PQflush(connection)
            if left == 0 { break }
            guard left > 0, PostgresSession.ready(PQsocket(connection), Int16(POLLOUT | POLLIN), until: end) else { throw lost() }
            guard PQconsumeInput(connection) == 1 else { throw lost() }
        }
        var rows: [[String]] = []
        var failure: SessionFailure?
        while let result = try nextResult(until: end) {
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK: rows += PostgresSession.rows(of: result)
            case PGRES_COMMAND_OK: break
            default: failure = failure ?? self.failure(of: result)
            }
        }
        if let failure { throw failure }
        // A sync wait that was cancelled ends like any commit, with a warning: committed here, perhaps not on the standby.
        if let warning {
            throw SessionFailure(kind: .uncertain, code: "warning", text: "the commit came with the warning \(warning)")
        }
        return rows
    }

    private func nextResult(until end: Int64) throws(SessionFailure) -> OpaquePointer? {
        while PQisBusy(connection) == 1 {
            guard PostgresSession.ready(PQsocket(connection), Int16(POLLIN), until: end) else {
                throw SessionFailure(kind: .uncertain, code: "deadline", text: "no answer within the deadline")
            }
            guard PQconsumeInput(connection) == 1 else { throw lost() }
        }
        return PQgetResult(connection)
    }

    private func failure(of result: OpaquePointer) -> SessionFailure {
        let code = field(result, "C")
        // FATAL and PANIC end the session, perhaps after the commit; without a severity it is libpq that complains.
        let refused = field(result, "V") == "ERROR"
        return SessionFailure(
            kind: refused ? .refused : .uncertain, code: code ?? "connection", text: field(result, "M") ?? errorText())
    }

    private func noticed(_ result: OpaquePointer) {
        guard field(result, "V") == "WARNING" else { return }
        warning = field(result, "C") ?? "without a code"
    }

    /// A field of a message, by the letter of the protocol (PostgreSQL manual, 55.8).
    private func field(_ result: OpaquePointer, _ letter: Unicode.Scalar) -> String? {
        PQresultErrorField(result, Int32(letter.value)).map { String(cString: $0) }
    }

    private func lost() -> SessionFailure { SessionFailure(kind: .uncertain, code: "connection", text: errorText()) }

    private func errorText() -> String {
        PQerrorMessage(connection).map { String(cString: $0).split(separator: "\n").first.map(String.init) ?? "" } ?? ""
    }

    private static func rows(of result: OpaquePointer) -> [[String]] {
        (0..<PQntuples(result)).map { row in
            (0..<PQnfields(result)).map { column in PQgetvalue(result, row, column).map { String(cString: $0) } ?? "" }
        }
    }

    private static func ready(_ socket: Int32, _ events: Int16, until end: Int64) -> Bool {
        var entry = pollfd(fd: socket, events: events, revents: 0)
        while true {
            let left = max(0, end - SystemClock.now())
            let count = poll(&entry, 1, Int32((left + 999_999) / 1_000_000))
            if count > 0 { return true }
            if count == 0 || errno != EINTR { return false }
        }
    }
}
