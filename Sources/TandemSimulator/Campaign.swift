import TandemCore

/// Many seeds, one after the other; on several threads by the caller.
package struct Campaign: Sendable {
    package var steps = 0
    package var seeds = 0
    package var simulated = Duration.zero
    package var coverage = Coverage()
    package var violated: [UInt64] = []
    package init() {}

    /// One more seed. The outcome, if a rule was broken.
    package mutating func run(_ seed: UInt64, limit: Int, flaw: Flaw? = nil) -> Simulation.Outcome? {
        let outcome = Simulation(seed: seed, limit: limit, flaw: flaw).run()
        seeds += 1
        steps += outcome.steps
        simulated += outcome.simulated
        coverage.add(outcome.coverage)
        guard outcome.violation != nil else { return nil }
        violated.append(seed)
        return outcome
    }

    package mutating func add(_ other: Campaign) {
        steps += other.steps
        seeds += other.seeds
        simulated += other.simulated
        coverage.add(other.coverage)
        violated += other.violated
    }
}

/// How a planted mistake was caught.
package struct Catch: Sendable {
    package var flaw: Flaw
    /// How many seeds it took; nil: none of them caught it.
    package var seeds: Int?
    package var rule: Violation.Rule?
    package var text: String?

    /// Those that take more than 200 seeds: several things must come together in one order.
    package static let late: Set<Flaw> = [
        .arbiterChangedInSameTerm, .handoverEndForgotten, .recordRewrittenInSameTerm, .soleFromBeforeTheLoss,
        .handoverWithoutEnd, .guardArmedAfterPaired, .wordInsteadOfGrant, .foreignTakesOver, .followsUntaken,
    ]

    /// Those that need more than the seeds ever put together: a story tells each of them, and fails when it is put back.
    package static let onlyInStories: [Flaw] = [.foreignTakesOver, .followsUntaken]

    /// Seeds from `from` on, until one breaks a rule. `goOn` says whether there is still time.
    package static func hunt(_ flaw: Flaw, from: UInt64, seeds: Int, limit: Int, goOn: () -> Bool = { true }) -> Catch {
        for number in 0..<seeds where goOn() {
            let outcome = Simulation(seed: from + UInt64(number), limit: limit, flaw: flaw).run()
            if let violation = outcome.violation {
                return Catch(flaw: flaw, seeds: number + 1, rule: violation.rule, text: violation.text)
            }
        }
        return Catch(flaw: flaw, seeds: nil, rule: nil, text: nil)
    }
}
