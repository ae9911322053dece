import Glibc
import TandemSystem

/// Looks at files that hold secrets: others must not read them, and PostgreSQL's user must.
public enum SecretFiles {
    /// What is wrong with `path`; nil when nothing is. The file must be readable by `user`, who owns PostgreSQL's data and as
    /// whom the agent runs, and by nobody else but root: owned by `user` with mode 0600 or stricter, or owned by root with the
    /// group of `user` and mode 0640 or stricter (PostgreSQL's rule for its own keys; manual, "Secure TCP/IP Connections with
    /// SSL").
    ///
    /// - Parameter key: the configuration's key that names the file, for the message.
    public static func check(_ path: String, _ user: String, key: String? = nil) -> ConfigurationProblem? {
        func problem(_ message: String, _ advice: String) -> ConfigurationProblem {
            ConfigurationProblem(file: path, key: key, message: message, advice: advice)
        }
        guard let owner = UserFacts(user) else {
            return problem(
                "there is no user `\(user)` on this host", "Name the owner of the data directory in `postgresql.os_user`.")
        }
        let found: FileFacts?
        do throws(SystemError) {
            found = try FileFacts.of(path)
        } catch {
            return problem("cannot be looked at: \(error.reason)", "Let the user `\(user)` pass through the folders above it.")
        }
        guard let facts = found else { return problem("there is no such file", advice(forMissing: key)) }
        guard facts.kind == .file else { return problem("is not a regular file", "Put a regular file in its place.") }
        if let closed = closedFolder(of: path, to: user, owner) {
            return problem(
                "the user `\(user)` cannot reach it through the folder \(closed)",
                key == "tls.directory"
                    ? "Run `chown -R \(user): \(quote(closed))`." : "Let the user `\(user)` pass through that folder.")
        }
        let mode = facts.mode
        let quoted = quote(path)
        if facts.ownerID == owner.user {
            guard mode & 0o077 != 0 || mode & 0o400 == 0 else { return nil }
            let reason = mode & 0o077 != 0 ? "other users could use it" : "its owner cannot read it"
            return problem("has mode \(octal(mode)): \(reason)", "Run `chmod 0600 \(quoted)`.")
        }
        let remedy = "Run `chown \(user): \(quoted) && chmod 0600 \(quoted)`."
        guard facts.ownerID == 0 else {
            return problem("belongs to \(UserFacts.name(of: facts.ownerID)), who could change it", remedy)
        }
        guard facts.groupID == owner.group, mode & 0o040 != 0 else {
            return problem("belongs to root with mode \(octal(mode)): the user `\(user)` cannot read it", remedy)
        }
        guard mode & 0o037 == 0 else {
            return problem("has mode \(octal(mode)): other users could use it", "Run `chmod 0640 \(quoted)`.")
        }
        return nil
    }

    /// Every secret that the configuration names. `init` makes the password if it is absent: there a missing one is no problem.
    public static func check(_ configuration: Configuration, passwordMayBeMissing: Bool = false) -> [ConfigurationProblem] {
        let user = configuration.postgresql.osUser
        let password = configuration.replication.passwordFile
        var problems: [ConfigurationProblem] = []
        if !(passwordMayBeMissing && access(password, F_OK) != 0 && errno == ENOENT) {
            problems += [check(password, user, key: "replication.password_file")].compactMap(\.self)
        }
        problems += [check(configuration.tls.keyFile, user, key: "tls.directory")].compactMap(\.self)
        for file in [configuration.tls.certificateFile, configuration.tls.authorityFile] where access(file, R_OK) != 0 {
            let reason = SystemError.last("read \(file)").reason
            problems.append(
                ConfigurationProblem(
                    file: file, key: "tls.directory", message: "cannot be read: \(reason)",
                    advice: advice(forMissing: "tls.directory")))
        }
        return problems
    }

    /// The folder, if root, who looks now, may pass through it, and the user may not. Of access control lists nothing is known here.
    private static func closedFolder(of path: String, to name: String, _ user: UserFacts) -> String? {
        guard geteuid() == 0, let end = path.lastIndex(of: "/"), end != path.startIndex else { return nil }
        let folder = String(path[..<end])
        let facts: FileFacts?
        // One that cannot be looked at is told of where the file is.
        do throws(SystemError) { facts = try FileFacts.of(folder) } catch { facts = nil }
        guard let facts else { return nil }
        let bit: UInt32 =
            facts.ownerID == user.user ? 0o100 : user.groups(of: name).contains(facts.groupID) ? 0o010 : 0o001
        return facts.mode & bit == 0 ? folder : nil
    }

    private static func advice(forMissing key: String?) -> String {
        switch key {
        case "tls.directory": "Run `pgtandem tls create` and copy this node's folder to `tls.directory`."
        case "replication.password_file": "Run `pgtandem init` on the first host, or `pgtandem join` on the second: they make it."
        default: "Create it, or correct the path."
        }
    }

    private static func octal(_ mode: UInt32) -> String {
        let digits = String(mode, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }

    /// So that the command in the advice can be pasted into a shell.
    private static func quote(_ path: String) -> String {
        let plain = path.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0 | 0x20)
                || "/._-+".utf8.contains($0)
        }
        return plain ? path : "'" + path.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}

/// A user of this host.
struct UserFacts {
    var user: uid_t
    var group: gid_t

    /// nil: there is no such user.
    init?(_ name: String) {
        var entry = passwd()
        guard Self.look(&entry, { getpwnam_r(name, $0, $1, $2, $3) }) else { return nil }
        user = entry.pw_uid
        group = entry.pw_gid
    }

    /// His own, and those that he was added to.
    func groups(of name: String) -> Set<gid_t> {
        var groups = [gid_t](repeating: group, count: 256)
        var count = Int32(groups.count)
        guard getgrouplist(name, group, &groups, &count) >= 0 else { return [group] }
        return Set(groups.prefix(Int(count)))
    }

    /// The name of a user, for messages; the number, if it has none.
    static func name(of id: uid_t) -> String {
        var entry = passwd()
        // The name lives in the buffer, so it is copied before the buffer goes.
        var name = "the user with number \(id)"
        _ = look(&entry, { getpwuid_r(id, $0, $1, $2, $3) }, { if let text = $0.pw_name { name = "`\(String(cString: text))`" } })
        return name
    }

    private typealias Call = (
        UnsafeMutablePointer<passwd>, UnsafeMutablePointer<CChar>, Int, UnsafeMutablePointer<UnsafeMutablePointer<passwd>?>
    ) -> Int32

    private static func look(_ entry: inout passwd, _ call: Call, _ found: (passwd) -> Void = { _ in }) -> Bool {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16384) { buffer in
            var answer: UnsafeMutablePointer<passwd>?
            guard let start = buffer.baseAddress, call(&entry, start, buffer.count, &answer) == 0, answer != nil else {
                return false
            }
            found(entry)
            return true
        }
    }
}
