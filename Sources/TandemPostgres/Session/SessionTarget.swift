/// Whom a session speaks to, and with which settings it begins.
public struct SessionTarget: Hashable, Sendable {
    /// A folder (Unix socket) or a numeric address; names are not resolved, since that could block without a deadline.
    public var host: String
    public var port: Int
    public var user: String
    public var database: String
    public var passFile: String?
    public var statementTimeout: Duration
    /// `local` for all statements of ours: none may wait for a standby (`protocol.md` 9). The probe commit alone differs.
    public var synchronousCommit = "local"
    /// What pg_stat_activity shows.
    public var applicationName = "pgtandem agent"

    public init(
        host: String, port: Int, user: String, database: String, passFile: String? = nil,
        statementTimeout: Duration = .seconds(30)
    ) {
        self.host = host
        self.port = port
        self.user = user
        self.database = database
        self.passFile = passFile
        self.statementTimeout = statementTimeout
    }

    /// The instance of this host, by its Unix socket.
    public init(_ settings: InstanceSettings, statementTimeout: Duration = .seconds(30)) {
        self.init(
            host: settings.socketDirectory, port: settings.port, user: settings.superuser, database: settings.database,
            statementTimeout: statementTimeout)
    }

    var isLocal: Bool { host.hasPrefix("/") }

    var keywords: [(String, String)] {
        let milliseconds = max(1, statementTimeout.components.seconds * 1000)
        var options = [
            "synchronous_commit=\(synchronousCommit)", "statement_timeout=\(milliseconds)", "search_path=",
            // Defaults of the database that would end a kept session or refuse our writes.
            "idle_session_timeout=0", "default_transaction_read_only=off",
        ]
        if isLocal {
            // Ten statements a second would fill a log that logs statements. Only a superuser may say so.
            options += ["log_statement=none", "log_min_duration_statement=-1", "log_duration=off", "jit=off"]
        }
        var words = [
            (isLocal ? "host" : "hostaddr", host), ("port", String(port)), ("user", user), ("dbname", database),
            ("application_name", applicationName), ("client_encoding", "UTF8"),
            ("options", options.map { "-c \($0)" }.joined(separator: " ")), ("gssencmode", "disable"),
        ]
        if let passFile { words.append(("passfile", passFile)) }
        if !isLocal {
            words += [
                ("sslmode", "prefer"), ("keepalives_idle", "2"), ("keepalives_interval", "1"), ("keepalives_count", "3"),
                ("tcp_user_timeout", "5000"),
            ]
        }
        return words
    }
}
