/// A reading of the host's clock that counts suspension (CLOCK_BOOTTIME on Linux), in nanoseconds since the host booted.
///
/// Never wall time: no decision depends on a date (`protocol.md` 3.1). Readings of two hosts, or of two boots of one host, are
/// not comparable.
public struct Instant: Hashable, Comparable, Sendable, Codable {
    public var nanoseconds: Int64

    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    public static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }
    public static func + (a: Instant, b: Duration) -> Instant { Instant(nanoseconds: a.nanoseconds + b.nanoseconds) }
    public static func - (a: Instant, b: Duration) -> Instant { Instant(nanoseconds: a.nanoseconds - b.nanoseconds) }
    public static func - (a: Instant, b: Instant) -> Duration { .nanoseconds(a.nanoseconds - b.nanoseconds) }
}

/// One moment on both clocks that leases are kept on (3.1): CLOCK_BOOTTIME, whose rate time slewing changes, and
/// CLOCK_MONOTONIC_RAW, which no slewing reaches but which stands still while the machine is suspended. Both begin anew at boot.
public struct Moment: Hashable, Sendable, Codable {
    public var boot: Instant
    public var raw: Instant

    public init(boot: Instant, raw: Instant) {
        self.boot = boot
        self.raw = raw
    }

    public static func + (a: Moment, b: Duration) -> Moment { Moment(boot: a.boot + b, raw: a.raw + b) }
    public static func - (a: Moment, b: Duration) -> Moment { Moment(boot: a.boot - b, raw: a.raw - b) }

    /// As a lease: it has ended when the FIRST of the clocks says so (3.1).
    public func hasEnded(at now: Moment) -> Bool { now.boot >= boot || now.raw >= raw }

    /// As a promise: it is kept until the LAST of the clocks says that it is over (3.1).
    public func isKept(at now: Moment) -> Bool { now.boot < boot || now.raw < raw }

    /// The later one, on each clock.
    func extended(to other: Moment?) -> Moment {
        guard let other else { return self }
        return Moment(boot: max(boot, other.boot), raw: max(raw, other.raw))
    }
}

extension Duration {
    /// The whole duration in nanoseconds; durations of ours are far below the 292 years that fit.
    var nanoseconds: Int64 { Int64(attoseconds / 1_000_000_000) }

    /// The library's own takes any kind of integer, and a hundred times as long; a node multiplies its heartbeat many times at every step.
    static func * (span: Duration, count: Int) -> Duration { Duration(attoseconds: span.attoseconds * Int128(count)) }

    /// Milliseconds, rounded down: for messages and status documents.
    public var milliseconds: Int64 { nanoseconds / 1_000_000 }

    /// `2s`, `1.5s`, `200ms`: the way durations are written in the configuration.
    public var text: String {
        let ms = milliseconds
        if ms % 1000 == 0 && ms != 0 { return "\(ms / 1000)s" }
        if ms >= 1000 { return "\(ms / 1000).\(ms % 1000 / 100)s" }
        return "\(ms)ms"
    }
}
