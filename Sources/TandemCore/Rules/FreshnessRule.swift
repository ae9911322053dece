/// Where the primary was, and when that was heard: from this a standby tells the age of its own data without any wall clock.
struct Freshness: Hashable, Sendable, Codable {
    private var positions = Track()
    private var beats = Track()
    /// What the heartbeat row here showed when it was read last.
    private var read: Reading?

    private struct Reading: Hashable, Sendable, Codable {
        var turn: UInt64
        var beat: UInt64
        var at: Instant
    }

    mutating func primaryWas(at position: LSN, beat: UInt64?, _ heard: Instant) {
        positions.note(position.bytes, heard)
        // A primary that does not know the row says nothing of how long a beat was the newest.
        if let beat { beats.note(beat, heard) } else { beats = Track() }
    }

    /// The row as it was read now; nil: it could not be.
    mutating func rowWasRead(_ row: HeartbeatRow?, at now: Instant) {
        guard let row else { return read = nil }
        // The same reading, told once more.
        guard read?.turn != row.turn else { return }
        read = Reading(turn: row.turn, beat: row.beat, at: now)
    }

    /// When the primary said its last position first.
    var newestFirst: Instant? { positions.newestFirst }

    /// The last position that the primary said.
    var newest: LSN? { positions.newest.map { LSN($0) } }

    /// The age of WAL up to `position`; nil: nothing that the primary said is that old.
    func age(of position: LSN, at now: Instant) -> Duration? { positions.heard(position.bytes).map { now - $0 } }

    /// The age of what was in the row when it was read last; nil: not known. Between two readings it does not grow: the row is read again in
    /// a second, and where it cannot be read, its age is not known.
    var rowAge: Duration? {
        guard let read, let newest = beats.heard(read.beat) else { return nil }
        return max(read.at - newest, .zero)
    }

    mutating func forget() { self = Freshness() }

    /// Numbers that the primary said, and when each was last its newest.
    private struct Track: Hashable, Sendable, Codable {
        private struct Sample: Hashable, Sendable, Codable {
            var number: UInt64
            var heard: Instant
            /// When it was said first.
            var first: Instant
        }
        private var samples: [Sample] = []

        var newest: UInt64? { samples.last?.number }
        /// When the newest number was said first.
        var newestFirst: Instant? { samples.last?.first }

        mutating func note(_ number: UInt64, _ heard: Instant) {
            // Another branch, or a table that was made anew: what was said before says nothing about it.
            if let last = samples.last, number < last.number { samples = [] }
            // Five a second are enough for limits of seconds, and bound the list.
            if let last = samples.last, heard - last.heard < .milliseconds(200), number != last.number { return }
            if let last = samples.last, last.number == number {
                // An idle primary: what was replayed once is as fresh as the newest word.
                samples[samples.count - 1].heard = heard
                return
            }
            samples.append(Sample(number: number, heard: heard, first: heard))
            // What is long ago is kept more and more coarsely: however old the data, its age is known, and said to be less by no more than the time between two looks.
            guard samples.count > 512 else { return }
            samples = samples[..<256].enumerated().filter { $0.offset % 2 == 0 }.map(\.element) + samples[256...]
        }

        func heard(_ number: UInt64) -> Instant? { samples.last { $0.number <= number }?.heard }
    }
}

extension Node {
    /// How old the data of the standby here is; nil: unknown. The greater of two ages: of the WAL that was replayed, and of the heartbeat row
    /// where that is known.
    public func dataAge(at now: Instant) -> Duration? {
        guard let postgres, postgres.isRecovering, let replayed = postgres.replayed,
            let age = freshness.age(of: replayed, at: now)
        else { return nil }
        return max(age, freshness.rowAge ?? .zero)
    }

    /// How old what this standby has received was when its primary came to the last position that it said: what would be lost if that is gone.
    /// A primary that writes no more makes it no older. nil: unknown.
    func receivedAge(at now: Instant) -> Duration? {
        guard let received = postgres?.received, let age = freshness.age(of: received, at: freshness.newestFirst ?? now) else {
            return nil
        }
        return max(age, .zero)
    }
}
