import NIOCore

/// Lets a text through once per key and interval, and counts what it held back. Bounded: strangers choose the keys.
struct RateLimiter {
    private struct Entry {
        var last: NIODeadline
        var held = 0
    }

    private let interval: TimeAmount
    private let room: Int
    private var entries: [String: Entry] = [:]

    init(every interval: Duration, room: Int = 64) {
        self.interval = TimeAmount(interval)
        self.room = room
    }

    /// Nil: not now. Else how many were held back since the last one.
    mutating func admit(_ key: String, at now: NIODeadline = .now()) -> Int? {
        if let entry = entries[key], now - entry.last < interval {
            entries[key]?.held += 1
            return nil
        }
        let held = entries[key]?.held ?? 0
        if entries.count >= room {
            entries = entries.filter { now - $0.value.last < interval }
            // All of them are recent: a scan from many addresses. It has been told often enough.
            if entries.count >= room, entries[key] == nil { return nil }
        }
        entries[key] = Entry(last: now)
        return held
    }
}
