import TandemWire

/// What `./bench returns` measured, as text and as JSON. Seconds.
struct BenchReturnsReport: Encodable {
    struct Row: Encodable {
        var hand = BenchReport.Figures()
        var ours = BenchReport.Figures()
        /// What each run took beside the same by hand: a disk may be five times as fast in the next one.
        var ratios = BenchReport.Figures()
        var limit: Double
        /// From the end of ours.
        var untilPaired = BenchReport.Figures()
        var isWithinLimit = false
        /// Of ours, in their order.
        var parts: [Part] = []
    }

    struct Part: Encodable {
        var name: String
        var seconds = BenchReport.Figures()
    }

    let gigabytes: Int
    let runs: Int
    private(set) var returns: [BenchReturn: Row] = [:]
    /// Both hosts held the same after each return.
    private(set) var isSound = true

    init(gigabytes: Int, runs: Int) {
        self.gigabytes = gigabytes
        self.runs = runs
    }

    mutating func add(_ kind: BenchReturn, _ times: BenchReturnTimes, _ areSame: Bool) {
        var row = returns[kind] ?? Row(limit: kind.limit)
        row.hand.values.append(Double(times.hand) / 1e9)
        row.ours.values.append(Double(times.ours) / 1e9)
        row.untilPaired.values.append(Double(times.untilPaired) / 1e9)
        for phase in times.phases {
            let place = row.parts.firstIndex { $0.name == phase.name }
            if place == nil { row.parts.append(Part(name: phase.name)) }
            row.parts[place ?? row.parts.count - 1].seconds.values.append(Double(phase.ms) / 1000)
        }
        row.ratios.values.append(Double(times.ours) / Double(max(1, times.hand)))
        row.isWithinLimit =
            (row.ratios.median ?? .infinity) <= kind.limit
            && (row.untilPaired.values.max() ?? .infinity) <= BenchReturn.pairedLimit / .seconds(1)
        returns[kind] = row
        isSound = isSound && areSame
    }

    var isWithinLimit: Bool { !returns.isEmpty && returns.values.allSatisfy(\.isWithinLimit) }

    /// Of the last run, for people.
    func last(_ kind: BenchReturn) -> String {
        let row = returns[kind]
        let numbers = [row?.hand, row?.ours, row?.untilPaired].map { Self.seconds($0?.values.last) }
        return "by hand \(numbers[0]) s, ours \(numbers[1]) s, paired after another \(numbers[2]) s"
    }

    private enum Key: String, CodingKey { case gigabytes, runs, rewind, copy, isSound }

    func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: Key.self)
        try fields.encode(gigabytes, forKey: .gigabytes)
        try fields.encode(runs, forKey: .runs)
        try fields.encodeIfPresent(returns[.rewind], forKey: .rewind)
        try fields.encodeIfPresent(returns[.copy], forKey: .copy)
        try fields.encode(isSound, forKey: .isSound)
    }

    func json() throws -> String { String(decoding: try JSON.encode(self, pretty: true), as: UTF8.self) }

    var text: String {
        var lines = [
            "Coming back, \(gigabytes) GB of data (s): \(runs) runs", "", Self.row(["", "median", "min", "max", ""]),
        ]
        for kind in BenchReturn.allCases {
            guard let row = returns[kind] else { continue }
            let longest = row.untilPaired.values.max() ?? .infinity
            let ratio = row.ratios.median.map { BenchReport.decimal($0, digits: 2) } ?? "-"
            lines.append(Self.row("\(kind.words), by hand", row.hand))
            lines.append(
                Self.row(
                    "\(kind.words), pgtandem", row.ours,
                    "\(ratio) × by hand in its run, limit \(BenchReport.decimal(kind.limit, digits: 2)) ×"
                        + ((row.ratios.median ?? .infinity) <= kind.limit ? "" : "  TOO LONG")))
            lines.append(
                Self.row(
                    "  then, until paired", row.untilPaired,
                    "limit \(BenchReturn.pairedLimit.components.seconds) s, each run"
                        + (longest <= BenchReturn.pairedLimit / .seconds(1) ? "" : "  TOO LONG")))
        }
        for kind in BenchReturn.allCases {
            guard let row = returns[kind], !row.parts.isEmpty else { continue }
            lines += ["", Self.row(["Parts of \(kind.words)", "median", "min", "max", ""])]
            lines += row.parts.map { Self.row($0.name, $0.seconds) }
        }
        lines += ["", isSound ? "both hosts held the same rows after each return" : "THE HOSTS' ROWS DIFFER"]
        return lines.joined(separator: "\n")
    }

    private static func row(_ name: String, _ figures: BenchReport.Figures, _ remark: String = "") -> String {
        row([name] + [figures.median, figures.values.min(), figures.values.max()].map { seconds($0) } + [remark])
    }

    private static func row(_ texts: [String]) -> String {
        let name = "  " + texts[0] + String(repeating: " ", count: max(1, 28 - texts[0].count))
        let numbers = texts[1...3].map { String(repeating: " ", count: max(1, 9 - $0.count)) + $0 }.joined()
        return texts[4].isEmpty ? name + numbers : name + numbers + "   " + texts[4]
    }

    private static func seconds(_ value: Double?) -> String { value.map { BenchReport.decimal($0, digits: 2) } ?? "-" }
}
