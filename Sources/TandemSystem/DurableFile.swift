import Glibc

/// Files that survive a power failure as a whole: a reader sees the old content or the new one, never a mixture.
public enum DurableFile {
    /// The content, or nil if there is no such file.
    /// - Parameter limit: a bigger file is refused (EFBIG): ours are small, a big one is not ours.
    public static func read(_ path: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8]? {
        let number = retrying { open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) }
        guard number >= 0 else {
            if errno == ENOENT { return nil }
            throw SystemError.last("open \(path)")
        }
        let file = Descriptor(number)
        var content: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = retrying { Glibc.read(file.number, &piece, piece.count) }
            guard count >= 0 else { throw SystemError.last("read \(path)") }
            if count == 0 { return content }
            content.append(contentsOf: piece.prefix(count))
            guard content.count <= limit else {
                throw SystemError(
                    attempted: "read \(path)", code: EFBIG,
                    advice: "Look what this file is: at most \(limit) bytes were expected.")
            }
        }
    }

    /// Replaces the content: temporary file in the same folder, fsync, rename, fsync of the folder. When it returns, the
    /// new content survives a power failure; when it throws, the old content stands, unless the last step (fsync of the
    /// folder) failed: then either may be found after a power failure.
    /// - Parameter mode: of the file, independent of the umask.
    public static func write(_ bytes: [UInt8], to path: String, mode: UInt32) throws(SystemError) {
        let temporary = "\(path).new-\(getpid())-\(String(Random.word(), radix: 36))"
        let number = retrying { open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600) }
        guard number >= 0 else { throw SystemError.last("create \(temporary)", advice: advice(errno, path)) }
        do throws(SystemError) {
            try fill(Descriptor(number), bytes, temporary, mode)
            guard rename(temporary, path) == 0 else { throw SystemError.last("rename \(temporary) to \(path)") }
        } catch {
            // Best effort: the first error is the one to tell; a leftover has a name of its own and is never read.
            _ = unlink(temporary)
            throw error
        }
        try syncFolder(of: path)
    }

    /// Absent is fine. When it returns, the file stays away after a power failure.
    public static func remove(_ path: String) throws(SystemError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw SystemError.last("remove \(path)") }
        try syncFolder(of: path)
    }

    private static func fill(
        _ file: Descriptor, _ bytes: [UInt8], _ path: String, _ mode: UInt32
    ) throws(SystemError) {
        guard fchmod(file.number, mode) == 0 else { throw SystemError.last("set the mode of \(path)") }
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { rest in
                retrying { Glibc.write(file.number, rest.baseAddress, rest.count) }
            }
            guard count > 0 else { throw SystemError.last("write \(path)", advice: advice(errno, path)) }
            done += count
        }
        // Not retried after an error: the kernel may have dropped the pages and would then report success.
        guard retrying({ fsync(file.number) }) == 0 else {
            throw SystemError.last("fsync \(path)", advice: advice(errno, path))
        }
    }

    /// What was made, renamed or removed in the folder of this file stays so after a power failure.
    public static func syncFolder(of path: String) throws(SystemError) {
        let folder: String
        switch path.lastIndex(of: "/") {
        case .none: folder = "."
        case .some(path.startIndex): folder = "/"
        case .some(let slash): folder = String(path[..<slash])
        }
        let number = retrying { open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard number >= 0 else {
            // remove() of a file in a folder that does not exist either: nothing to make durable.
            if errno == ENOENT { return }
            throw SystemError.last("open the folder \(folder)")
        }
        let descriptor = Descriptor(number)
        guard retrying({ fsync(descriptor.number) }) == 0 else { throw SystemError.last("fsync the folder \(folder)") }
    }

    private static func advice(_ code: Int32, _ path: String) -> String? {
        switch code {
        case ENOSPC, EDQUOT: "Free space on the file system of \(path)."
        case EROFS: "Look why the file system of \(path) is read-only."
        case EACCES, EPERM: "Make the folder of \(path) writable for the user that runs this program."
        default: nil
        }
    }
}

/// Repeats a call that a signal interrupted.
func retrying<Count: SignedInteger>(_ call: () -> Count) -> Count {
    while true {
        let count = call()
        if count >= 0 || errno != EINTR { return count }
    }
}
