/// The durations that leases rest on (3.1), and the inequality that they must satisfy.
public struct Timing: Hashable, Sendable, Codable {
    /// h: how often a heartbeat is sent.
    public var heartbeat: Duration
    /// L: how long each of the two others promises not to support another primary. Longer than `required`.
    public var lease: Duration
    /// m: the guard acts this long before the lease ends; longer than it takes to kill every process of the instance and to remove
    /// the addresses.
    public var margin: Duration
    /// The slowest usual answer of the arbiter: longer ones cost an outage, never safety.
    public var answer: Duration

    public init(
        heartbeat: Duration = .milliseconds(200), lease: Duration = .seconds(2), margin: Duration = .milliseconds(300),
        answer: Duration = .milliseconds(100)
    ) {
        self.heartbeat = heartbeat
        self.lease = lease
        self.margin = margin
        self.answer = answer
    }

    public static let standard = Timing()
    public static let fast = Timing(
        heartbeat: .milliseconds(40), lease: .milliseconds(400), margin: .milliseconds(100), answer: .milliseconds(40))
    public static let relaxed = Timing(
        heartbeat: .seconds(1), lease: .seconds(10), margin: .milliseconds(300), answer: .milliseconds(500))

    /// The least L by `L ≥ 4·h + m + the slowest usual answer of W` (3.1).
    public var required: Duration { heartbeat * 4 + margin + answer }

    public var isSound: Bool { lease >= required }

    /// The inequality with its numbers, for the message that refuses a configuration.
    public var inequality: String {
        "lease \(lease.milliseconds)ms \(isSound ? "≥" : "<") 4 × heartbeat \(heartbeat.milliseconds)ms + margin \(margin.milliseconds)ms"
            + " + slowest usual answer \(answer.milliseconds)ms = \(required.milliseconds)ms"
    }

    /// ρ: the bound on the relative clock rate error of two hosts, 0.1 % (3.1).
    static let rateError = 1000

    /// L·(1 − ρ): what a lease of the promised length is worth by the holder's own clock.
    static func worth(of promised: Duration) -> Duration { promised - promised / rateError }
}
