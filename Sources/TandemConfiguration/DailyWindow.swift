/// Hours of the day, by this host's local time: `always`, or from one minute to before another, over midnight if the first is the later one.
public enum DailyWindow: Hashable, Sendable, CustomStringConvertible {
    case always
    /// Minutes since midnight; never equal.
    case daily(from: Int, to: Int)

    /// - Parameter minute: since midnight, by the local clock.
    public func isOpen(at minute: Int) -> Bool {
        switch self {
        case .always: true
        case .daily(let from, let to): from < to ? (from..<to).contains(minute) : minute >= from || minute < to
        }
    }

    public var description: String {
        switch self {
        case .always: "always"
        case .daily(let from, let to): "\(Self.clock(from))-\(Self.clock(to))"
        }
    }

    static func parse(_ text: String) throws(ValueError) -> DailyWindow {
        if text == "always" { return .always }
        let advice = "Write `always`, or hours of the day by this host's clock: `\"01:00-05:00\"`."
        let ends = text.split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let from = minute(ends[0]), let to = minute(ends[1]) else {
            throw ValueError("`\(text)` is no window", advice: advice)
        }
        guard from != to else { throw ValueError("`\(text)` is never open", advice: advice) }
        return .daily(from: from, to: to)
    }

    /// `24:00` is the end of the day.
    private static func minute(_ text: Substring) -> Int? {
        let parts = text.drop { $0 == " " }.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2,
            parts.allSatisfy({ (1...2).contains($0.utf8.count) && $0.utf8.allSatisfy { (48...57).contains($0) } }),
            parts[1].utf8.count == 2, let hour = Int(parts[0]), let minute = Int(parts[1]), minute < 60,
            hour < 24 || (hour == 24 && minute == 0)
        else { return nil }
        return (hour * 60 + minute) % 1440
    }

    private static func clock(_ minute: Int) -> String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(two(minute / 60)):\(two(minute % 60))"
    }
}
