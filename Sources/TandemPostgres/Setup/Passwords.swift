import Glibc
import TandemSystem

/// The agent's own folder.
public enum StateDirectory {
    /// Makes it: mode 0700, owned by PostgreSQL's user, folders above it included (0755, ours).
    public static func ensure(_ path: String, osUser: String?) throws(PostgresError) {
        let attempted = "make the state directory \(path)"
        try SetupTool.perform(attempted) { () throws(SystemError) in
            var parents: [String] = []
            var parent = KeptFile.folder(of: path)
            while parent != "/", parent != ".", !OwnedFiles.exists(parent) {
                parents.append(parent)
                parent = KeptFile.folder(of: parent)
            }
            for folder in parents.reversed() {
                guard mkdir(folder, 0o755) == 0 || errno == EEXIST else { throw SystemError.last("make \(folder)") }
            }
            try OwnedFiles(user: osUser).makeFolder(path)
            guard let facts = try FileFacts.of(path), facts.kind == .directory else {
                throw SystemError(attempted: "use \(path)", code: ENOTDIR, advice: "Correct `state_directory`.")
            }
            let wanted = try osUser.map { name throws(SystemError) in try Privileges.userID(of: name) } ?? geteuid()
            if facts.ownerID != wanted {
                // Between mkdir and chown we may have been ended; what holds anything is not taken over, it may be a system's folder.
                guard OwnedFiles.names(in: path)?.isEmpty == true else {
                    let name = Privileges.userName(of: facts.ownerID) ?? "user \(facts.ownerID)"
                    throw SystemError(
                        attempted: "use \(path), which belongs to \(name) and is not empty,", code: EPERM,
                        advice:
                            "Correct `state_directory`, or run `chown -R \(osUser ?? "postgres"): \(path)` if it is really the agent's."
                    )
                }
                try OwnedFiles(user: osUser).handOver(path)
            }
            guard facts.isPrivate || chmod(path, 0o700) == 0 else { throw SystemError.last("set the mode of \(path)") }
        }
    }
}

/// The file with the replication password: one line, the same on both hosts.
public enum PasswordFile {
    /// Reads it; makes it (32 random bytes as hexadecimal digits, mode 0600, owned by PostgreSQL's user) if it is absent.
    public static func ensure(_ path: String, osUser: String?) throws(PostgresError) -> String {
        if let password = try read(path, osUser: osUser) { return password }
        let password = Random.bytes(32).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        try write(password, to: path, osUser: osUser)
        return password
    }

    /// nil: no such file.
    /// - Throws: if others may read or change it, or it does not hold one line.
    public static func read(_ path: String, osUser: String?) throws(PostgresError) -> String? {
        let attempted = "read the password file \(path)"
        func refusal(_ happened: String, _ advice: String) -> PostgresError {
            PostgresError(
                attempted: attempted, happened: happened, meaning: "The password in it was not used.", advice: advice)
        }
        let found = try SetupTool.perform(attempted) { () throws(SystemError) in
            (
                try FileFacts.of(path), try DurableFile.read(path, limit: 65536),
                try osUser.map { name throws(SystemError) in
                    (try Privileges.userID(of: name), try Privileges.groupID(of: name))
                } ?? (geteuid(), getegid())
            )
        }
        guard let facts = found.0, let bytes = found.1 else { return nil }
        let owner = found.2
        let isOwn = facts.ownerID == owner.0 && facts.isPrivate
        // PostgreSQL's rule for its own keys: root's, readable by its group.
        let isRoots = facts.ownerID == 0 && facts.mode & 0o037 == 0 && (facts.isPrivate || facts.groupID == owner.1)
        guard facts.kind == .file, isOwn || isRoots else {
            let name = osUser ?? "its user"
            throw refusal(
                "Others could read or change it (owner \(facts.ownerID), mode \(String(facts.mode, radix: 8))).",
                "Run `chown \(name): \(path) && chmod 0600 \(path)`.")
        }
        var text = String(decoding: bytes, as: UTF8.self)
        if text.hasSuffix("\r\n") || text.hasSuffix("\n") { text.removeLast() }
        guard !text.isEmpty, text.utf8.count <= 1000, text.allSatisfy({ !$0.isNewline && $0 != "\0" }) else {
            throw refusal("It does not hold exactly one line.", "Write the password into it, and nothing else; or remove it.")
        }
        return text
    }

    /// Writes the password that the other host gave us. One that was there and differs is kept as `.before-pgtandem`.
    public static func write(_ password: String, to path: String, osUser: String?) throws(PostgresError) {
        let attempted = "write the password file \(path)"
        let file = KeptFile(path: path, user: osUser)
        let bytes = [UInt8]((password + "\n").utf8)
        if try file.read(attempted) != bytes { try file.backUpOnce(attempted) }
        try file.write(bytes, newMode: 0o600, attempted)
    }
}

/// libpq's password file for the replication role, in the state directory: `primary_conninfo` and the programs name it, so
/// that no password stands in a setting, an argument or a log.
public enum Passfile {
    /// Writes `settings.passFile`.
    /// - Returns: its path.
    @discardableResult
    public static func write(
        _ settings: InstanceSettings, user: String, password: String
    ) throws(PostgresError) -> String {
        let path = settings.passFile
        let line = "*:*:*:\(escaped(user)):\(escaped(password))\n"
        // A mode wider than 0600 would make libpq ignore it.
        let bytes = [UInt8](line.utf8)
        try SetupTool.perform("write \(path)") { () throws(SystemError) in
            let facts = try FileFacts.of(path)
            if let facts, !facts.isPrivate { try DurableFile.remove(path) }
        }
        try KeptFile(path: path, user: settings.osUser).write(bytes, newMode: 0o600, "write \(path)")
        return path
    }

    static func escaped(_ text: String) -> String {
        text.map { $0 == ":" || $0 == "\\" ? "\\\($0)" : String($0) }.joined()
    }
}
