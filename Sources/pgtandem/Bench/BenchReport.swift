import TandemLab
import TandemWire

/// What was measured, as text and as JSON.
struct BenchReport: Encodable {
    enum Kind: String, CaseIterable, Encodable { case crash, switchover }

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
        var floor = Figures()
        var ours = Figures()
        /// Of the medians.
        var ratio: Double?
        var isWithinLimit = false
        var phases = BenchPhase.allCases.map { Phase(name: $0) }
        /// Between commits after the roles had moved and until the pair was whole again.
        var longestGapLater = Figures()
    }

    struct Phase: Encodable {
        var name: BenchPhase
        var floor = Figures()
        var ours = Figures()
    }

    /// Ours may be so many times the floor.
    static let limit = 3.0

    let runs: Int
    let writesPerSecond = BenchClients.spec.writesPerSecond ?? 0
    let writers = BenchClients.spec.writers
    private(set) var crash = Measured()
    private(set) var switchover = Measured()
    private(set) var acknowledgedCommits = 0
    private(set) var lostCommits = 0
    private(set) var violations: [String] = []

    init(runs: Int) { self.runs = runs }

    var check: CheckReport? {
        didSet {
            acknowledgedCommits = check?.acknowledged ?? 0
            lostCommits = check?.lost ?? 0
            violations = check?.violations.map(\.description) ?? []
        }
    }

    var isWithinLimit: Bool { crash.isWithinLimit && switchover.isWithinLimit }
    /// Numbers of a pair that breaks a promise are worth nothing.
    var isSound: Bool { check?.holds == true }

    private enum CodingKeys: String, CodingKey {
        case runs, writesPerSecond, writers, crash, switchover, acknowledgedCommits, lostCommits, violations
    }

    typealias Side = (view: ClientsView, phases: BenchPhases)

    mutating func add(_ kind: Kind, floor: Side, ours: Side) {
        var measured = kind == .crash ? crash : switchover
        measured.floor.values.append(Self.milliseconds(floor.view.outage.longestGap))
        measured.ours.values.append(Self.milliseconds(ours.view.outage.longestGap))
        measured.longestGapLater.values.append(Self.milliseconds(ours.view.longestLater))
        for index in measured.phases.indices {
            let name = measured.phases[index].name
            measured.phases[index].floor.values += floor.phases.lengths[name].map { [$0] } ?? []
            measured.phases[index].ours.values += ours.phases.lengths[name].map { [$0] } ?? []
        }
        if let low = measured.floor.median, let high = measured.ours.median, low > 0 {
            measured.ratio = high / low
            measured.isWithinLimit = high <= Self.limit * low
        }
        if kind == .crash { crash = measured } else { switchover = measured }
    }

    func json() throws -> String { String(decoding: try JSON.encode(self, pretty: true), as: UTF8.self) }

    // MARK: - for people

    var text: String {
        var lines = [
            "Time without a primary, as clients see it (ms): \(runs) runs, \(writers) writers, \(Int(writesPerSecond)) commits/s",
            "",
            Self.row(["", "median", "min", "max", ""]),
        ]
        for (kind, measured) in [(Kind.crash, crash), (Kind.switchover, switchover)] {
            lines.append(row("\(kind.rawValue), floor", measured.floor))
            let ratio = measured.ratio.map { "\(Self.hundredths($0)) × the floor, limit \(Int(Self.limit)) ×" } ?? ""
            lines.append(row("\(kind.rawValue), pgtandem", measured.ours, ratio + (measured.isWithinLimit ? "" : "  TOO LONG")))
        }
        for (kind, measured) in [(Kind.crash, crash), (Kind.switchover, switchover)] {
            lines += [
                "",
                Self.row(["Parts of a \(kind.rawValue)", "floor", "pgtandem", "max", "medians, and pgtandem's longest (ms)"]),
            ]
            lines += measured.phases.filter { $0.ours.median != nil }.map { phase in
                let numbers = [phase.floor.median, phase.ours.median, phase.ours.values.max()].map { $0.map(Self.tenths) ?? "-" }
                return Self.row([phase.name.rawValue] + numbers + [phase.name.meaning])
            }
            let later = [measured.longestGapLater.median, measured.longestGapLater.values.max()].map {
                $0.map(Self.tenths) ?? "-"
            }
            lines.append(Self.row(["later", "-"] + later + ["longest gap between commits until the pair is whole again"]))
        }
        lines += ["", "\(acknowledgedCommits) commits acknowledged by pgtandem's pair, \(lostCommits) lost"]
        return (lines + violations).joined(separator: "\n")
    }

    private func row(_ name: String, _ figures: Figures, _ remark: String = "") -> String {
        let numbers = [figures.median, figures.values.min(), figures.values.max()].map { $0.map(Self.tenths) ?? "-" }
        return Self.row([name] + numbers + [remark])
    }

    private static func row(_ texts: [String]) -> String {
        let name = "  " + texts[0] + String(repeating: " ", count: max(1, 24 - texts[0].count))
        let numbers = texts[1...3].map { String(repeating: " ", count: max(1, 9 - $0.count)) + $0 }.joined()
        return texts[4].isEmpty ? name + numbers : name + numbers + "   " + texts[4]
    }

    static func tenths(_ value: Double) -> String { decimal(value, digits: 1) }
    private static func hundredths(_ value: Double) -> String { decimal(value, digits: 2) }

    private static func decimal(_ value: Double, digits: Int) -> String {
        let scale = digits == 1 ? 10 : 100
        let number = Int((value * Double(scale)).rounded())
        let rest = String(abs(number) % scale)
        return (number < 0 ? "-" : "") + "\(abs(number) / scale)." + String(repeating: "0", count: digits - rest.count) + rest
    }

    private static func milliseconds(_ duration: Duration) -> Double { duration / .milliseconds(1) }
}
