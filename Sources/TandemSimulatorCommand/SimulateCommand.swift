import ArgumentParser
import Glibc
import TandemCore
import TandemSimulator
import TandemSystem

/// `pgtandem simulate`; a target of its own, so that the simulator can be built without the rest (`tandem-simulate`).
package struct SimulateCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "The deterministic simulator: the agent's own decision core, through faults.",
        discussion: """
            Two hosts, a witness, PostgreSQL, clients and people, all of it from one seed: the same seed gives the same run, to the last message.
            After every step the invariants S1 to S6 are checked, and after each phase of troubles the pair must become whole again by itself.
            A violation prints its seed, the fewest troubles that are enough for it, and what happened, line by line; exit 1.
            Example: pgtandem simulate --seeds 1000
                     pgtandem simulate --from 42 --seeds 1 --transcript
            """)

    @Option(name: .long, help: "How many seeds.")
    var seeds: Int = 100
    @Option(name: .long, help: "The first seed.")
    var from: UInt64 = 1
    @Option(name: .long, help: "Steps of the core per seed.")
    var steps: Int = 5000
    @Option(name: .long, help: "Stop after so many seconds, whatever is left of the seeds.")
    var seconds: Int?
    @Option(name: .long, help: "Seeds at the same time; by default one for each core.")
    var threads: Int?
    @Flag(name: .long, help: "Tell what happens, also where nothing goes wrong.")
    var transcript = false
    @Flag(name: .long, help: "Demand that every legal transition and every refusal was reached.")
    var coverage = false
    @Flag(name: .long, help: "Put each known mistake back, and tell how many seeds it takes to be caught.")
    var mistakes = false
    @Flag(name: .long, help: "With --mistakes: only those that few seeds are enough for.")
    var early = false
    @Option(name: .long, help: "Put this known mistake back.")
    var mistake: String?

    package init() {}

    package func validate() throws {
        guard seeds > 0, steps > 0, threads ?? 1 > 0, seconds ?? 1 > 0 else {
            throw ValidationError("--seeds, --steps, --threads and --seconds want numbers above zero")
        }
        if let mistake, Flaw(rawValue: mistake) == nil {
            throw ValidationError(
                "no known mistake is called `\(mistake)`; there are: \(Flaw.allCases.map(\.rawValue).joined(separator: ", "))")
        }
    }

    package func run() throws {
        let crew = Crew(size: threads ?? max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))), limit: deadline())
        if mistakes { return try hunt(crew) }
        let flaw = mistake.flatMap { Flaw(rawValue: $0) }
        if transcript, seeds == 1 { return try tell(flaw) }
        let began = SystemClock.now()
        let (campaign, first) = crew.run(from: from, count: seeds, steps: steps, flaw: flaw)
        let spent = max(0.001, Double(SystemClock.now() - began) / 1e9)
        if let first { try report(first, flaw) }
        print(Self.summary(campaign, spent))
        if coverage { try demandCoverage(campaign.coverage) }
    }

    private func deadline() -> Int64 {
        seconds.map { SystemClock.now() + Int64($0) * 1_000_000_000 } ?? .max
    }

    static func summary(_ campaign: Campaign, _ spent: Double) -> String {
        let hours = Double(campaign.simulated.milliseconds) / 3_600_000
        return
            "\(campaign.seeds) seeds, \(campaign.steps) steps, \(Int(hours)) h simulated, \(campaign.coverage.acknowledged) commits acknowledged,"
            + " the guard acted \(campaign.coverage.guardActs) times: no invariant broken."
            + " \(Int(spent)) s, \(Int(Double(campaign.steps) / spent)) steps/s"
    }

    private func tell(_ flaw: Flaw?) throws {
        let simulation = Simulation(seed: from, limit: steps, flaw: flaw)
        let outcome = simulation.run(transcript: true)
        print(Story.text(simulation, outcome))
        if outcome.violation != nil { throw ExitCode(1) }
    }

    /// The seed, the fewest troubles that are enough, and the story of that run.
    private func report(_ seed: UInt64, _ flaw: Flaw?) throws {
        let simulation = Simulation(seed: seed, limit: steps, flaw: flaw)
        guard let violation = simulation.run().violation else { return }
        print("seed \(seed) breaks \(violation.rule.rawValue): \(violation.text)")
        print("looking for the fewest troubles that are enough ...\n")
        let shrunk = simulation.shrunk(violation.rule)
        print(Story.text(shrunk, shrunk.run(transcript: true)))
        print("\nAgain, whole: pgtandem simulate --from \(seed) --seeds 1 --steps \(steps) --transcript")
        throw ExitCode(1)
    }

    private func demandCoverage(_ reached: Coverage) throws {
        let rows = reached.missing.map { "\($0.from.rawValue) → \($0.to.rawValue), \($0.cause.rawValue)" }
        let codes = Refusal.codes.filter { $0 != "contradiction" && reached.refusals[$0] == nil }
        if rows.isEmpty, codes.isEmpty { return print("Every legal transition and every refusal was reached.") }
        if !rows.isEmpty { print("Transitions of the table that no seed reached:\n  \(rows.joined(separator: "\n  "))") }
        if !codes.isEmpty { print("Refusals that no seed reached: \(codes.joined(separator: ", "))") }
        print("Each is either impossible, then it should not be there, or the simulator does not try it.")
        throw ExitCode(1)
    }

    private func hunt(_ crew: Crew) throws {
        let flaws = Flaw.allCases.filter { !Catch.onlyInStories.contains($0) && !(early && Catch.late.contains($0)) }
        let caught = crew.hunt(flaws, from: from, seeds: seeds, steps: steps)
        print("mistake put back                seeds until caught   broken rule")
        for row in caught {
            let name = row.flaw.rawValue + String(repeating: " ", count: max(1, 32 - row.flaw.rawValue.count))
            let count = row.seeds.map { String($0) } ?? "-"
            print(
                "\(name)\(String(repeating: " ", count: max(0, 18 - count.count)))\(count)   \(row.rule?.rawValue ?? "not caught")"
            )
        }
        print("not tried, as only a story finds them: \(Catch.onlyInStories.map(\.rawValue).joined(separator: ", "))")
        let missed = caught.filter { $0.seeds == nil }.map(\.flaw.rawValue)
        guard missed.isEmpty else {
            print("\nNot caught within \(seeds) seeds\(seconds.map { " and \($0) s" } ?? ""): \(missed.joined(separator: ", "))")
            throw ExitCode(1)
        }
    }
}
