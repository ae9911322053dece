import TandemLab
import TandemWire

/// What was measured, as text and as JSON.
struct BenchReport: Encodable {
    /// Milliseconds.
    struct Figures: Encodable {
        var values: [Double] = []
        var median: Double? { Self.median(values) }

        static func median(_ values: [Double]) -> Double? {
            let sorted = values.sorted()
            guard !sorted.isEmpty else { return nil }
            let middle = sorted.count / 2
            return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
        }

        private enum Key: String, CodingKey { case median, min, max, values }

        func encode(to encoder: any Encoder) throws {
            var fields = encoder.container(keyedBy: Key.self)
            try fields.encodeIfPresent(median, forKey: .median)
            try fields.encodeIfPresent(values.min(), forKey: .min)
            try fields.encodeIfPresent(values.max(), forKey: .max)
            try fields.encode(values, forKey: .values)
        }
    }

    struct Measured: Encodable {
        /// What happened; of a loss, the crash: less cannot be done by anybody who is told at once.
        var floor = Figures()
        var ours = Figures()
        /// Of the medians.
        var ratio: Double?
        /// Milliseconds, of the longest run; nil: the ratio is what is limited.
        var limit: Double?
        var isWithinLimit = false
        var phases = BenchPhase.allCases.map { Phase(name: $0) }
        /// Between commits after the roles had moved and until the pair was whole again.
        var longestGapLater = Figures()

        fileprivate mutating func judge() {
            if let low = floor.median, let high = ours.median, low > 0 { ratio = high / low }
            isWithinLimit =
                if let limit { (ours.values.max() ?? .infinity) <= limit } else { (ratio ?? .infinity) <= BenchCase.ratioLimit }
        }
    }

    struct Phase: Encodable {
        var name: BenchPhase
        var floor = Figures()
        var ours = Figures()
    }

    let runs: Int
    let writesPerSecond: Double
    let writers: Int
    /// Sessions of `pgbench` beside the writers; nil: none.
    let pgbenchClients: Int?
    private(set) var measured: [BenchCase: Measured] = [:]
    private var floors: [BenchKind: (whole: Figures, phases: [BenchPhase: [Double]])] = [:]
    private(set) var acknowledgedCommits = 0
    private(set) var lostCommits = 0
    private(set) var violations: [String] = []
    private var checks = 0

    init(runs: Int, spec: LoadSpec, pgbenchClients: Int?) {
        self.runs = runs
        writesPerSecond = spec.writesPerSecond ?? 0
        writers = spec.writers
        self.pgbenchClients = pgbenchClients
    }

    mutating func addFloor(_ kind: BenchKind, _ view: ClientsView, _ phases: BenchPhases) {
        var floor = floors[kind] ?? (Figures(), [:])
        floor.whole.values.append(Self.milliseconds(view.outage.longestGap))
        for (phase, length) in phases.lengths { floor.phases[phase, default: []].append(length) }
        floors[kind] = floor
    }

    mutating func add(_ row: BenchCase, _ view: ClientsView, _ phases: BenchPhases) {
        var measured = measured[row] ?? Measured(limit: row.limit)
        let floor = floors[row.kind.hasFloor ? row.kind : .crash]
        measured.floor = floor?.whole ?? Figures()
        measured.ours.values.append(Self.milliseconds(view.outage.longestGap))
        measured.longestGapLater.values.append(Self.milliseconds(view.longestLater))
        for index in measured.phases.indices {
            let name = measured.phases[index].name
            if row.kind.hasFloor { measured.phases[index].floor.values = floor?.phases[name] ?? [] }
            measured.phases[index].ours.values += phases.lengths[name].map { [$0] } ?? []
        }
        measured.judge()
        self.measured[row] = measured
    }

    /// Of each pair, when it was measured.
    mutating func add(_ check: CheckReport) {
        checks += 1
        acknowledgedCommits += check.acknowledged
        lostCommits += check.lost ?? 0
        violations += check.violations.map(\.description)
    }

    var isWithinLimit: Bool { !measured.isEmpty && measured.values.allSatisfy(\.isWithinLimit) }
    /// Numbers of a pair that breaks a promise are worth nothing.
    var isSound: Bool { checks > 0 && violations.isEmpty }
    /// In the order of the text.
    private var rows: [(BenchCase, Measured)] { BenchCase.all.compactMap { row in measured[row].map { (row, $0) } } }

    private enum Key: String, CodingKey {
        case runs, writesPerSecond, writers, pgbenchClients, crash, switchover, powerOff, cutOff, hang, acknowledgedCommits,
            lostCommits,
            violations
    }

    private enum ProfileKey: String, CodingKey { case standard, fast }

    func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: Key.self)
        try fields.encode(runs, forKey: .runs)
        try fields.encode(writesPerSecond, forKey: .writesPerSecond)
        try fields.encode(writers, forKey: .writers)
        try fields.encodeIfPresent(pgbenchClients, forKey: .pgbenchClients)
        for (kind, key) in [(BenchKind.crash, Key.crash), (.switchover, .switchover)] {
            try fields.encodeIfPresent(measured[BenchCase(kind: kind, profile: .standard)], forKey: key)
        }
        for (kind, key) in [(BenchKind.powerOff, Key.powerOff), (.cutOff, .cutOff), (.hang, .hang)]
        where rows.contains(where: { $0.0.kind == kind }) {
            var profiles = fields.nestedContainer(keyedBy: ProfileKey.self, forKey: key)
            for (profile, key) in [(BenchProfile.standard, ProfileKey.standard), (.fast, .fast)] {
                try profiles.encodeIfPresent(measured[BenchCase(kind: kind, profile: profile)], forKey: key)
            }
        }
        try fields.encode(acknowledgedCommits, forKey: .acknowledgedCommits)
        try fields.encode(lostCommits, forKey: .lostCommits)
        try fields.encode(violations, forKey: .violations)
    }

    func json() throws -> String { String(decoding: try JSON.encode(self, pretty: true), as: UTF8.self) }

    private static func milliseconds(_ duration: Duration) -> Double { duration / .milliseconds(1) }
}

// MARK: - for people

extension BenchReport {
    var text: String {
        var lines = [
            "Time without a primary, as clients see it (ms): \(runs) runs, \(writers) writers, \(Int(writesPerSecond)) commits/s"
                + (pgbenchClients.map { ", beside `pgbench` with \($0) clients" } ?? ""),
            "",
            Self.row(["", "median", "min", "max", ""]),
        ]
        for kind in BenchKind.allCases {
            if let floor = floors[kind] { lines.append(row("\(kind.words), floor", floor.whole)) }
            for (row, measured) in rows where row.kind == kind {
                let name = kind.hasFloor ? "\(row.words), pgtandem" : row.words
                lines.append(self.row(name, measured.ours, Self.remark(measured)))
            }
        }
        for (row, measured) in rows {
            lines += [
                "",
                Self.row(["Parts of \(row.words)", "floor", "pgtandem", "max", "medians, and pgtandem's longest (ms)"]),
            ]
            lines += measured.phases.filter { $0.ours.median != nil }.map { phase in
                let numbers = [phase.floor.median, phase.ours.median, phase.ours.values.max()].map { $0.map(Self.tenths) ?? "-" }
                return Self.row([phase.name.rawValue] + numbers + [phase.name.meaning(row.kind)])
            }
            let later = [measured.longestGapLater.median, measured.longestGapLater.values.max()].map {
                $0.map(Self.tenths) ?? "-"
            }
            lines.append(Self.row(["later", "-"] + later + ["longest gap between commits until the pair is whole again"]))
        }
        lines += ["", "\(acknowledgedCommits) commits acknowledged by pgtandem's pairs, \(lostCommits) lost"]
        return (lines + violations).joined(separator: "\n")
    }

    private static func remark(_ measured: Measured) -> String {
        let limit =
            if let limit = measured.limit {
                "limit \(Int(limit)) ms, each run"
            } else {
                measured.ratio.map { "\(decimal($0, digits: 2)) × the floor, limit \(Int(BenchCase.ratioLimit)) ×" } ?? ""
            }
        return limit + (measured.isWithinLimit ? "" : "  TOO LONG")
    }

    private func row(_ name: String, _ figures: Figures, _ remark: String = "") -> String {
        let numbers = [figures.median, figures.values.min(), figures.values.max()].map { $0.map(Self.tenths) ?? "-" }
        return Self.row([name] + numbers + [remark])
    }

    private static func row(_ texts: [String]) -> String {
        let name = "  " + texts[0] + String(repeating: " ", count: max(1, 28 - texts[0].count))
        let numbers = texts[1...3].map { String(repeating: " ", count: max(1, 9 - $0.count)) + $0 }.joined()
        return texts[4].isEmpty ? name + numbers : name + numbers + "   " + texts[4]
    }

    static func tenths(_ value: Double) -> String { decimal(value, digits: 1) }

    static func decimal(_ value: Double, digits: Int) -> String {
        let scale = digits == 1 ? 10 : 100
        let number = Int((value * Double(scale)).rounded())
        let rest = String(abs(number) % scale)
        return (number < 0 ? "-" : "") + "\(abs(number) / scale)." + String(repeating: "0", count: digits - rest.count) + rest
    }
}
