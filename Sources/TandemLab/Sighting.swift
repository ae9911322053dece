/// Evidence of who has a virtual address.
public struct Sighting: Sendable, Equatable {
    public enum Source: Sendable, Equatable {
        /// It spoke in the address's name unasked, or to others: the switch's port where the frame came in.
        case claimed(port: LabPort)
        /// It answered the observer's question.
        case answered
    }

    /// CLOCK_BOOTTIME, nanoseconds.
    public var time: Int64
    public var address: String
    /// The answer's hardware address, as 02:77:00:00:00:0b.
    public var hardware: String
    public var source: Source

    public init(time: Int64, address: String, hardware: String, source: Source) {
        self.time = time
        self.address = address
        self.hardware = hardware
        self.source = source
    }
}

/// A stretch of time in which somebody was seen again and again.
struct Presence: Equatable {
    var who: String
    var began: Int64
    var ended: Int64

    /// Joins what was seen of each one as long as no gap is longer than `join`.
    /// - Parameter seen: in the order of time.
    static func stretches(_ seen: [(who: String, at: Int64)], join: Duration) -> [Presence] {
        var open: [String: Presence] = [:]
        var closed: [Presence] = []
        for (who, at) in seen {
            if var last = open[who], at - last.ended <= join.nanoseconds {
                last.ended = max(last.ended, at)
                open[who] = last
            } else {
                if let last = open[who] { closed.append(last) }
                open[who] = Presence(who: who, began: at, ended: at)
            }
        }
        return (closed + open.values).sorted { ($0.began, $0.who) < ($1.began, $1.who) }
    }

    /// Pairs of different ones that were there together for longer than the limit.
    static func overlaps(_ stretches: [Presence], longerThan limit: Duration) -> [(Presence, Presence, Duration)] {
        var found: [(Presence, Presence, Duration)] = []
        for (index, first) in stretches.enumerated() {
            for second in stretches[(index + 1)...] {
                // They are ordered by their beginnings.
                if second.began > first.ended { break }
                let length = min(first.ended, second.ended) - second.began
                guard first.who != second.who, length > limit.nanoseconds else { continue }
                found.append((first, second, .nanoseconds(length)))
            }
        }
        return found
    }
}
