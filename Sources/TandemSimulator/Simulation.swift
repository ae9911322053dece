import TandemCore

/// One seed, run: rounds of trouble, each followed by calm.
package struct Simulation: Sendable {
    package var seed: UInt64
    package var limit: Int
    package var flaw: Flaw?
    package var setup: Setup
    /// The plan, or what is left of it.
    package var faults: [[Fault]]

    package init(seed: UInt64, limit: Int, flaw: Flaw? = nil) {
        self.seed = seed
        self.limit = limit
        self.flaw = flaw
        setup = Plan.setup(seed)
        let setup = self.setup
        faults = (0..<max(1, limit / 500)).map { Plan.faults(seed, round: $0, setup) }
    }

    package struct Outcome {
        package var violation: Violation?
        package var steps: Int
        package var simulated: Duration
        package var coverage: Coverage
        package var transcript: [World.Line]
        package var rounds: Int
    }

    package func run(transcript: Bool = false) -> Outcome {
        let world = World(setup, seed: seed, flaw: flaw, transcript: transcript)
        world.found()
        world.switchOn()
        var rounds = 0
        world.becomeWhole(within: calm, limit: limit)
        for round in faults.indices where world.violation == nil && world.steps < limit {
            rounds += 1
            play(faults[round], in: world)
            world.heal()
            world.becomeWhole(within: calm, limit: limit)
            if round % 2 == 1 { survive(in: world) }
        }
        world.coverage.acknowledged = world.check.count
        return Outcome(
            violation: world.violation, steps: world.steps, simulated: .nanoseconds(world.now), coverage: world.coverage,
            transcript: world.transcript, rounds: rounds)
    }

    /// Longer than everything that the pair may wait for by itself.
    private var calm: Duration { .seconds(120) }

    private func play(_ faults: [Fault], in world: World) {
        guard world.violation == nil else { return }
        let begun = world.now
        for fault in faults { world.later(fault.at, .begin(fault)) }
        let end = faults.map { $0.at + $0.lasts }.max() ?? .zero
        world.run(until: begun + end.nanoseconds + 1_000_000_000, limit: limit)
    }

    /// L2: one host lives, the arbiter answers, nothing else is wrong.
    private func survive(in world: World) {
        guard world.violation == nil, world.steps < limit, let primary = world.wholePrimary, primary.ledger?.arbiter == .witness,
            world.witness.record == primary.ledger
        else { return }
        let victim = world.random.chance(50) ? primary : world.other(primary)
        let survivor = world.other(victim)
        world.say("—", "\(victim.name) is switched off for good")
        world.powerOff(victim)
        victim.isInHand = true
        world.run(until: world.now + 30_000_000_000, limit: limit) { $0.servesAlone(survivor) }
        let isForbidden = [survivor.ledger, world.witness.record].contains { $0?.bond == .sole && $0?.primary == victim.name }
        if world.violation == nil, world.steps < limit, !world.servesAlone(survivor), !isForbidden {
            world.violate(.survivorServes, "30 s after \(victim.name) was switched off: \(world.describe(survivor))")
        }
        victim.isInHand = false
        world.boot(victim)
        world.becomeWhole(within: calm, limit: limit)
    }
}
extension Simulation { package func run2() -> Bool {
        let world = World(setup, seed: seed, flaw: flaw, transcript: false)
        world.found(); world.switchOn()
        world.becomeWhole(within: calm, limit: limit)
        for round in faults.indices where world.violation == nil && world.steps < limit {
            play(faults[round], in: world)
            world.heal()
            world.becomeWhole(within: calm, limit: limit)
            if round % 2 == 1 { survive(in: world) }
        }
        print(world.dumpHost(world.a)); print(world.dumpHost(world.b)); print(world.witness.machine); return true
} }
