import Glibc
import TandemSystem

/// A configuration file that belongs to somebody else: replaced as a whole, with the owner and mode that it had, and never
/// seen half-written or with a wrong owner. What is beside it during the write is removed by the next write.
struct KeptFile: Sendable {
    /// As the user names it.
    let path: String
    /// The user who gets a file that is new; nil: ours.
    let user: String?

    /// The file behind symbolic links, so that the links stay.
    private var place: String { ProcessTable.resolved(path) ?? path }

    /// nil: there is no such file.
    func read(_ attempted: String) throws(PostgresError) -> [UInt8]? {
        do throws(SystemError) {
            return try DurableFile.read(path, limit: 16 << 20)
        } catch {
            throw PostgresError(attempted, error, meaning: "Nothing was changed.")
        }
    }

    /// Writes if the content differs.
    /// - Parameter mode: of a file that is new; one that exists keeps its mode.
    /// - Returns: whether it was written.
    @discardableResult
    func write(_ bytes: [UInt8], newMode mode: UInt32, _ attempted: String) throws(PostgresError) -> Bool {
        if try read(attempted) == bytes { return false }
        do throws(SystemError) {
            try replace(bytes, mode)
        } catch {
            throw PostgresError(
                attempted, error, meaning: "The file is as it was before.",
                advice: "Run the command as root or as the owner of \(path), and look whether its disk has space.")
        }
        return true
    }

    /// Keeps the content of before our first change as `.before-pgtandem`; later calls do nothing.
    func backUpOnce(_ attempted: String) throws(PostgresError) {
        let backup = KeptFile(path: path + KeptFile.backupSuffix, user: user)
        guard try backup.read(attempted) == nil, let content = try read(attempted) else { return }
        do throws(SystemError) {
            guard let facts = try FileFacts.of(path) else { return }
            try backup.replace(content, facts.mode, owner: (facts.ownerID, facts.groupID))
        } catch {
            throw PostgresError(attempted, error, meaning: "Nothing was changed, since no backup could be made.")
        }
    }

    static let backupSuffix = ".before-pgtandem"

    private func replace(_ bytes: [UInt8], _ newMode: UInt32, owner: (UInt32, UInt32)? = nil) throws(SystemError) {
        let place = place
        let facts = try FileFacts.of(place)
        try refuseForeignLink(place, facts)
        let temporary = place + ".pgtandem-new"
        // Of an interrupted run of ours; nobody reads it.
        guard unlink(temporary) == 0 || errno == ENOENT else { throw SystemError.last("remove \(temporary)") }
        let number = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else { throw SystemError.last("create \(temporary)") }
        let file = Descriptor(number)
        do throws(SystemError) {
            // Owner and mode come before the rename: a server that reads it at that moment must be able to.
            var wanted = owner ?? facts.map { ($0.ownerID, $0.groupID) }
            if wanted == nil { wanted = try newOwner() }
            if let wanted { try own(file, wanted, temporary) }
            guard fchmod(number, facts?.mode ?? newMode) == 0 else { throw SystemError.last("set the mode of \(temporary)") }
            try fill(file, bytes, temporary)
            guard rename(temporary, place) == 0 else { throw SystemError.last("rename \(temporary) to \(place)") }
        } catch {
            // Best effort: the first error is the one to tell, and the next run removes it.
            _ = unlink(temporary)
            throw error
        }
        try OwnedFiles.sync(KeptFile.folder(of: place))
    }

    private func newOwner() throws(SystemError) -> (UInt32, UInt32) {
        guard let user, geteuid() == 0 else { return (geteuid(), getegid()) }
        return (try Privileges.userID(of: user), try Privileges.groupID(of: user))
    }

    private func own(_ file: Descriptor, _ wanted: (UInt32, UInt32), _ name: String) throws(SystemError) {
        var status = stat()
        guard fstat(file.number, &status) == 0 else { throw SystemError.last("look at \(name)") }
        if (status.st_uid, status.st_gid) == wanted { return }
        guard fchown(file.number, wanted.0, wanted.1) == 0 else { throw SystemError.last("give \(name) its owner") }
    }

    /// As root we follow no link that leads out of the hands of PostgreSQL's user: he could have made us rewrite any file.
    private func refuseForeignLink(_ place: String, _ facts: FileFacts?) throws(SystemError) {
        guard place != path, let user, geteuid() == 0, let facts else { return }
        let owner = try Privileges.userID(of: user)
        let link = try FileFacts.of(path, followingLinks: false)
        guard facts.ownerID == owner || link?.kind != .symbolicLink else {
            throw SystemError(
                attempted: "follow the link \(path)", code: EPERM,
                advice: "Put the file itself in the link's place, or give \(place) to \(user).")
        }
    }

    private func fill(_ file: Descriptor, _ bytes: [UInt8], _ name: String) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { Glibc.write(file.number, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemError.last("write \(name)") }
            done += count
        }
        guard fsync(file.number) == 0 else { throw SystemError.last("fsync \(name)") }
    }

    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
