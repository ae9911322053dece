import Clibpq
import Glibc
import TandemSystem

/// libpq's connection and what we know of it. Owned by one `Session`, used under its lock.
struct SessionLink {
    private var connection: OpaquePointer?
    var prepared: Set<String> = []
    let backend: Int32
    let postmaster: Int32?
    let version: Int

    var isOpen: Bool { connection != nil }

    init(_ target: SessionTarget, _ deadline: Deadline, _ interruption: Bell?) throws(SessionError) {
        let connection = try SessionLink.start(target)
        do throws(SessionError) {
            try SessionLink.establish(connection, deadline, interruption)
        } catch {
            PQfinish(connection)
            throw error
        }
        self.connection = connection
        backend = PQbackendPID(connection)
        postmaster = target.isLocal ? SessionLink.peer(of: PQsocket(connection)) : nil
        version = Int(PQserverVersion(connection))
        // A socket that never blocks: a full buffer must not hold the thread beyond its deadline.
        _ = PQsetnonblocking(connection, 1)
    }

    private static func start(_ target: SessionTarget) throws(SessionError) -> OpaquePointer {
        let words = target.keywords
        var keys: [UnsafePointer<CChar>?] = words.map { UnsafePointer(strdup($0.0)) }
        var values: [UnsafePointer<CChar>?] = words.map { UnsafePointer(strdup($0.1)) }
        defer { for text in keys + values { free(UnsafeMutablePointer(mutating: text)) } }
        keys.append(nil)
        values.append(nil)
        guard let connection = PQconnectStartParams(&keys, &values, 0) else {
            throw SessionError.unreachable("no memory for a connection")
        }
        // The SQLSTATE of a refused connection is told nowhere else than in the verbose form of its message.
        _ = PQsetErrorVerbosity(connection, PQERRORS_VERBOSE)
        // Else libpq writes notices to standard error.
        _ = PQsetNoticeProcessor(connection, { _, _ in }, nil)
        return connection
    }

    private static func establish(
        _ connection: OpaquePointer, _ deadline: Deadline, _ interruption: Bell?
    ) throws(SessionError) {
        guard PQstatus(connection) != CONNECTION_BAD else { throw SessionLink.failure(connection) }
        var wanted = Int16(POLLOUT)
        while true {
            try SessionLink.wait(PQsocket(connection), wanted, deadline, interruption, "the start of a session")
            switch PQconnectPoll(connection) {
            case PGRES_POLLING_OK: return
            case PGRES_POLLING_READING: wanted = Int16(POLLIN)
            case PGRES_POLLING_WRITING: wanted = Int16(POLLOUT)
            default: throw SessionLink.failure(connection)
            }
        }
    }

    /// A connection that was refused: did the server speak?
    private static func failure(_ connection: OpaquePointer) -> SessionError {
        let told = PQerrorMessage(connection).map { String(cString: $0) } ?? ""
        guard let (state, message) = ServerMessage.parse(verbose: told) else {
            let plain = told.lastLines(2)
            // It asked for a password: an answer, although libpq wrote the message.
            if PQconnectionNeedsPassword(connection) == 1 { return .refused(sqlstate: "", message: plain) }
            return .unreachable(plain)
        }
        return state == "57P03" ? .startingUp(message) : .refused(sqlstate: state, message: message)
    }

    private static func wait(
        _ socket: Int32, _ events: Int16, _ deadline: Deadline, _ interruption: Bell?, _ what: String
    ) throws(SessionError) {
        while true {
            // poll(2) ignores entries with a negative number.
            var entries = [
                pollfd(fd: socket, events: events, revents: 0),
                pollfd(fd: interruption?.number ?? -1, events: Int16(POLLIN), revents: 0),
            ]
            let count = poll(&entries, 2, deadline.milliseconds)
            if entries[1].revents != 0 { throw SessionError.lost("the postmaster ended") }
            if count > 0 { return }
            if deadline.isOver { throw SessionError.timedOut(what) }
            // Zero before the end, or EINTR: wait for what is left.
        }
    }

    /// Who listens at the other end: the kernel notes the process that called listen(2), the postmaster. Asked because
    /// another instance may answer at the same place.
    private static func peer(of socket: Int32) -> Int32? {
        // struct ucred: pid, uid, gid.
        var facts: [Int32] = [0, 0, 0]
        var size = socklen_t(12)
        guard getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &facts, &size) == 0, facts[0] > 0 else { return nil }
        return facts[0]
    }

    mutating func finish() {
        if let connection { PQfinish(connection) }
        connection = nil
    }

    private func open() throws(SessionError) -> OpaquePointer {
        guard let connection else { throw SessionError.lost("it was finished before") }
        return connection
    }

    mutating func send(_ sql: String, _ parameters: [String?]) throws(SessionError) {
        let connection = try open()
        let sent =
            parameters.isEmpty
            ? PQsendQuery(connection, sql)
            : SessionLink.withCStrings(parameters) {
                PQsendQueryParams(connection, sql, Int32(parameters.count), nil, $0, nil, nil, 0)
            }
        try check(sent)
    }

    mutating func sendPreparation(_ name: String, _ sql: String) throws(SessionError) {
        try check(PQsendPrepare(try open(), name, sql, 0, nil))
    }

    mutating func sendPrepared(_ name: String, _ parameters: [String?]) throws(SessionError) {
        let connection = try open()
        try check(
            SessionLink.withCStrings(parameters) {
                PQsendQueryPrepared(connection, name, Int32(parameters.count), $0, nil, nil, 0)
            })
    }

    private mutating func check(_ sent: Int32) throws(SessionError) {
        guard sent == 1 else {
            let message = PQerrorMessage(connection).map { String(cString: $0) } ?? ""
            finish()
            throw SessionError.lost(message.lastLines(2))
        }
        // What does not go out now goes out in `collect`; most statements go out here.
        _ = PQflush(connection)
    }

    mutating func isDone() throws(SessionError) -> Bool {
        let connection = try open()
        _ = PQflush(connection)
        guard PQconsumeInput(connection) == 1 else {
            let message = String(cString: PQerrorMessage(connection)).lastLines(2)
            // An error that the server sent before it closed is told by collect(); there is none here.
            if PQisBusy(connection) == 0 { return true }
            finish()
            throw SessionError.lost(message)
        }
        return PQisBusy(connection) == 0
    }

    mutating func collect(
        _ deadline: Deadline, _ interruption: Bell?, _ what: String
    ) throws(SessionError) -> Rows {
        do throws(SessionError) {
            return try results(try open(), deadline, interruption, what)
        } catch {
            // After a refused statement the connection goes on, unless the server said goodbye.
            if !error.isAnswer || PQstatus(connection) == CONNECTION_BAD { finish() }
            throw error
        }
    }

    private func results(
        _ connection: OpaquePointer, _ deadline: Deadline, _ interruption: Bell?, _ what: String
    ) throws(SessionError) -> Rows {
        var rows = Rows()
        var refusal: SessionError?
        while true {
            while true {
                let unsent = PQflush(connection) == 1
                if PQisBusy(connection) == 0 { break }
                let events = Int16(POLLIN) | (unsent ? Int16(POLLOUT) : 0)
                try SessionLink.wait(PQsocket(connection), events, deadline, interruption, what)
                if PQconsumeInput(connection) != 1, PQisBusy(connection) != 0 {
                    throw SessionError.lost(String(cString: PQerrorMessage(connection)).lastLines(2))
                }
            }
            guard let result = PQgetResult(connection) else { break }
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: rows = SessionLink.rows(result)
            default: refusal = SessionLink.refusal(result, refusal)
            }
            if PQstatus(connection) == CONNECTION_BAD { break }
        }
        if let refusal { throw refusal }
        guard PQstatus(connection) != CONNECTION_BAD else {
            throw SessionError.lost(String(cString: PQerrorMessage(connection)).lastLines(2))
        }
        return rows
    }

    /// A result without SQLSTATE was made by libpq, not by the server. The server's own word wins over it.
    private static func refusal(_ result: OpaquePointer, _ earlier: SessionError?) -> SessionError {
        let words = PQresultErrorField(result, Int32(UInt8(ascii: "M"))).map { String(cString: $0) }
        if let state = PQresultErrorField(result, Int32(UInt8(ascii: "C"))) {
            return .refused(sqlstate: String(cString: state), message: words ?? "")
        }
        return earlier ?? .lost(String(cString: PQresultErrorMessage(result)).lastLines(2))
    }

    private static func rows(_ result: OpaquePointer) -> Rows {
        let width = PQnfields(result)
        let columns = (0..<width).map { PQfname(result, $0).map { String(cString: $0) } ?? "" }
        let rows = (0..<PQntuples(result)).map { row in
            (0..<width).map { column -> String? in
                if PQgetisnull(result, row, column) == 1 { return nil }
                return PQgetvalue(result, row, column).map { String(cString: $0) }
            }
        }
        return Rows(columns: columns, rows: rows)
    }

    func scramSecret(password: String, user: String) throws(SessionError) -> String {
        guard let secret = PQencryptPasswordConn(try open(), password, user, "scram-sha-256") else {
            throw SessionError.lost("libpq could not make the SCRAM secret")
        }
        defer { PQfreemem(secret) }
        return String(cString: secret)
    }

    private static func withCStrings<Result>(
        _ texts: [String?], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Result
    ) -> Result {
        let copies = texts.map { text in text.flatMap { UnsafePointer<CChar>(strdup($0)) } }
        defer { for copy in copies { free(UnsafeMutablePointer(mutating: copy)) } }
        return copies.withUnsafeBufferPointer { body($0.baseAddress) }
    }
}

/// The verbose form of an error message of the server: `FATAL:  57P03: the database system is starting up`.
enum ServerMessage {
    /// The SQLSTATE and the first line of the message; nil if the text is not the server's. The severity before the
    /// SQLSTATE is in the server's language, so it is not looked at.
    static func parse(verbose text: String) -> (sqlstate: String, message: String)? {
        let bytes = Array(text.utf8)
        guard bytes.count > 10 else { return nil }
        for start in 0..<(bytes.count - 9) where Array(bytes[start..<start + 3]) == Array(":  ".utf8) {
            let state = bytes[start + 3..<start + 8]
            guard bytes[start + 8] == UInt8(ascii: ":"), bytes[start + 9] == UInt8(ascii: " "),
                state.allSatisfy({ (48...57).contains($0) || (65...90).contains($0) })
            else { continue }
            let rest = bytes[(start + 10)...].prefix { $0 != UInt8(ascii: "\n") }
            return (String(decoding: state, as: UTF8.self), String(decoding: rest, as: UTF8.self))
        }
        return nil
    }
}
