/// Where the primary was, and when that was heard: from this a standby tells the age of its own data without any wall clock.
struct Freshness: Hashable, Sendable, Codable {
    private struct Sample: Hashable, Sendable, Codable {
        var position: LSN
        var heard: Instant
    }
    private var samples: [Sample] = []

    mutating func primaryWas(at position: LSN, _ heard: Instant) {
        // Five a second are enough for limits of seconds, and bound the list.
        if let last = samples.last, heard - last.heard < .milliseconds(200), position != last.position { return }
        if let last = samples.last, last.position == position {
            // An idle primary: what was replayed once is as fresh as the newest word.
            samples[samples.count - 1].heard = heard
            return
        }
        samples.append(Sample(position: position, heard: heard))
        if samples.count > 512 { samples.removeFirst(256) }
    }

    /// The last position that the primary said.
    var newest: LSN? { samples.last?.position }

    /// The age of data that was replayed up to `replayed`; nil when nothing the primary said is that old.
    func age(of replayed: LSN, at now: Instant) -> Duration? {
        samples.last { $0.position <= replayed }.map { now - $0.heard }
    }

    mutating func forget() { samples = [] }
}

extension Node {
    /// How old the data of the standby here is; nil: unknown.
    public func dataAge(at now: Instant) -> Duration? {
        guard let postgres, postgres.isRecovering, let replayed = postgres.replayed else { return nil }
        return freshness.age(of: replayed, at: now)
    }
}
