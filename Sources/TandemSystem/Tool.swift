import CLinux
import Glibc

/// An external program (pg_ctl, pg_rewind, a fence agent): own process group, a deadline, bounded output.
///
/// The child has the working directory "/", default signals, standard input from `input` (or /dev/null), and no
/// descriptor of ours beyond the three. It inherits our environment without the variables that would change what
/// PostgreSQL's programs do (`PG…`) or that are meant for us alone (systemd's), plus those given.
public struct Tool: Sendable {
    public var path: String
    public var arguments: [String]
    public var environment: [String: String]
    /// The user to become in the child; nil: ours.
    public var user: String?
    /// Standard input, at most what the program wants to read of it.
    public var input: [UInt8] = []

    /// - Parameters:
    ///   - path: absolute; the search path is not used.
    ///   - arguments: without the program's name. They are visible to every user of the host: no secrets here.
    ///   - environment: added to what the child inherits; wins over it.
    ///   - user: become it in the child when we are root, by setpriv, with its groups and without any capability; when
    ///     we run as that user already, nothing is done.
    public init(_ path: String, _ arguments: [String], environment: [String: String] = [:], user: String? = nil) {
        self.path = path
        self.arguments = arguments
        self.environment = environment
        self.user = user
    }

    /// Runs it to its end, blocking the calling thread.
    ///
    /// When the program itself has ended, what is in its pipes is read and the call returns, also if a process that it
    /// left behind keeps them open (as `pg_ctl start` does). At the deadline the whole group gets TERM and after 300 ms
    /// KILL. A program that even KILL cannot end (it hangs in the kernel on a dead disk) is left to a thread that reaps
    /// it some day: the call returns at most about 1.5 s after the deadline.
    /// - Parameters:
    ///   - outputLimit: bytes kept of each stream, the last ones. More output is no failure.
    ///   - onLine: called in this thread for each line of both streams, without its end; a carriage return ends a line
    ///     too (progress displays).
    ///   - interruption: when it rings, from whichever thread, the program is ended as at its deadline.
    /// - Throws: if it could not be started (no such program, no such user, no right to become it).
    public func run(
        deadline: Duration, outputLimit: Int = 1 << 20, interruption: Bell? = nil, onLine: (@Sendable (String) -> Void)? = nil
    ) throws(SystemError) -> ToolResult {
        let run = try ToolRun(command: command(), environment: fullEnvironment(), input: input)
        return run.toEnd(deadline: deadline, outputLimit: outputLimit, interruption: interruption, onLine: onLine)
    }

    private func command() throws(SystemError) -> [String] {
        guard let user else { return [path] + arguments }
        let wanted = try Privileges.account(user)
        let ours = geteuid()
        if wanted.userID == ours { return [path] + arguments }
        guard ours == 0 else {
            throw SystemError(
                attempted: "run \(path) as \(user)", code: EPERM, advice: "Run this program as root or as \(user).")
        }
        guard let setpriv = Tool.setprivPaths.first(where: { access($0, X_OK) == 0 }) else {
            throw SystemError(attempted: "find setpriv", code: ENOENT, advice: "Install the package util-linux.")
        }
        return [
            setpriv, "--reuid=\(wanted.userID)", "--regid=\(wanted.groupID)", "--init-groups", "--inh-caps=-all", "--",
            path,
        ] + arguments
    }

    private static let setprivPaths = ["/usr/bin/setpriv", "/bin/setpriv"]

    private func fullEnvironment() throws(SystemError) -> [String: String] {
        var full: [String: String] = [:]
        var entry = cl_environment()
        while let text = entry?.pointee {
            let pair = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if pair.count == 2, Tool.inherits(String(pair[0])) { full[String(pair[0])] = String(pair[1]) }
            entry = entry?.advanced(by: 1)
        }
        if let user, geteuid() == 0 {
            // libpq looks for its password file and certificates at HOME: ours would be unreadable or, worse, used.
            full["HOME"] = try Privileges.account(user).home
            full["USER"] = user
            full["LOGNAME"] = user
        }
        return full.merging(environment) { _, given in given }
    }

    private static func inherits(_ name: String) -> Bool {
        !name.hasPrefix("PG") && !name.hasPrefix("LISTEN_") && !name.hasPrefix("WATCHDOG_") && name != "NOTIFY_SOCKET"
    }
}
