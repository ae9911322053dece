import Glibc
import TandemSystem

/// What stands in a data directory that holds an instance.
public struct DirectoryFacts: Hashable, Sendable {
    /// Without symbolic links: what is to be renamed.
    public var path: String
    public var major: Int
    /// nil: there is no control file (an unfinished base copy: PostgreSQL sends that last).
    public var systemIdentifier: UInt64?
    /// Where `pg_wal` leads if it is a symbolic link.
    public var walDirectory: String?
    /// Locations of tablespaces, which lie outside.
    public var tablespaces: [String]
    /// Its live processes of PostgreSQL; empty: it does not run.
    public var processes: [Int32]

    public var isRunning: Bool { !processes.isEmpty }

    /// nil: there is no control file, or a damaged one.
    static func systemIdentifier(of directory: String) throws(PostgresError) -> UInt64? {
        let path = directory + "/global/pg_control"
        let bytes = try SetupTool.perform("read \(path)") { () throws(SystemError) in
            try DurableFile.read(path, limit: 1 << 16)
        }
        return bytes.flatMap { ControlFile.systemIdentifier($0) }
    }
}

/// What is found at the path of a data directory.
public enum DirectoryFinding: Hashable, Sendable {
    case missing
    case empty
    /// It was on a file system of its own, and that is not mounted.
    case unmounted(mountPoint: String)
    /// Not empty, and no instance: the names in it.
    case foreign([String])
    case instance(DirectoryFacts)
}

/// Checks of a data directory before anything is touched.
public enum DirectoryCheck {
    /// Only looks.
    /// - Parameter remembered: what `DirectoryIdentity` kept, for telling a missing mount.
    /// - Throws: if it cannot be looked at, or is no directory.
    public static func look(
        at path: String, remembered: DirectoryIdentity? = nil
    ) throws(PostgresError) -> DirectoryFinding {
        let attempted = "look at the data directory \(path)"
        let unchanged = "Nothing was touched."
        let facts = try SetupTool.perform(attempted, meaning: unchanged) { () throws(SystemError) in try FileFacts.of(path) }
        let unmounted = try remembered.flatMap { old throws(PostgresError) in try missingMount(old, attempted) }
        guard let facts else { return unmounted.map { .unmounted(mountPoint: $0) } ?? .missing }
        guard facts.kind == .directory else {
            throw PostgresError(
                attempted: attempted, happened: "It is not a directory.", meaning: unchanged,
                advice: "Correct `postgresql.data_directory`.")
        }
        guard let names = OwnedFiles.names(in: path), let resolved = ProcessTable.resolved(path) else {
            throw PostgresError(
                attempted, SystemError.last("read the directory \(path)"), meaning: unchanged,
                advice: "Run the command as root or as the owner of the data directory.")
        }
        if names.isEmpty { return unmounted.map { .unmounted(mountPoint: $0) } ?? .empty }
        guard let major = try major(of: path) else { return .foreign(names) }
        return .instance(
            DirectoryFacts(
                path: resolved, major: major, systemIdentifier: try DirectoryFacts.systemIdentifier(of: path),
                walDirectory: linkTarget(path + "/pg_wal"), tablespaces: tablespaces(of: path),
                processes: InstanceProcesses(path).all()))
    }

    /// The instance that `init` takes over, or that an agent starts with.
    /// - Throws: a different message for each of: missing, empty, not mounted, no instance, unfinished copy, foreign owner,
    ///   mode, other version, another postmaster at the same socket.
    @discardableResult
    public static func requireInstance(
        _ settings: InstanceSettings, remembered: DirectoryIdentity? = nil
    ) throws(PostgresError) -> DirectoryFacts {
        let path = settings.dataDirectory
        func refusal(_ happened: String, _ advice: String) -> PostgresError {
            PostgresError(
                attempted: "use the data directory \(path)", happened: happened, meaning: "Nothing was touched.",
                advice: advice)
        }
        let facts: DirectoryFacts
        switch try look(at: path, remembered: remembered) {
        case .missing:
            throw refusal(
                "There is no such directory.", "Correct `postgresql.data_directory`, or run `pgtandem init` or `join`.")
        case .empty:
            throw refusal("It is empty.", "Look whether its disk is mounted; if it is, run `pgtandem init` or `join`.")
        case .unmounted(let mountPoint):
            throw refusal("Its file system \(mountPoint) is not mounted.", "Mount \(mountPoint).")
        case .foreign(let names):
            throw refusal(
                "It has no PG_VERSION, but holds \(list(names)).",
                "Correct `postgresql.data_directory`, or move these files away.")
        case .instance(let found):
            facts = found
        }
        try requireOwner(settings)
        guard facts.systemIdentifier != nil else {
            throw refusal(
                "It has no control file, or a damaged one: a copy that was not finished, or a failing disk.",
                "Move it away, and run `pgtandem join` again.")
        }
        let major = try majorOfPrograms(settings)
        guard facts.major == major else {
            throw refusal(
                "It is of PostgreSQL \(facts.major), and the programs in \(settings.binDirectory) are of \(major).",
                "Correct `postgresql.bin_directory`.")
        }
        try requireNoOtherPostmaster(settings)
        return facts
    }

    /// Owner and mode as PostgreSQL itself demands them at a start.
    public static func requireOwner(_ settings: InstanceSettings) throws(PostgresError) {
        let path = settings.dataDirectory
        let attempted = "use the data directory \(path)"
        let unchanged = "Nothing was touched."
        let found = try SetupTool.perform(attempted, meaning: unchanged) { () throws(SystemError) in
            (try FileFacts.of(path), try settings.osUser.map { name throws(SystemError) in try Privileges.userID(of: name) })
        }
        guard let facts = found.0 else { return }
        let owner = found.1 ?? Privileges.ourUserID
        guard facts.ownerID == owner else {
            let name = Privileges.userName(of: facts.ownerID) ?? "user \(facts.ownerID)"
            let wanted = settings.osUser ?? Privileges.userName(of: owner) ?? "user \(owner)"
            throw PostgresError(
                attempted: attempted, happened: "It belongs to \(name), not to \(wanted).", meaning: unchanged,
                advice: "Name its owner in `postgresql.os_user`, or run `chown -R \(wanted): \(path)`.")
        }
        guard facts.mode == 0o700 || facts.mode == 0o750 else {
            throw PostgresError(
                attempted: attempted, happened: "Its mode is \(String(facts.mode, radix: 8)).",
                meaning: "PostgreSQL would not start with it; nothing was touched.", advice: "Run `chmod 0700 \(path)`.")
        }
    }

    /// Another instance that serves the same port and socket directory would be taken for ours.
    public static func requireNoOtherPostmaster(_ settings: InstanceSettings) throws(PostgresError) {
        let path = "\(settings.socketDirectory)/.s.PGSQL.\(settings.port).lock"
        let attempted = "look for another server at port \(settings.port)"
        let bytes = try SetupTool.perform(attempted) { () throws(SystemError) in try DurableFile.read(path) }
        let lines = String(decoding: bytes ?? [], as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count > 1, let pid = Int32(lines[0].trimmed()), ProcessTable.startTime(of: abs(pid)) != nil else { return }
        let other = String(lines[1])
        guard InstanceProcesses(other).all().contains(abs(pid)) else { return }
        let same =
            (ProcessTable.resolved(other) ?? other)
            == (ProcessTable.resolved(settings.dataDirectory) ?? settings.dataDirectory)
        guard same else {
            throw PostgresError(
                attempted: attempted, happened: "Process \(abs(pid)) of the data directory \(other) serves it.",
                meaning: "Nothing was touched: it would be taken for the instance of \(settings.dataDirectory).",
                advice: "Correct `postgresql.port`, `socket_directory` or `data_directory`, or stop that server.")
        }
    }

    /// The major version of the programs in `binDirectory`.
    public static func majorOfPrograms(_ settings: InstanceSettings) throws(PostgresError) -> Int {
        let attempted = "ask \(settings.binDirectory)/postgres for its version"
        let result = try SetupTool.run(
            settings, "postgres", ["--version"], deadline: .seconds(10), attempted, meaning: "Nothing was touched.",
            advice: "Correct `postgresql.bin_directory`.")
        // `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, `postgres (PostgreSQL) 19beta1`
        let word = result.output.split(separator: " ").first { $0.first?.isNumber == true }
        guard let word, let major = Int(word.prefix { $0.isNumber }) else {
            throw PostgresError(
                attempted: attempted, happened: "It said `\(result.output.trimmed())`.", meaning: "Nothing was touched.",
                advice: "Correct `postgresql.bin_directory`.")
        }
        return major
    }

    static func list(_ names: [String]) -> String {
        names.prefix(4).joined(separator: ", ") + (names.count > 4 ? " and \(names.count - 4) more" : "")
    }

    private static func missingMount(_ old: DirectoryIdentity, _ attempted: String) throws(PostgresError) -> String? {
        let table = try SetupTool.perform(attempted) { () throws(SystemError) in try MountTable.current() }
        return table.isMountPoint(old.mountPoint) ? nil : old.mountPoint
    }

    private static func major(of path: String) throws(PostgresError) -> Int? {
        let file = path + "/PG_VERSION"
        let bytes = try SetupTool.perform("read \(file)") { () throws(SystemError) in try DurableFile.read(file, limit: 64) }
        return bytes.flatMap { Int(String(decoding: $0, as: UTF8.self).trimmed()) }
    }

    private static func tablespaces(of path: String) -> [String] {
        (OwnedFiles.names(in: path + "/pg_tblspc") ?? []).compactMap { linkTarget("\(path)/pg_tblspc/\($0)") }
    }

    static func linkTarget(_ path: String) -> String? { InstanceProcesses.link(path) }
}
