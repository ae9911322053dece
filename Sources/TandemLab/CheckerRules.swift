import TandemSystem

// One rule for each promise (hazards.md 3.1: I1, I3, I5, I6).
extension Checker {
    /// Acknowledged is there once; uncertain at most once; refused and unknown never.
    func commitViolations() -> [Violation] {
        guard let rows else { return [] }
        var counts: [Row: Int] = [:]
        for row in rows { counts[row, default: 0] += 1 }
        var violations: [Violation] = []
        let lost = log.acknowledged.filter { counts[Row($0)] == nil }
        if let first = lost.first {
            let example =
                "writer \(first.writer), number \(first.seq), acknowledged by \(first.node) at \(told(first.acknowledged)) "
                + "on timeline \(first.timeline)"
            violations.append(
                Violation(
                    promise: .acknowledgedCommitsStay,
                    evidence: "\(lost.count) acknowledged commits are not there; the first: \(example)."))
        }
        let twice = counts.filter { $0.value > 1 }.keys.sorted { ($0.writer, $0.seq) < ($1.writer, $1.seq) }
        if let first = twice.first {
            violations.append(
                Violation(
                    promise: .acknowledgedCommitsStay,
                    evidence: "\(twice.count) rows are there more than once; the first: writer \(first.writer), "
                        + "number \(first.seq)."))
        }
        let refused = log.refused.filter { counts[Row($0)] != nil }
        if let first = refused.first {
            violations.append(
                Violation(
                    promise: .nothingAppears,
                    evidence: "\(refused.count) commits are there that the server had refused; the first: writer "
                        + "\(first.writer), number \(first.seq), refused with \(first.reason)."))
        }
        let known = Set(log.acknowledged.map(Row.init) + log.uncertain.map(Row.init) + log.refused.map(Row.init))
        let unknown = counts.keys.filter { !known.contains($0) }.sorted { ($0.writer, $0.seq) < ($1.writer, $1.seq) }
        if let first = unknown.first {
            violations.append(
                Violation(
                    promise: .nothingAppears,
                    evidence: "\(unknown.count) rows are there that no client wrote; the first: writer \(first.writer), "
                        + "number \(first.seq)."))
        }
        return violations
    }

    /// A timeline is written by one host, and once a later one has acknowledged, nothing that is sent afterwards is
    /// acknowledged on an earlier one. An answer that was only late (sent before) proves nothing, and is not held against
    /// anybody.
    func acknowledgerViolations() -> [Violation] {
        var violations: [Violation] = []
        var first: [UInt32: AcknowledgedCommit] = [:]
        var shared: Set<UInt32> = []
        for commit in log.acknowledged {
            guard let other = first[commit.timeline] else {
                first[commit.timeline] = commit
                continue
            }
            guard other.node != commit.node, shared.insert(commit.timeline).inserted else { continue }
            violations.append(
                Violation(
                    promise: .oneAcknowledgerAtATime,
                    evidence: "Timeline \(commit.timeline) was written by two hosts: \(other.node) acknowledged at "
                        + "\(told(other.acknowledged)), \(commit.node) at \(told(commit.acknowledged))."))
        }
        let bySending = log.acknowledged.sorted { $0.sent < $1.sent }
        var next = 0
        var latest: AcknowledgedCommit?
        var backwards: [(AcknowledgedCommit, AcknowledgedCommit)] = []
        for commit in bySending {
            while next < log.acknowledged.count, log.acknowledged[next].acknowledged < commit.sent {
                let seen = log.acknowledged[next]
                if seen.timeline > latest?.timeline ?? 0 { latest = seen }
                next += 1
            }
            if let latest, latest.timeline > commit.timeline { backwards.append((latest, commit)) }
        }
        if let (later, earlier) = backwards.first {
            violations.append(
                Violation(
                    promise: .oneAcknowledgerAtATime,
                    evidence: "\(later.node) had acknowledged on timeline \(later.timeline) at \(told(later.acknowledged)); "
                        + "\(earlier.node) still acknowledged on timeline \(earlier.timeline) what was sent at "
                        + "\(told(earlier.sent)) (\(backwards.count) such commits)."))
        }
        return violations
    }

    func addressViolations() -> [Violation] {
        let byAddress = Dictionary(grouping: sightings.sorted { $0.time < $1.time }, by: \.address)
        return byAddress.sorted { $0.key < $1.key }.flatMap { address, seen in
            let stretches = Presence.stretches(seen.map { ($0.hardware, $0.time) }, join: presenceGap)
            return Presence.overlaps(stretches, longerThan: overlapLimit).map { first, second, length in
                Violation(
                    promise: .oneHostPerAddress,
                    evidence: "\(address) was answered by \(name(first.who)) and \(name(second.who)) for "
                        + "\(length.nanoseconds / 1_000_000) ms, from \(told(second.began)) on.")
            }
        }
    }

    func readViolations() -> [Violation] {
        let stretches = Presence.stretches(log.reads.map { ($0.node, $0.answered) }, join: presenceGap)
        return Presence.overlaps(stretches, longerThan: overlapLimit).map { first, second, length in
            Violation(
                promise: .oneReaderAtATime,
                evidence: "\(first.who) and \(second.who) both answered reads for \(length.nanoseconds / 1_000_000) ms, from "
                    + "\(told(second.began)) on.")
        }
    }

    private func name(_ hardware: String) -> String { hostNames[hardware].map { "\($0) (\(hardware))" } ?? hardware }
}

extension Lab {
    /// Everything held against everything: the records of one or more loads, the table on the current primary, and the
    /// sightings.
    /// - Parameter query: runs a statement on the current primary and returns its rows as `column|column`; nil: the table
    ///   is not looked at (while the load runs).
    /// - Parameter overlap: for how long two hosts may answer for one address.
    public func check(
        logs: [ClientLog], sightings: [Sighting], overlap: Duration = Checker.overlapLimit,
        query: ((String) throws(LabError) -> [String])?
    ) throws(LabError) -> CheckReport {
        var log = ClientLog()
        for one in logs {
            log.acknowledged += one.acknowledged
            log.uncertain += one.uncertain
            log.refused += one.refused
            log.reads += one.reads
            log.errors += one.errors
        }
        log.sort()
        var checker = Checker(log: log, sightings: sightings)
        checker.overlapLimit = overlap
        if let query { checker.rows = try Checker.rows(from: try query(LoadSpec.allRows)) }
        for host in machines { checker.hostNames[host.hardwareAddress] = host.name }
        return checker.check()
    }
}
