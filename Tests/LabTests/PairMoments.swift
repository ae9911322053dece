import TandemLab
import TandemSystem
import Testing

/// What the agents said at a moment, to be held against what they say later.
struct PairMoment {
    var time: Int64
    /// By node; none for an agent that did not answer.
    var terms: [String: UInt64]
    var primary: String?
}

/// A stretch of time in which one host acknowledged commits, on one timeline.
struct AcknowledgingStretch: Equatable, CustomStringConvertible {
    var node: String
    var timeline: UInt32
    /// CLOCK_BOOTTIME: of the first acknowledgement and of the last.
    var began: Int64
    var ended: Int64
    var commits: Int

    var description: String { "\(node): \(commits) commits on timeline \(timeline) in \((ended - began) / 1_000_000) ms" }
}

extension PairOnHosts {
    func moment() -> PairMoment {
        let statuses = [a, b].compactMap(statusIfAny)
        return PairMoment(
            time: SystemClock.now(),
            terms: Dictionary(statuses.compactMap { status in status.term.map { (status.node, $0) } }) { $1 },
            primary: statuses.first { $0.role.hasPrefix("primary") }?.node)
    }

    /// Which host acknowledged commits when, in the order of time: one stretch unless the roles moved.
    func acknowledgers(since began: Int64) throws -> [AcknowledgingStretch] {
        try clientLog().acknowledged.filter { $0.acknowledged >= began }.reduce(into: []) { stretches, commit in
            if let last = stretches.last, last.node == commit.node, last.timeline == commit.timeline {
                stretches[stretches.count - 1].ended = commit.acknowledged
                stretches[stretches.count - 1].commits += 1
            } else {
                stretches.append(
                    AcknowledgingStretch(
                        node: commit.node, timeline: commit.timeline, began: commit.acknowledged, ended: commit.acknowledged,
                        commits: 1))
            }
        }
    }

    /// The longest time without an acknowledged commit; as long as it lasts, up to now.
    func longestWriteOutage(since began: Int64) throws -> Duration { try outage(since: began).writes.longestGap }

    /// When the first commit was acknowledged by that host on a later timeline than before: the end of a failover, as clients see it.
    func firstCommit(by host: LabHost, since began: Int64) throws -> AcknowledgedCommit? {
        let log = try clientLog().acknowledged
        let before = log.last { $0.acknowledged < began }?.timeline ?? 0
        return log.first { $0.acknowledged >= began && $0.node == host.name && $0.timeline > before }
    }

    /// Since that moment nobody has taken over: the agents that answer have the terms that they had (one that did not answer then has
    /// the primary's), the primary is the same, and only it has acknowledged.
    func noNeedlessFailover(since moment: PairMoment, at place: SourceLocation = #_sourceLocation) throws {
        let changes = try changes(since: moment)
        #expect(changes.isEmpty, "the roles have moved", sourceLocation: place)
    }

    /// Everything that tells of a change of roles since then, in words.
    func changes(since moment: PairMoment) throws -> [String] {
        guard let primary = moment.primary, let term = moment.terms[primary] else {
            throw Told("nobody was primary at that moment: there is nothing to compare with")
        }
        let now = self.moment()
        var changes: [String] = []
        if now.terms[primary] == nil { changes.append("the agent of \(primary), the primary, does not answer") }
        if now.primary != primary { changes.append("the primary was \(primary) and is \(now.primary ?? "nobody")") }
        for (node, other) in now.terms.sorted(by: { $0.key < $1.key }) {
            let before = moment.terms[node] ?? term
            if other != before { changes.append("the term of \(node) was \(before) and is \(other)") }
        }
        let stretches = try acknowledgers(since: moment.time)
        if stretches.count > 1 || stretches.contains(where: { $0.node != primary }) {
            changes.append("acknowledged: \(stretches)")
        }
        return changes
    }
}
