import Clibpq
import Glibc
import Synchronization
import TandemSystem

/// One connection to PostgreSQL. Blocking calls, each with a deadline; libpq's own non-blocking calls underneath, so that a
/// server which is stopped or hangs costs the deadline and no more.
///
/// Calls from several threads wait for each other. After a time-out or a break the connection is finished for good: what a
/// late answer belongs to could not be told.
public final class Session: Sendable {
    public let target: SessionTarget
    /// The process that serves this session.
    public let backend: Int32
    /// The process that listens on the Unix socket, which is the postmaster; nil over TCP or if the kernel does not tell.
    public let postmaster: Int32?
    /// For example 150018.
    public let serverVersion: Int
    private let interruption: Bell?
    private let link: Mutex<SessionLink>

    /// - Parameter interruption: when it rings, a waiting call gives up at once (the postmaster has ended).
    public init(to target: SessionTarget, deadline: Duration, interruption: Bell? = nil) throws(SessionError) {
        let link = try SessionLink(target, Deadline(deadline), interruption)
        self.target = target
        self.interruption = interruption
        backend = link.backend
        postmaster = link.postmaster
        serverVersion = link.version
        self.link = Mutex(link)
    }

    public var majorVersion: Int { serverVersion / 10000 }

    /// False once it is finished.
    public var isOpen: Bool { link.withLock { $0.isOpen } }

    public func close() {
        link.withLock { $0.finish() }
    }

    /// Runs one statement (without parameters: also several, the last result counts).
    /// - Parameter parameters: `$1`, `$2`, … as text; nil is NULL.
    public func query(_ sql: String, _ parameters: [String?] = [], deadline: Duration) throws(SessionError) -> Rows {
        let end = Deadline(deadline)
        return try link.withLock { link throws(SessionError) in
            try link.send(sql, parameters)
            return try link.collect(end, interruption, sql)
        }
    }

    /// The same, planned once per session: for statements that are asked many times a second.
    public func query(
        prepared name: String, _ sql: String, _ parameters: [String?] = [], deadline: Duration
    ) throws(SessionError) -> Rows {
        let end = Deadline(deadline)
        return try link.withLock { link throws(SessionError) in
            if !link.prepared.contains(name) {
                try link.sendPreparation(name, sql)
                _ = try link.collect(end, interruption, sql)
                link.prepared.insert(name)
            }
            try link.sendPrepared(name, parameters)
            return try link.collect(end, interruption, sql)
        }
    }

    /// Sends a statement and does not wait; `isDone` and `finish` follow.
    public func begin(_ sql: String, _ parameters: [String?] = []) throws(SessionError) {
        try link.withLock { link throws(SessionError) in try link.send(sql, parameters) }
    }

    /// Whether the answer to `begin` has come.
    public func isDone() throws(SessionError) -> Bool {
        try link.withLock { link throws(SessionError) in try link.isDone() }
    }

    public func finish(deadline: Duration) throws(SessionError) -> Rows {
        let end = Deadline(deadline)
        return try link.withLock { link throws(SessionError) in try link.collect(end, interruption, "the statement") }
    }

    /// The password as PostgreSQL stores it (SCRAM-SHA-256), made here, so that the clear one never reaches the server or
    /// its log.
    public func scramSecret(password: String, user: String) throws(SessionError) -> String {
        try link.withLock { link throws(SessionError) in try link.scramSecret(password: password, user: user) }
    }

    deinit { close() }
}
