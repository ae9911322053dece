import Glibc
import TandemSystem

/// What can be wrong with a data directory before any server is asked.
enum DataDirectory {
    /// Why it cannot be used; nil if nothing speaks against it.
    static func problem(_ settings: InstanceSettings) -> String? {
        let path = settings.dataDirectory
        var facts = stat()
        guard stat(path, &facts) == 0 else {
            let error = SystemError.last("look at \(path)")
            return error.code == ENOENT ? "\(path) does not exist (is its file system mounted?)" : "\(error)"
        }
        guard facts.st_mode & S_IFMT == S_IFDIR else { return "\(path) is not a folder" }
        guard let names = OwnedFiles.names(in: path) else { return "\(path) cannot be read" }
        guard names.contains("PG_VERSION") else {
            let isEmpty = names.allSatisfy { $0 == "lost+found" }
            return isEmpty
                ? "\(path) is empty (is its file system mounted?)" : "\(path) holds no PG_VERSION: it is no data directory"
        }
        var version = stat()
        guard stat(path + "/PG_VERSION", &version) == 0, version.st_uid == facts.st_uid else {
            return "\(path) and its PG_VERSION belong to different users"
        }
        if let problem = foreignOwner(path, facts.st_uid, settings.osUser) { return problem }
        guard names.contains("global") else { return "\(path) holds no folder global: it is an unfinished copy" }
        guard OwnedFiles.exists(path + "/global/pg_control") else {
            return "\(path)/global/pg_control is missing: it is an unfinished copy"
        }
        return nil
    }

    private static func foreignOwner(_ path: String, _ owner: uid_t, _ user: String?) -> String? {
        var wanted = geteuid()
        if wanted == 0 {
            guard let user else { return nil }
            do throws(SystemError) {
                wanted = try Privileges.userID(of: user)
            } catch {
                return "the owner of \(path) cannot be judged: \(error)"
            }
        }
        guard owner != wanted else { return nil }
        return "\(path) belongs to the user with number \(owner), and not to \(wanted), who runs PostgreSQL here"
    }

    static func majorVersion(_ directory: String) throws(SystemError) -> Int? {
        guard let bytes = try DurableFile.read(directory + "/PG_VERSION", limit: 64) else { return nil }
        return Int(String(decoding: bytes, as: UTF8.self).trimmed())
    }

    /// The first field of the control file (PostgreSQL's pg_control.h), without starting a program for it.
    static func systemIdentifier(_ directory: String) throws(SystemError) -> UInt64? {
        guard let bytes = try DurableFile.read(directory + "/global/pg_control", limit: 65536), bytes.count > 8
        else { return nil }
        return bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
    }
}
