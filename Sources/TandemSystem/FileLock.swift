import Glibc

/// An exclusive lock on a file (flock(2)): one agent per state directory. The kernel frees it when its owner ends, however
/// that happens; children do not inherit it.
public final class FileLock: Sendable {
    private let descriptor: Descriptor

    private init(_ descriptor: Descriptor) {
        self.descriptor = descriptor
    }

    /// Does not wait. Nil: another process (or another FileLock of ours) holds it. The file is made if it is absent, and
    /// stays: removing it would let two processes lock two files of the same name.
    public static func acquire(_ path: String) throws(SystemError) -> FileLock? {
        let number = retrying { open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600) }
        guard number >= 0 else { throw SystemError.last("open the lock file \(path)") }
        let descriptor = Descriptor(number)
        if retrying({ flock(number, LOCK_EX | LOCK_NB) }) == 0 { return FileLock(descriptor) }
        if errno == EWOULDBLOCK { return nil }
        throw SystemError.last("lock \(path)")
    }

    /// Frees it before the last reference goes.
    public func release() {
        _ = flock(descriptor.number, LOCK_UN)
    }
}
