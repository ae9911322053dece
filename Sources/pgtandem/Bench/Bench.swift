import TandemLab
import TandemSystem

/// The numbers that are promised: how long clients are without a primary when the roles move, beside the floor, measured by turns
/// on the same machine with the same clients.
struct Bench {
    private let runs: Int
    private let say: @Sendable (String) -> Void
    private let ourLab: Lab
    private let floorLab: Lab

    init(runs: Int, directory: String, keepsFolder: Bool, say: @escaping @Sendable (String) -> Void) throws {
        self.runs = runs
        self.say = say
        ourLab = try Lab(LabOptions(directory: directory, keepsFolder: keepsFolder))
        floorLab = try Lab(LabOptions(directory: directory, keepsFolder: keepsFolder))
    }

    func run() throws -> BenchReport {
        let result = Result { try measure() }
        for lab in [ourLab, floorLab] {
            do { try lab.stop() } catch { say("a lab could not be removed: \(error)") }
        }
        return try result.get()
    }

    private func measure() throws -> BenchReport {
        let (ours, floor) = (OurPair(ourLab, progress: { _ in }), FloorPair(floorLab))
        say("two servers made by hand, for the floor")
        try floor.bringUp()
        say("a pair with agents")
        try ours.bringUp()
        let (ourClients, floorClients) = (BenchClients(ourLab), BenchClients(floorLab))
        var report = BenchReport(runs: runs)
        for run in 1...runs {
            for kind in BenchReport.Kind.allCases {
                let low = try floorClients.watch { kind == .crash ? try floor.crash() : try floor.switchover() }
                try floor.makeStandby()
                try floorClients.calm(.seconds(1))
                let (high, phases) = try measure(kind, ours, ourClients)
                report.add(kind, floor: (low, Self.phases(kind, low, low.change.steps)), ours: (high, phases))
                say("run \(run), \(kind.rawValue): floor \(low.outage.longestGap.text), ours \(high.outage.longestGap.text)")
            }
        }
        report.check = try ourLab.check(logs: ourClients.logs, sightings: [], query: ourLab.queryOnPrimary)
        return report
    }

    private func measure(_ kind: BenchReport.Kind, _ pair: OurPair, _ clients: BenchClients) throws -> (ClientsView, BenchPhases)
    {
        let (old, new) = (pair.primary, pair.standby)
        let (oldStart, newStart) = (try AgentLog.length(old), try AgentLog.length(new))
        do {
            let view = try clients.watch {
                kind == .crash ? try pair.crash() : try pair.switchover()
            } after: {
                try pair.waitUntilWhole()
            }
            let ends = BenchPhases.ends(old: try AgentLog(old, from: oldStart), new: try AgentLog(new, from: newStart))
            let phases = Self.phases(kind, view, ends)
            return (view, phases)
        } catch {
            say(pair.lastWords())
            throw error
        }
    }

    private static func phases(
        _ kind: BenchReport.Kind, _ view: ClientsView, _ ends: [(phase: BenchPhase, ended: Int64)]
    ) -> BenchPhases {
        let began = kind == .crash ? view.change.began : view.outage.began
        return BenchPhases(began: began, ends: ends, firstCommit: view.outage.ended)
    }
}

extension Duration {
    /// For people: 61.4 ms.
    fileprivate var text: String { BenchReport.tenths(Double(nanoseconds) / 1_000_000) + " ms" }
}
