import CLinux
import Glibc

/// A file descriptor with one owner: closed when the last reference goes.
public final class Descriptor: Sendable {
    public let number: Int32

    /// Takes ownership of an open descriptor.
    public init(_ number: Int32) {
        self.number = number
    }

    deinit { _ = close(number) }

    /// Both ends of a pipe, close-on-exec and never one of the three standard numbers: a daemon may run with those
    /// closed, and a pipe at number 1 would be overwritten while a child's descriptors are laid out.
    static func pipe() throws(SystemError) -> (reading: Descriptor, writing: Descriptor) {
        var pair: [Int32] = [-1, -1]
        guard cl_pipe(&pair) == 0 else { throw SystemError.last("make a pipe") }
        return (try Descriptor(pair[0]).aboveStandard(), try Descriptor(pair[1]).aboveStandard())
    }

    private func aboveStandard() throws(SystemError) -> Descriptor {
        guard number < 3 else { return self }
        let copy = fcntl(number, F_DUPFD_CLOEXEC, 3)
        guard copy >= 0 else { throw SystemError.last("copy a descriptor") }
        return Descriptor(copy)
    }

    func setNonBlocking() throws(SystemError) {
        guard fcntl(number, F_SETFL, fcntl(number, F_GETFL) | O_NONBLOCK) == 0 else {
            throw SystemError.last("make a descriptor non-blocking")
        }
    }
}

/// Wakes one waiting thread (eventfd). A ring is remembered until it is cleared, so none is lost between check and wait.
public final class Bell: Sendable {
    private let descriptor: Descriptor

    public init() throws(SystemError) {
        let number = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard number >= 0 else { throw SystemError.last("make an eventfd") }
        descriptor = Descriptor(number)
    }

    /// For poll(2): readable while rung.
    public var number: Int32 { descriptor.number }

    public func ring() {
        // Fails only when the counter is at its top (EAGAIN): then it is rung already.
        _ = eventfd_write(descriptor.number, 1)
    }

    public func clear() {
        var count: eventfd_t = 0
        // Fails only when it was not rung (EAGAIN).
        _ = eventfd_read(descriptor.number, &count)
    }

    /// True if it is rung within the time; nil waits for ever.
    @discardableResult
    public func wait(upTo patience: Duration? = nil) -> Bool {
        Poll.isReadable(number, upTo: patience)
    }
}

/// poll(2) on a few descriptors.
public enum Poll {
    /// Which of them can be read (or are at their end) within the time; nil waits for ever. All false: the time is over.
    public static func readable(_ numbers: [Int32], upTo patience: Duration?) -> [Bool] {
        let end = patience.map { SystemClock.now() &+ $0.nanoseconds }
        var entries = numbers.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        while true {
            let left: Int32 = end.map { Poll.milliseconds(until: $0) } ?? -1
            let count = poll(&entries, nfds_t(entries.count), left)
            if count > 0 { return entries.map { $0.revents != 0 } }
            if count == 0, left >= 0 { return entries.map { _ in false } }
            // EINTR: a signal came; wait for what is left. Any other error is a broken descriptor: it would spin.
            if count < 0, errno != EINTR { return entries.map { _ in true } }
        }
    }

    /// The same of one, without memory of its own: threads wait in here many times a second.
    static func isReadable(_ number: Int32, upTo patience: Duration?) -> Bool {
        let end = patience.map { SystemClock.now() &+ $0.nanoseconds }
        var entry = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
        while true {
            let left: Int32 = end.map { Poll.milliseconds(until: $0) } ?? -1
            let count = poll(&entry, 1, left)
            if count > 0 { return entry.revents != 0 }
            if count == 0, left >= 0 { return false }
            if count < 0, errno != EINTR { return true }
        }
    }

    /// Rounded up, so that a wait never ends just before its deadline and spins.
    static func milliseconds(until end: Int64) -> Int32 {
        let left = max(0, end &- SystemClock.now())
        return Int32(min(Int64(Int32.max), (left &+ 999_999) / 1_000_000))
    }
}
