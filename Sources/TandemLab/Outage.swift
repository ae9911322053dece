/// How long clients were without answers in a window of time.
public struct Outage: Sendable, Equatable {
    /// Between two answers that follow each other, at least one of them inside the window; or from the last answer to the
    /// window's end, if none came any more.
    public var longestGap: Duration
    /// Where that gap began and ended (CLOCK_BOOTTIME, ns).
    public var began: Int64
    public var ended: Int64
    /// False: no answer came after it, in the window or later.
    public var hasEnded: Bool
    /// The median gap in the window: what is normal.
    public var usualGap: Duration
    /// Answers inside the window.
    public var answers: Int

    /// - Parameters:
    ///   - times: of answers, ascending; also those outside the window, so that a gap over its edge has its true length.
    init(times: [Int64], from: Int64, to: Int64) {
        var gaps: [Int64] = []
        var longest: (length: Int64, began: Int64, ended: Int64, hasEnded: Bool) = (-1, from, from, true)
        func consider(_ began: Int64, _ ended: Int64, hasEnded: Bool) {
            gaps.append(ended - began)
            if ended - began > longest.length { longest = (ended - began, began, ended, hasEnded) }
        }
        let first = times.partitioningIndex { $0 >= from }
        let afterLast = times.partitioningIndex { $0 > to }
        // The answer before the window, or its beginning where there is none.
        var previous = first > 0 ? times[first - 1] : from
        for time in times[first..<afterLast] {
            consider(previous, time, hasEnded: true)
            previous = time
        }
        if afterLast < times.count {
            consider(previous, times[afterLast], hasEnded: true)
        } else {
            consider(previous, max(to, previous), hasEnded: false)
        }
        gaps.sort()
        longestGap = .nanoseconds(max(0, longest.length))
        began = longest.began
        ended = longest.ended
        hasEnded = longest.hasEnded
        usualGap = .nanoseconds(gaps[gaps.count / 2])
        answers = afterLast - first
    }
}

extension ClientLog {
    /// Of commits. `from` and `to`: CLOCK_BOOTTIME, nanoseconds.
    public func writeOutage(from: Int64, to: Int64) -> Outage {
        Outage(times: acknowledged.map(\.acknowledged), from: from, to: to)
    }

    /// Of reads through the standby address.
    public func readOutage(from: Int64, to: Int64) -> Outage {
        Outage(times: reads.map(\.answered), from: from, to: to)
    }
}

extension Array {
    /// The first index whose element fulfils the claim; the array must hold those that do not before those that do.
    func partitioningIndex(where claim: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if claim(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
