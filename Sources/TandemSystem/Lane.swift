import CLinux
import Glibc
import Synchronization

/// One thread that runs jobs in the order they were submitted. Blocking calls belong into a lane, never into the loop.
public final class Lane: Sendable {
    private let work: Work

    /// Never fails visibly: if the kernel gives no thread or descriptor, the process cannot do its duty, and ends.
    /// A deinitialised lane ends after the running job.
    /// - Parameter isPatient: its clock may be 20 ms late (`OwnThread`).
    public init(name: String, isPatient: Bool = false) {
        let work: Work
        do throws(SystemError) {
            work = try Work()
            try OwnThread.start(name, isPatient: isPatient) { work.run() }
        } catch {
            preconditionFailure("the lane \(name) cannot exist: \(error)")
        }
        self.work = work
    }

    deinit { work.refuseMore() }

    /// Dropped without a word after `stop()`.
    public func submit(_ job: @escaping @Sendable () -> Void) {
        work.add(job)
    }

    /// At that reading of `SystemClock`, or as soon as the thread is free then. A lane has one clock: a later call takes its place.
    public func submit(at time: Int64, _ job: @escaping @Sendable () -> Void) {
        work.set(job, at: time)
    }

    /// No new jobs, the waiting ones are dropped; returns after the running one ended (at once if called from a job).
    public func stop() {
        work.refuseMore()
        work.awaitEnd()
    }
}

/// What the thread holds: it must not hold the lane itself, else a forgotten lane would live for ever.
private final class Work: Sendable {
    private struct Queue {
        var jobs: [@Sendable () -> Void] = []
        var timed: (at: Int64, job: @Sendable () -> Void)?
        var open = true
        var thread: pid_t = 0

        mutating func next() -> (@Sendable () -> Void)? {
            if !jobs.isEmpty { return jobs.removeFirst() }
            guard let timed, SystemClock.now() >= timed.at else { return nil }
            self.timed = nil
            return timed.job
        }
    }

    private let queue = Mutex(Queue())
    private let arrived: Bell
    private let ended: Bell

    init() throws(SystemError) {
        arrived = try Bell()
        ended = try Bell()
    }

    func add(_ job: @escaping @Sendable () -> Void) {
        queue.withLock { queue in
            guard queue.open else { return }
            queue.jobs.append(job)
        }
        arrived.ring()
    }

    func set(_ job: @escaping @Sendable () -> Void, at time: Int64) {
        let thread = queue.withLock { queue in
            if queue.open { queue.timed = (time, job) }
            return queue.thread
        }
        // Our own thread looks at its clock before it waits.
        if thread != cl_gettid() { arrived.ring() }
    }

    func refuseMore() {
        queue.withLock { queue in
            queue.open = false
            queue.jobs = []
            queue.timed = nil
        }
        arrived.ring()
    }

    func awaitEnd() {
        guard queue.withLock({ $0.thread }) != cl_gettid() else { return }
        ended.wait()
    }

    func run() {
        queue.withLock { $0.thread = cl_gettid() }
        while true {
            arrived.clear()
            // One at a time, so that stop() drops what was not begun.
            while let job = queue.withLock({ $0.next() }) { job() }
            let (isOpen, time) = queue.withLock { ($0.open, $0.timed?.at) }
            guard isOpen else { break }
            arrived.wait(upTo: time.map { .nanoseconds(max(0, $0 - SystemClock.now())) })
        }
        ended.ring()
    }
}
