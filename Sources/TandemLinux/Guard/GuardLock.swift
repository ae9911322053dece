import CLinux
import Glibc
import TandemSystem

/// One guard at a time: an exclusive lock on a file beside the board (flock(2)), freed by the kernel however its owner ends. The file
/// stays: removing it would let two guards lock two files of the same name.
final class GuardLock: Sendable {
    private let file: Descriptor
    private let path: String

    init(path: String) throws(SystemError) {
        let number = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else {
            throw SystemError.last(
                "open the guard's lock \(path)", advice: "Make its folder, and let the user who runs the agent write there.")
        }
        self.path = path
        file = Descriptor(number)
    }

    /// Waits until it is ours: a second guard stands by in here.
    func take() throws(SystemError) {
        while flock(file.number, LOCK_EX) != 0 {
            guard errno == EINTR else { throw SystemError.last("take the guard's lock \(path)") }
            if cguard_told_to_end() != 0 { throw SystemError(attempted: "take the guard's lock \(path)", code: EINTR) }
        }
    }

    /// Does not wait. False: another one has it.
    func takeIfFree() -> Bool { flock(file.number, LOCK_EX | LOCK_NB) == 0 }

    /// Whether a guard has it. Two that ask at once do not see each other, as both ask for a shared lock.
    var isTaken: Bool {
        guard flock(file.number, LOCK_SH | LOCK_NB) == 0 else { return true }
        _ = flock(file.number, LOCK_UN)
        return false
    }
}
