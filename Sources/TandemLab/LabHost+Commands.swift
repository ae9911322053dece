import Glibc
import TandemSystem

/// A file to be put on a host's disk.
public struct HostFile: Sendable {
    public var content: [UInt8]
    /// Permission bits, as 0o600.
    public var mode: UInt32
    /// A user of this machine; the file gets the user's group too.
    public var owner: String

    public init(_ content: [UInt8], mode: UInt32 = 0o644, owner: String = "root") {
        self.content = content
        self.mode = mode
        self.owner = owner
    }

    public init(_ text: String, mode: UInt32 = 0o644, owner: String = "root") {
        self.init(Array(text.utf8), mode: mode, owner: owner)
    }
}

extension LabHost {
    /// Runs a program inside the host to its end. It is a look from outside: a frozen host does not freeze it.
    /// - Parameters:
    ///   - arguments: absolute path first (a bare name is looked up in the usual places).
    ///   - user: become it inside; nil: root.
    /// - Throws: if the host is off or the program could not be tried; its failure is in the result.
    public func run(
        _ arguments: [String], user: String? = nil, input: String = "", deadline: Duration = .seconds(30),
        onLine: (@Sendable (String) -> Void)? = nil
    ) throws(LabError) -> ToolResult {
        let command = try insideCommand(arguments, user: user)
        var tool = Tool(command[0], Array(command.dropFirst()))
        tool.input = Array(input.utf8)
        let ordered = tool
        return try asLabError { () throws(SystemError) in
            try ordered.run(deadline: deadline, outputLimit: Self.outputLimit, onLine: onLine)
        }
    }

    /// Bytes. The first ones of longer output are dropped: `demand` refuses that.
    private static let outputLimit = 64 << 20

    /// As `run`, and anything but exit status 0 is an error that carries the program's words.
    @discardableResult
    public func demand(
        _ arguments: [String], user: String? = nil, input: String = "", deadline: Duration = .seconds(30)
    ) throws(LabError) -> String {
        let result = try run(arguments, user: user, input: input, deadline: deadline)
        guard result.succeeded else {
            let words = (result.errors + result.output).split(whereSeparator: \.isNewline).suffix(5).joined(separator: "; ")
            throw LabError(
                attempted: "run \(arguments.joined(separator: " ")) on the host \(name)",
                happened: "\(result.ending) \(words)")
        }
        guard result.output.utf8.count < Self.outputLimit else {
            throw LabError(
                attempted: "read what \(arguments.joined(separator: " ")) says on the host \(name)",
                happened: "it says more than \(Self.outputLimit >> 20) MiB")
        }
        return result.output
    }

    /// Starts a program inside the host and returns at once; it is frozen with the host, and ends with it at the latest.
    /// - Parameter outputPath: on this machine; both streams are appended to it.
    public func spawn(_ arguments: [String], user: String? = nil, outputPath: String) throws(LabError)
        -> LabProcess
    {
        let command = try insideCommand(arguments, user: user)
        let joining = groupMembersPath.map {
            ["/bin/sh", "-c", "echo 0 > \"$1\" && shift && exec \"$@\"", "join", $0]
        }
        return try LabProcess(
            (joining ?? []) + command, environment: Machine.environment, outputPath: outputPath)
    }

    /// Puts files on the disk, whether the host is on or off. Paths are as inside, below one of the persistent folders
    /// (/etc/pgtandem, /etc/postgresql, /var/lib/pgtandem, /var/lib/postgresql, /var/log/postgresql; on the witness's machine
    /// /etc/pgtandem-witness and /var/lib/pgtandem-witness too).
    public func configure(files: [String: HostFile]) throws(LabError) {
        for (path, file) in files.sorted(by: { $0.key < $1.key }) {
            guard (place.folders + place.ownDisks).contains(where: { path.hasPrefix("\($0)/") }) else {
                throw LabError(
                    attempted: "put \(path) on the host \(name)", happened: "that folder is not on its disk",
                    advice: "Use one of \(place.folders.joined(separator: ", ")).")
            }
            let target = diskPath(of: path)
            try Text.makeFolder("/" + target.split(separator: "/").dropLast().joined(separator: "/"))
            try Text.create(target, file.content, mode: file.mode)
            let (user, group) = try asLabError { () throws(SystemError) in
                (try Privileges.userID(of: file.owner), try Privileges.groupID(of: file.owner))
            }
            try Text.setOwner(target, user: user, group: group)
        }
    }

    private func insideCommand(_ arguments: [String], user: String?) throws(LabError) -> [String] {
        let pid = try machine(to: "run \(arguments.first ?? "nothing")").pid
        var command = [try Command.path("nsenter", package: "util-linux"), "-t", "\(pid)", "-a", "--"]
        if let user {
            command += [
                try Command.path("setpriv", package: "util-linux"), "--reuid=\(user)", "--regid=\(user)", "--init-groups",
                "--inh-caps=-all", "--reset-env", "--",
            ]
        }
        if let clock = place.wallClock {
            command.append("/usr/bin/env")
            command += clock.environment.map { "\($0.key)=\($0.value)" }.sorted()
        }
        return command + arguments
    }
}
