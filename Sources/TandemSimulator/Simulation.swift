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
        // Some troubles come to a pair that has been at rest for long.
        if world.random.chance(15) { world.run(until: world.now + 12_000_000_000, limit: limit) }
        let begun = world.now
        for fault in faults { world.later(fault.at, .begin(fault)) }
        let end = faults.map { $0.at + $0.lasts }.max() ?? .zero
        world.run(until: begun + end.nanoseconds + 1_000_000_000, limit: limit)
    }

    /// L2: one host lives, the arbiter answers, nothing else is wrong.
    private func survive(in world: World) {
        guard world.violation == nil, world.steps < limit, let primary = world.wholePrimary, primary.ledger?.arbiter == .witness,
            world.witness.record == primary.ledger, world.configurationsAgree,
            // One that has just started does not know how far the primary is, and unknown is not zero (4.6).
            setup.mode == .synchronous || world.witness.machine.position != nil
        else { return }
        let victim = world.random.chance(50) ? primary : world.other(primary)
        let survivor = world.other(victim)
        // Off for good; or its PostgreSQL does not come up any more while its agent lives, and the hosts do not hear each other (mistake 17).
        let isBroken = victim === primary && world.random.chance(50)
        if isBroken {
            world.say("—", "PostgreSQL of \(victim.name) dies for good, and the hosts are cut apart")
            victim.failing = [.start: 1_000_000]
            world.begin(Fault(id: -2, at: .zero, lasts: .zero, kind: .cutBoth(.a, .b)))
            world.postmasterDies(victim, false)
        } else {
            world.say("—", "\(victim.name) is switched off for good")
            world.powerOff(victim)
            victim.isInHand = true
        }
        let patience = isBroken ? world.host(.a).node.policy.recoveryPatience + .seconds(32) : .seconds(30)
        world.run(until: world.now + patience.nanoseconds, limit: limit) { $0.servesAlone(survivor) }
        // What the list of 4.3, or somebody's `sole`, forbids.
        let isForbidden =
            setup.barred == survivor.party && survivor.ledger?.primary == victim.name
            || [survivor.ledger, world.witness.record].contains { $0?.bond == .sole && $0?.primary == victim.name }
        if world.violation == nil, world.steps < limit, !world.servesAlone(survivor), !isForbidden {
            world.violate(.survivorServes, "\(patience.text) after \(victim.name) was lost: \(world.describe(survivor))")
        }
        world.heal()
        world.becomeWhole(within: calm, limit: limit)
    }
}
