import CLinux
import Glibc
import Synchronization

/// Tells at once when a process ends, also one that is not our child (pidfd_open(2)). The exit status is not told.
///
/// The pid may belong to another process by the time this is made: compare `ProcessTable.startTime` afterwards.
public final class ProcessEnd: Sendable {
    private let watch: Watch

    /// - Parameter onEnd: called once, in a thread of its own, also for a process that is a zombie already.
    /// - Throws: ESRCH if there is no such process.
    public init(pid: Int32, onEnd: @escaping @Sendable () -> Void) throws(SystemError) {
        let number = cl_pidfd_open(pid)
        guard number >= 0 else { throw SystemError.last("watch the process \(pid)") }
        let watch = try Watch(process: Descriptor(number), cancelled: Bell(), onEnd: onEnd)
        try OwnThread.start("end of \(pid)") { watch.run() }
        self.watch = watch
    }

    deinit { watch.cancel() }

    /// No call begins after it returned (one that began before may still be running).
    public func cancel() {
        watch.cancel()
    }
}

/// What the thread holds, so that a forgotten `ProcessEnd` can go.
private final class Watch: Sendable {
    private let process: Descriptor
    private let cancelled: Bell
    /// Taken by whoever comes first, the end or the cancellation.
    private let onEnd: Mutex<(@Sendable () -> Void)?>

    init(process: Descriptor, cancelled: Bell, onEnd: @escaping @Sendable () -> Void) {
        self.process = process
        self.cancelled = cancelled
        self.onEnd = Mutex(onEnd)
    }

    func cancel() {
        onEnd.withLock { $0 = nil }
        cancelled.ring()
    }

    func run() {
        let ended = Poll.readable([process.number, cancelled.number], upTo: nil)
        guard ended[0] else { return }
        let callback = onEnd.withLock { callback in
            defer { callback = nil }
            return callback
        }
        callback?()
    }
}
