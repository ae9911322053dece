import TandemLab
import TandemSystem

/// The numbers that are promised: how long clients are without a primary when the roles move, beside the floor, measured by turns
/// on the same machine with the same clients.
struct Bench {
    private let runs: Int
    private let cases: [BenchCase]
    private let pgbenchClients: Int?
    private let directory: String
    private let keepsFolder: Bool
    private let say: @Sendable (String) -> Void

    /// - Parameters:
    ///   - only: nil: every kind.
    ///   - pgbenchClients: sessions of `pgbench` that write beside the clients that measure; nil: none.
    init(
        runs: Int, only: BenchKind?, pgbenchClients: Int? = nil, directory: String, keepsFolder: Bool,
        say: @escaping @Sendable (String) -> Void
    ) {
        self.runs = runs
        self.pgbenchClients = pgbenchClients
        cases = BenchCase.all.filter { only == nil || $0.kind == only }
        self.directory = directory
        self.keepsFolder = keepsFolder
        self.say = say
    }

    func run() throws -> BenchReport {
        var report = BenchReport(runs: runs, spec: BenchClients.spec(pgbenchClients), pgbenchClients: pgbenchClients)
        try inLab(hasWitness: false) { lab in
            let floor = FloorPair(lab)
            say("two servers made by hand, for the floor")
            try floor.bringUp()
            let clients = BenchClients(lab, pgbenchClients)
            try clients.prepare(floor.primary)
            var isFirst = true
            for profile in BenchProfile.allCases where cases.contains(where: { $0.profile == profile }) {
                // Leases are short: what is measured has no other pair beside it that works, the floor's only idles.
                try measure(profile, isFirst ? (floor, clients) : nil, into: &report)
                isFirst = false
            }
        }
        return report
    }

    /// - Parameter floor: nil: it has been measured already.
    private func measure(
        _ profile: BenchProfile, _ floor: (pair: FloorPair, clients: BenchClients)?, into report: inout BenchReport
    ) throws {
        try inLab(hasWitness: true) { lab in
            let (pair, clients) = (OurPair(lab, profile), BenchClients(lab, pgbenchClients))
            say("a pair with agents, guards and a witness, profile \(profile.rawValue)")
            try pair.bringUp()
            try clients.prepare(pair.primary)
            let kinds = cases.filter { $0.profile == profile }.map(\.kind)
            // A loss is shown beside the floor of a crash.
            let floors = BenchKind.allCases.filter { kind in
                kind.hasFloor && (kinds.contains(kind) || kind == .crash && kinds.contains { !$0.hasFloor })
            }
            for run in 1...runs {
                for kind in BenchKind.allCases {
                    if let floor, floors.contains(kind) {
                        let low = try measureFloor(kind, floor.pair, floor.clients)
                        report.addFloor(kind, low, BenchPhases(kind, low, low.change.steps))
                        say("run \(run), \(kind.words): floor \(low.outage.longestGap.text)")
                    }
                    if kinds.contains(kind) {
                        let row = BenchCase(kind: kind, profile: profile)
                        let (high, phases) = try measure(kind, pair, clients)
                        report.add(row, high, phases)
                        say("run \(run), \(row.words): ours \(high.outage.longestGap.text)")
                    }
                }
            }
            report.add(try lab.check(logs: clients.logs, sightings: [], query: lab.queryOnPrimary))
        }
    }

    private func measureFloor(_ kind: BenchKind, _ pair: FloorPair, _ clients: BenchClients) throws -> ClientsView {
        let view = try clients.watch(kind, on: pair.primary) { kind == .crash ? try pair.crash() : try pair.switchover() }
        try pair.makeStandby()
        try clients.calm(.seconds(1))
        return view
    }

    private func measure(_ kind: BenchKind, _ pair: OurPair, _ clients: BenchClients) throws -> (ClientsView, BenchPhases) {
        try pair.waitUntilWhole()
        let witnesses = try BenchWitnesses(old: pair.primary, new: pair.standby)
        do {
            var ends: [BenchPhases.End] = []
            let view = try clients.watch(kind, on: pair.primary) {
                try pair.happen(kind)
            } after: {
                ends = try witnesses.ends(kind)
                try pair.mend(kind)
                try pair.waitUntilWhole()
            }
            return (view, BenchPhases(kind, view, ends))
        } catch {
            say(pair.lastWords())
            throw error
        }
    }

    private func inLab(hasWitness: Bool, _ work: (Lab) throws -> Void) throws {
        let lab = try Lab(LabOptions(directory: directory, hasWitness: hasWitness, keepsFolder: keepsFolder))
        let result = Result { try work(lab) }
        do { try lab.stop() } catch { say("a lab could not be removed: \(error)") }
        try result.get()
    }
}

extension Duration {
    /// For people: 61.4 ms.
    fileprivate var text: String { BenchReport.tenths(Double(nanoseconds) / 1_000_000) + " ms" }
}
