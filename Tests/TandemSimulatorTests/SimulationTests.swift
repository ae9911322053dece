import TandemCore
import TandemSimulator
import Testing

@Suite struct SimulationTests {
    @Test func theSameSeedTellsTheSameStory() {
        let simulation = Simulation(seed: 11, limit: 2500)
        let first = simulation.run(transcript: true)
        let second = simulation.run(transcript: true)
        #expect(first.transcript.count > 15)
        #expect(first.transcript == second.transcript)
        #expect(first.steps == second.steps)
    }

    @Test func anotherSeedTellsAnotherStory() {
        let first = Simulation(seed: 11, limit: 1500).run(transcript: true)
        let second = Simulation(seed: 12, limit: 1500).run(transcript: true)
        #expect(first.transcript != second.transcript)
    }

    /// A few seeds in every test run; CI runs the simulator of the release build for minutes.
    @Test func noSeedBreaksAnInvariant() {
        for seed in 1...10 as ClosedRange<UInt64> {
            let outcome = Simulation(seed: seed, limit: 2000).run()
            #expect(outcome.violation == nil, "seed \(seed): \(outcome.violation?.text ?? "")")
        }
    }

    /// The harness must be known to notice: mistakes that few seeds are enough for. `pgtandem simulate --mistakes` tries them all.
    @Test(arguments: [
        Flaw.noStep, .namesEmptiedBeforeSole, .promotedBeforeLedger, .handoverBeforeEnd, .soleBeforeConsent,
    ])
    func aPlantedMistakeIsCaught(_ flaw: Flaw) {
        let caught = Catch.hunt(flaw, from: 1, seeds: 40, limit: 2500)
        #expect(caught.seeds != nil, "\(flaw) was not caught within 40 seeds")
    }

    @Test func theTroublesOfAViolationAreCutDownToThoseThatMatter() throws {
        let flaw = Flaw.soleBeforeConsent
        let seed = try #require((1...60).first { Simulation(seed: $0, limit: 2000, flaw: flaw).run().violation != nil })
        let whole = Simulation(seed: seed, limit: 2000, flaw: flaw)
        let rule = try #require(whole.run().violation?.rule)
        let shrunk = whole.shrunk(rule)
        #expect(shrunk.run().violation?.rule == rule, "still broken")
        let count = shrunk.faults.joined().count
        #expect(count < whole.faults.joined().count && count <= 5, "\(count) troubles are left")
        let story = Story.text(shrunk, shrunk.run(transcript: true))
        #expect(story.contains("seed \(seed)") && story.contains("VIOLATION") && story.contains("troubles of round"))
    }
}
