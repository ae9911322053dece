import TandemSystem

/// Statements of the set-up: one transaction, none waits for a standby, none reaches the log of statements.
struct SetupSQL {
    let session: Session
    let attempted: String
    let deadline: Duration

    /// All or nothing. `synchronous_commit = local` again here, whatever the session began with.
    func transaction(_ body: (SetupSQL) throws(PostgresError) -> Void) throws(PostgresError) {
        try run("begin read write")
        do throws(PostgresError) {
            for setting in SetupSQL.settings { try run("set local \(setting)") }
            try body(self)
            try run("commit")
        } catch {
            rollBack()
            throw error
        }
    }

    private static let settings = [
        "synchronous_commit = local", "search_path = pg_catalog", "log_statement = none",
        "log_min_duration_statement = -1", "log_min_error_statement = panic", "lock_timeout = '20s'",
        "client_min_messages = warning",
    ]

    @discardableResult
    func run(_ sql: String, _ parameters: [String?] = []) throws(PostgresError) -> Rows {
        do throws(SessionError) {
            return try session.query(sql, parameters, deadline: deadline)
        } catch {
            let advice: String
            switch error.sqlstate {
            case "25006": advice = "Run it on the primary."
            case "42501": advice = "Connect as a superuser: correct `postgresql.superuser`."
            case "55P03": advice = "Look in pg_stat_activity who holds locks on roles or on the schema pgtandem, then repeat it."
            default: advice = "Look into PostgreSQL's log for the same moment, then repeat the command."
            }
            throw PostgresError(attempted, error, meaning: "This step was undone; it can be repeated.", advice: advice)
        }
    }

    private func rollBack() {
        do throws(SessionError) {
            _ = try session.query("rollback", deadline: .seconds(5))
        } catch {
            // The session is broken: then the server undoes the transaction by itself. The first error is the one to tell.
            session.close()
        }
    }

    func refusal(_ happened: String, _ meaning: String, _ advice: String) -> PostgresError {
        PostgresError(attempted: attempted, happened: happened, meaning: meaning, advice: advice)
    }

    static func identifier(_ name: String) -> String {
        "\"" + name.map { $0 == "\"" ? "\"\"" : String($0) }.joined() + "\""
    }

    /// Independent of `standard_conforming_strings`.
    static func literal(_ text: String) -> String {
        let escaped = text.map { $0 == "'" ? "''" : $0 == "\\" ? "\\\\" : String($0) }.joined()
        return text.contains("\\") ? " E'\(escaped)'" : "'\(escaped)'"
    }
}
