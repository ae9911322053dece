import Glibc

/// What the file system says of a file: to check owner and mode of secrets, and what a data directory is.
public struct FileFacts: Equatable, Sendable {
    public enum Kind: Equatable, Sendable { case file, directory, symbolicLink, characterDevice, blockDevice, pipe, socket }

    public var kind: Kind
    public var ownerID: UInt32
    public var groupID: UInt32
    /// The twelve permission bits.
    public var mode: UInt32
    public var sizeBytes: Int64
    /// The file system it is on: differs when a mount is missing.
    public var deviceID: UInt64
    public var fileNumber: UInt64

    /// True if neither the group nor others may read, write or execute it.
    public var isPrivate: Bool { mode & 0o077 == 0 }

    /// Nil: no such file.
    /// - Parameter followingLinks: false tells about a symbolic link itself.
    public static func of(_ path: String, followingLinks: Bool = true) throws(SystemError) -> FileFacts? {
        var status = stat()
        guard (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw SystemError.last("look at \(path)")
        }
        return FileFacts(
            kind: kind(status.st_mode), ownerID: status.st_uid, groupID: status.st_gid, mode: status.st_mode & 0o7777,
            sizeBytes: Int64(status.st_size), deviceID: UInt64(status.st_dev), fileNumber: UInt64(status.st_ino))
    }

    /// When the file, or what the file system says of it, was last changed, in nanoseconds of the wall clock (st_ctime, inode(7)). No program can
    /// set it: a copy, or a file out of a backup, has the time at which it was made. Nil: no such file.
    public static func changeTime(of path: String) throws(SystemError) -> Int64? {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw SystemError.last("look at \(path)")
        }
        return Int64(status.st_ctim.tv_sec) * 1_000_000_000 + Int64(status.st_ctim.tv_nsec)
    }

    /// Bytes that a user without privileges can still write on the file system of the path, and its size.
    public static func space(onFileSystemOf path: String) throws(SystemError) -> (freeBytes: Int64, totalBytes: Int64) {
        var status = statvfs()
        guard retrying({ statvfs(path, &status) }) == 0 else {
            throw SystemError.last("look at the file system of \(path)")
        }
        let block = UInt64(status.f_frsize)
        return (
            Int64(clamping: UInt64(status.f_bavail).multipliedReportingOverflow(by: block).partialValue),
            Int64(clamping: UInt64(status.f_blocks).multipliedReportingOverflow(by: block).partialValue)
        )
    }

    private static func kind(_ mode: mode_t) -> Kind {
        switch mode & S_IFMT {
        case S_IFDIR: .directory
        case S_IFLNK: .symbolicLink
        case S_IFCHR: .characterDevice
        case S_IFBLK: .blockDevice
        case S_IFIFO: .pipe
        case S_IFSOCK: .socket
        default: .file
        }
    }
}
