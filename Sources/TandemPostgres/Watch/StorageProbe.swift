import Glibc
import TandemCore
import TandemSystem

/// One look at the storage below a data directory: a file of our own is written, made durable and removed, in the data directory and, where
/// that is another file system, in `pg_wal`. Blocks for as long as the storage does.
///
/// Base copies and `pg_rewind` leave out every file of this prefix below a folder (PostgreSQL manual, "Base Backup" of the streaming
/// replication protocol: `pgsql_tmp`), so it never travels to the other host.
struct StorageProbe: Sendable {
    static let fileName = "pgsql_tmp.pgtandem"
    /// A page, and not zeros, which some file systems keep without storing them.
    private static let content = [UInt8](repeating: 0x5A, count: 8192)

    let dataDirectory: String
    /// It was found once: from then on its absence means something.
    private var wasThere = false
    private var wasLow = false

    init(dataDirectory: String) { self.dataDirectory = dataDirectory }

    /// nil: there is nothing to be said, as there is no data directory yet, or one that this process may not write to.
    mutating func look() -> Storage? {
        var version = stat()
        guard stat(dataDirectory + "/PG_VERSION", &version) == 0 else {
            let code = errno
            if let trouble = Self.trouble(code, "look at \(dataDirectory)/PG_VERSION") { return trouble }
            guard code == ENOENT, wasThere else { return nil }
            return .gone("\(dataDirectory) is empty, or gone")
        }
        wasThere = true
        var worst: Storage? = .well
        for folder in folders(of: version.st_dev) {
            switch write(in: folder) {
            case .low(let what)?: if worst == .well { worst = .low(what) }
            case .well?: break
            case let other?: return other
            case nil: worst = nil
            }
        }
        if let worst { wasLow = worst != .well }
        return worst
    }

    private func folders(of device: dev_t) -> [String] {
        let (data, wal) = (dataDirectory + "/global", dataDirectory + "/pg_wal")
        var facts = stat()
        return stat(wal, &facts) == 0 && facts.st_dev != device ? [data, wal] : [data]
    }

    private func write(in folder: String) -> Storage? {
        let path = "\(folder)/\(Self.fileName)"
        let number = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0o600)
        guard number >= 0 else { return Self.trouble(errno, "create \(path)") }
        let trouble = fill(Descriptor(number), path)
        if unlink(path) != 0, trouble == nil, errno != ENOENT { return Self.trouble(errno, "remove \(path)") }
        return trouble ?? room(folder)
    }

    private func fill(_ file: Descriptor, _ path: String) -> Storage? {
        var done = 0
        while done < Self.content.count {
            let count = Self.content[done...].withUnsafeBytes { Glibc.write(file.number, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return Self.trouble(count < 0 ? errno : ENOSPC, "write \(path)") }
            done += count
        }
        // Once, and not again after an error: the kernel may have dropped the pages and would then report success.
        return fsync(file.number) == 0 ? nil : Self.trouble(errno, "fsync \(path)")
    }

    /// Less than a tenth, and less than 5 GiB: time to stop keeping WAL for somebody who is absent. It is over at half as much again.
    private func room(_ folder: String) -> Storage {
        do throws(SystemError) {
            let (free, total) = try FileFacts.space(onFileSystemOf: folder)
            let limit = min(total / 10, 5 << 30)
            guard free < (wasLow ? limit + limit / 2 : limit) else { return .well }
            return .low("only \(free >> 20) MB of \(total >> 20) MB on the file system of \(folder)")
        } catch {
            // The write itself came through.
            return .well
        }
    }

    /// nil: an error that says nothing about the storage (no permission, no descriptor, no memory).
    private static func trouble(_ code: Int32, _ attempted: String) -> Storage? {
        let what = "\(attempted): \(SystemError(attempted: attempted, code: code).reason)"
        switch code {
        case ENOSPC, EDQUOT: return .full("the disk is full (\(what))")
        case EROFS: return .readOnly("the file system is read-only (\(what))")
        case EIO, ENXIO, ENODEV, EREMOTEIO, ESTALE, ENOTCONN, ETIMEDOUT, EUCLEAN, EBADMSG, ESHUTDOWN:
            return .failing("the disk fails (\(what))")
        default: return nil
        }
    }
}
