import TandemSystem

/// One of PostgreSQL's programs, run to its successful end or to an error for a person.
enum SetupTool {
    static func run(
        _ settings: InstanceSettings, _ name: String, _ arguments: [String], environment: [String: String] = [:],
        deadline: Duration, interruption: Bell? = nil, _ attempted: String, meaning: String, advice: String,
        onLine: (@Sendable (String) -> Void)? = nil
    ) throws(PostgresError) -> ToolResult {
        let tool = settings.tool(name, arguments, environment)
        return try run(
            tool, deadline: deadline, interruption: interruption, attempted, meaning: meaning, advice: advice, onLine: onLine)
    }

    static func run(
        _ tool: Tool, deadline: Duration, interruption: Bell? = nil, _ attempted: String, meaning: String, advice: String,
        onLine: (@Sendable (String) -> Void)? = nil
    ) throws(PostgresError) -> ToolResult {
        let result: ToolResult
        do throws(SystemError) {
            result = try tool.run(deadline: deadline, outputLimit: 1 << 16, interruption: interruption, onLine: onLine)
        } catch {
            throw PostgresError(attempted, error, meaning: meaning)
        }
        if result.ending == .interrupted {
            throw PostgresError(
                attempted, result, meaning: "Nothing else was changed.", advice: "It begins anew when it is needed.")
        }
        guard result.succeeded else { throw PostgresError(attempted, result, meaning: meaning, advice: advice) }
        return result
    }

    /// A system call's refusal as an error for a person.
    static func perform<Value>(
        _ attempted: String, meaning: String = "Nothing else was changed; the command can be repeated.",
        advice: String? = nil, _ body: () throws(SystemError) -> Value
    ) throws(PostgresError) -> Value {
        do throws(SystemError) {
            return try body()
        } catch {
            throw PostgresError(attempted, error, meaning: meaning, advice: advice)
        }
    }

    static func perform<Value>(
        asking attempted: String, meaning: String = "Nothing else was changed; the command can be repeated.",
        advice: String? = nil, _ body: () throws(SessionError) -> Value
    ) throws(PostgresError) -> Value {
        do throws(SessionError) {
            return try body()
        } catch {
            throw PostgresError(attempted, error, meaning: meaning, advice: advice)
        }
    }
}
