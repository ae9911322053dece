import NIOCore

/// How many frames one connection may still send: it fills with time, up to a second's worth.
struct FrameBudget {
    /// How long nothing is read from a connection that has sent too many.
    static let pause = TimeAmount.milliseconds(100)

    private let perSecond: Double
    private var left: Double
    private var filled: NIODeadline

    init(perSecond: Int, at now: NIODeadline = .now()) {
        self.perSecond = Double(perSecond)
        left = self.perSecond
        filled = now
    }

    /// Whether one more is allowed now.
    mutating func take(at now: NIODeadline = .now()) -> Bool {
        left = min(perSecond, left + Double((now - filled).nanoseconds) / 1e9 * perSecond)
        filled = now
        guard left >= 1 else { return false }
        left -= 1
        return true
    }
}
