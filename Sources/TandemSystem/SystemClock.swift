import Glibc

/// The only clocks of decisions: no person and no time server sets them.
public enum SystemClock {
    /// CLOCK_BOOTTIME in nanoseconds: it counts suspension, and time slewing changes its rate.
    public static func now() -> Int64 { read(CLOCK_BOOTTIME) }

    /// CLOCK_MONOTONIC_RAW in nanoseconds: no slewing reaches it, and it stands still while the machine is suspended. A lease is kept
    /// on both clocks (`protocol.md` 3.1).
    public static func raw() -> Int64 { read(CLOCK_MONOTONIC_RAW) }

    /// What `now()` will be when this span is over.
    public static func after(_ span: Duration) -> Int64 { now() &+ span.nanoseconds }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        // Cannot fail for clocks that exist since Linux 2.6.28 and 2.6.39.
        _ = clock_gettime(clock, &time)
        return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }

    /// Differs after each boot of the host.
    public static func bootID() throws(SystemError) -> String {
        let path = "/proc/sys/kernel/random/boot_id"
        guard let bytes = try DurableFile.read(path, limit: 256) else {
            throw SystemError(attempted: "read \(path)", code: ENOENT, advice: "Mount /proc.")
        }
        let text = String(decoding: bytes.filter { $0 > 0x20 }, as: UTF8.self)
        guard !text.isEmpty else { throw SystemError(attempted: "read \(path)", code: EINVAL) }
        return text
    }

    /// Polls a fact until it holds: true; or the time is over: false. The fact is asked at least once, and once more at the end.
    public static func wait(
        upTo patience: Duration, step: Duration = .milliseconds(2), until fact: () throws -> Bool
    ) rethrows -> Bool {
        let end = after(patience)
        while true {
            let late = now() >= end
            if try fact() { return true }
            if late { return false }
            pause(min(step.nanoseconds, max(0, end &- now())))
        }
    }

    private static func pause(_ nanoseconds: Int64) {
        var left = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        // Interrupted by a signal: the caller looks at its fact a little early, which does no harm.
        _ = nanosleep(&left, nil)
    }
}

extension Duration {
    /// Whole nanoseconds, at the ends of Int64 where it would not fit (292 years).
    public var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, tooBig) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !tooBig else { return seconds < 0 ? .min : .max }
        let (sum, over) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
        return over ? (seconds < 0 ? .min : .max) : sum
    }
}
