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
            return error.code == ENOENT
                ? "\(path) does not exist: mount its file system, or correct `postgresql.data_directory`" : "\(error)"
        }
        guard facts.st_mode & S_IFMT == S_IFDIR else { return "\(path) is not a folder" }
        guard let names = OwnedFiles.names(in: path) else {
            return foreignOwner(path, facts.st_uid, settings.osUser)
                ?? "\(path) cannot be read: look at its mode and at the folders above it"
        }
        guard names.contains("PG_VERSION") else {
            let isEmpty = names.allSatisfy { $0 == "lost+found" }
            return isEmpty
                ? "\(path) is empty: mount its file system, or, if the other host has the data, run `pgtandem join` here"
                : "\(path) holds no PG_VERSION: it is no data directory; correct `postgresql.data_directory`"
        }
        var version = stat()
        guard stat(path + "/PG_VERSION", &version) == 0, version.st_uid == facts.st_uid else {
            return "\(path) and its PG_VERSION belong to different users"
        }
        if let problem = foreignOwner(path, facts.st_uid, settings.osUser) { return problem }
        guard names.contains("global") else {
            return "\(path) holds no folder global: it is an unfinished copy; move it away, and run `pgtandem join` here"
        }
        guard OwnedFiles.exists(path + "/global/pg_control") else {
            return "\(path)/global/pg_control is missing: it is an unfinished copy; move it away, and run `pgtandem join` here"
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
        let name = Privileges.userName(of: owner) ?? "the user with number \(owner)"
        let own = Privileges.userName(of: wanted) ?? "\(wanted)"
        return
            "\(path) belongs to \(name), and \(own) runs PostgreSQL here: mount its file system if that is missing, else run `chown -R \(own): \(path)`, or correct `postgresql.os_user`"
    }

    static func majorVersion(_ directory: String) throws(SystemError) -> Int? {
        guard let bytes = try DurableFile.read(directory + "/PG_VERSION", limit: 64) else { return nil }
        return Int(String(decoding: bytes, as: UTF8.self).trimmed())
    }

    /// Of the control file; where there is none, or a damaged one, what the state directory remembers: whose directory this is stays known.
    static func systemIdentifier(_ settings: InstanceSettings) throws(SystemError) -> UInt64? {
        let bytes = try DurableFile.read(settings.dataDirectory + "/global/pg_control", limit: 65536)
        return bytes.flatMap { ControlFile.systemIdentifier($0) } ?? remembered(settings)
    }

    static func remembered(_ settings: InstanceSettings) -> UInt64? {
        // It only serves to be recognised: not being able to read it is told where it matters, by the rejoin.
        do throws(PostgresError) {
            return try DirectoryIdentity.read(stateDirectory: settings.stateDirectory)?.systemIdentifier
        } catch {
            return nil
        }
    }
}
