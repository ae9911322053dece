import ArgumentParser
import Glibc
import Logging
import TandemConfiguration
import TandemCore
import TandemLinux
import TandemNetwork
import TandemPostgres
import TandemRuntime
import TandemSystem
import TandemWire

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "The agent: what the service starts.",
        discussion: """
            Started as root, it becomes the owner of the data directory and keeps CAP_NET_ADMIN and CAP_NET_RAW, and, for leases,
            CAP_SYS_NICE and CAP_IPC_LOCK.
            SIGTERM: hand the primary role over if the pair is sound, stop PostgreSQL, give the addresses up, exit 0.
            Example: pgtandem run --config /etc/pgtandem/pgtandem.yml
            """)

    @OptionGroup var common: CommonOptions

    func run() throws {
        let configuration = try common.load()
        for warning in configuration.warnings { Terminal.complain(warning.description) }
        // Before any thread exists: capabilities belong to threads.
        try AgentAccount.enter(configuration)
        let (log, writer) = try LogSetup.make(configuration)
        defer { writer.flush(within: .seconds(1)) }
        let problems = SecretFiles.check(configuration).filter { $0.severity == .error }
        guard problems.isEmpty else { throw CommandFailure.failed(problems.map(\.description).joined(separator: "\n")) }
        let lock = try AgentLock.take(configuration)
        defer { lock.release() }
        do {
            try AgentAssembly(configuration, log).run()
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw CommandFailure.failed("\(error)")
        }
    }
}

/// Folders, user and capabilities of the agent.
enum AgentAccount {
    static let capabilities: [Capability] = [.netAdmin, .netRaw]
    /// Wanted where leases are: without them the agent runs, and says what is less safe.
    static let forLeases: [Capability] = [.sysNice, .ipcLock]

    static func enter(_ configuration: Configuration) throws {
        let user = configuration.postgresql.osUser
        do {
            if geteuid() == 0 {
                try Ownership.require(user)
                try StateDirectory.ensure(configuration.stateDirectory, osUser: user)
                let socketFolder = configuration.controlSocket.split(separator: "/").dropLast().joined(separator: "/")
                try Folder.makeIfAbsent("/" + socketFolder, owner: user, mode: 0o755)
            }
            try Privileges.become(user: user, keeping: capabilities + forLeases)
        } catch let error as SystemError {
            throw CommandFailure.failed(
                "the agent cannot run as \(user): \(error). Start it as root, or by its unit file, which runs it as \(user) with CAP_NET_ADMIN and CAP_NET_RAW."
            )
        }
        let missing = Privileges.missing(capabilities)
        guard missing.isEmpty else {
            throw CommandFailure.failed(
                "the agent lacks \(missing.map(\.rawValue).joined(separator: ", ")), without which it cannot move addresses. Start it as root, or "
                    + "by its unit file (AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW).")
        }
    }
}

enum Folder {
    /// One that is there is left as it is: `control_socket: /tmp/agent.sock` must not make /tmp ours.
    static func makeIfAbsent(_ path: String, owner: String, mode: UInt32) throws {
        if access(path, F_OK) == 0 { return }
        var place = ""
        for part in path.split(separator: "/") {
            place += "/" + part
            if mkdir(place, 0o755) != 0, errno != EEXIST { throw SystemError(attempted: "make the folder \(place)", code: errno) }
        }
        guard chown(path, try Privileges.userID(of: owner), try Privileges.groupID(of: owner)) == 0, chmod(path, mode) == 0 else {
            throw SystemError(attempted: "give the folder \(path) to \(owner)", code: errno)
        }
    }
}

/// One agent, or one `init`, or one `join` per state directory.
enum AgentLock {
    static func take(_ configuration: Configuration) throws -> FileLock {
        let path = configuration.stateDirectory + "/lock"
        do {
            if let lock = try FileLock.acquire(path) { return lock }
        } catch {
            throw CommandFailure.failed("cannot lock \(path): \(error)")
        }
        throw CommandFailure.failed(
            "an agent (or `init`, or `join`) runs on this host already: it holds \(path). Stop it first: systemctl stop pgtandem")
    }
}

enum LogSetup {
    /// After the change of user: it starts a thread.
    static func make(_ configuration: Configuration) throws -> (log: Logger, writer: LogWriter) {
        let level: Logger.Level =
            switch configuration.log.level {
            case .debug: .debug
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        return try make(isJSON: configuration.log.format == .json, node: configuration.node.text, level: level)
    }

    /// - Parameter node: who speaks.
    static func make(isJSON: Bool, node: String, level: Logger.Level) throws -> (log: Logger, writer: LogWriter) {
        let writer = try LogWriter { Terminal.write(2, $0) }
        LoggingSystem.bootstrap { _ in LineLog(isJSON: isJSON, node: node, writer: writer) }
        var log = Logger(label: "pgtandem")
        log.logLevel = level
        return (log, writer)
    }
}
