import TandemSystem

/// A promise that was broken, with its evidence.
public struct Violation: Sendable, Equatable, CustomStringConvertible {
    public enum Promise: String, Sendable, CaseIterable {
        case acknowledgedCommitsStay = "an acknowledged commit is there, exactly once"
        case nothingAppears = "nothing is there that no client wrote"
        case oneAcknowledgerAtATime = "only one host acknowledges commits at a time"
        case oneHostPerAddress = "an address is answered by one host only"
        case oneReaderAtATime = "reads through the standby address come from one host at a time"
    }

    public var promise: Promise
    /// What was seen, in plain words.
    public var evidence: String

    public var description: String { "Broken: \(promise.rawValue). \(evidence)" }
}

/// What was checked and found.
public struct CheckReport: Sendable {
    public var violations: [Violation]
    public var acknowledged: Int
    public var uncertain: Int
    /// Of the uncertain ones, how many are there; nil: the table was not looked at.
    public var uncertainPresent: Int?
    public var refused: Int
    /// Acknowledged and not there; nil: the table was not looked at.
    public var lost: Int?
    public var reads: Int
    /// Nil: fewer than two.
    public var longestWriteGap: Duration?
    public var longestReadGap: Duration?
    public var sightings: Int

    public var holds: Bool { violations.isEmpty }

    /// A few lines for people.
    public var summary: String {
        func told(_ duration: Duration?) -> String {
            guard let duration else { return "unknown" }
            let tenths = duration.nanoseconds / 100_000
            return "\(tenths / 10).\(tenths % 10) ms"
        }
        let table = lost.map { "\($0) lost, \(uncertainPresent ?? 0) of \(uncertain) uncertain ones are there" }
        return
            ([
                "\(acknowledged) commits acknowledged, \(uncertain) uncertain, \(refused) refused; "
                    + (table ?? "the table was not looked at"),
                "\(reads) reads; longest gap: writes \(told(longestWriteGap)), reads \(told(longestReadGap))",
            ] + violations.map(\.description)).joined(separator: "\n")
    }
}

/// Holds what clients and the wire saw against what the pair promises. Pure: it asks nobody.
public struct Checker: Sendable {
    /// A row of the load's table.
    public struct Row: Hashable, Sendable {
        public var writer: Int
        public var seq: Int64

        public init(writer: Int, seq: Int64) {
            self.writer = writer
            self.seq = seq
        }
    }

    public var log: ClientLog
    /// The table after the load has ended; nil: not looked at (a check while the load runs).
    public var rows: [Row]?
    public var sightings: [Sighting]
    /// For how long two hosts may both be seen with an address: announcements and answers under way.
    public var overlapLimit = Checker.overlapLimit
    public static let overlapLimit = Duration.milliseconds(500)
    /// Who was not seen for so long is not there any more: five questions of the sniffer.
    public var presenceGap: Duration = .milliseconds(250)
    /// Who a hardware address belongs to, for the evidence.
    public var hostNames: [String: String] = [:]
    /// Times in the evidence are told relative to this (CLOCK_BOOTTIME, ns).
    public var startTime: Int64

    public init(log: ClientLog, rows: [Row]? = nil, sightings: [Sighting] = []) {
        self.log = log
        self.rows = rows
        self.sightings = sightings
        startTime = [log.acknowledged.first?.sent, log.reads.first?.sent, sightings.first?.time].compactMap { $0 }.min() ?? 0
    }

    /// From the output of `LoadSpec.allRows`: lines `writer|seq`.
    /// - Throws: a line of another form; leaving it out would look like a lost commit.
    public static func rows(from lines: [String]) throws(LabError) -> [Row] {
        var rows: [Row] = []
        for line in lines {
            let fields = line.split(separator: "|")
            guard fields.count == 2, let writer = Int(fields[0]), let seq = Int64(fields[1]) else {
                throw LabError(attempted: "read the load's table", happened: "a line is \(line)")
            }
            rows.append(Row(writer: writer, seq: seq))
        }
        return rows
    }

    public func check() -> CheckReport {
        var violations = commitViolations()
        violations += acknowledgerViolations()
        violations += addressViolations()
        violations += readViolations()
        let table = rows.map(Set.init)
        return CheckReport(
            violations: violations, acknowledged: log.acknowledged.count, uncertain: log.uncertain.count,
            uncertainPresent: table.map { table in log.uncertain.count { table.contains(Row($0)) } }, refused: log.refused.count,
            lost: table.map { table in log.acknowledged.count { !table.contains(Row($0)) } }, reads: log.reads.count,
            longestWriteGap: longestGap(log.acknowledged.map(\.acknowledged)),
            longestReadGap: longestGap(log.reads.map(\.answered)),
            sightings: sightings.count)
    }

    private func longestGap(_ times: [Int64]) -> Duration? {
        zip(times.dropFirst(), times).map { $0 - $1 }.max().map { .nanoseconds($0) }
    }

    /// Seconds since the start, for people.
    func told(_ time: Int64) -> String {
        let milliseconds = (time - startTime) / 1_000_000
        let rest = abs(milliseconds % 1000)
        return "\(milliseconds / 1000).\(rest < 100 ? "0" : "")\(rest < 10 ? "0" : "")\(rest) s"
    }
}

extension Checker.Row {
    init(_ commit: AcknowledgedCommit) { self.init(writer: commit.writer, seq: commit.seq) }
    init(_ commit: UnacknowledgedCommit) { self.init(writer: commit.writer, seq: commit.seq) }
}
