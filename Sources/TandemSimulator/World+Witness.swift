import TandemCore

/// The third host.
package final class SimWitness {
    package internal(set) var isRunning = false
    /// What is on its disk.
    package internal(set) var record: Ledger?
    package internal(set) var generation: UInt64 = 0
    var run = 0
    var clock = SimClock()
    var failsToWrite = false
    var machine = Witness(
        session: SessionID(3), generation: 0, nodes: ["a", "b"], record: nil,
        at: Moment(boot: Instant(nanoseconds: 0), raw: Instant(nanoseconds: 0)))
}

extension World {
    func startWitness() {
        guard !witness.isRunning else { return }
        witness.run += 1
        witness.generation += 1
        witness.isRunning = true
        witness.machine = Witness(
            session: SessionID(UInt64(witness.run * 4 + Party.witness.rawValue + 1)), generation: witness.generation,
            nodes: ["a", "b"], record: witness.record, at: witness.clock.now(now))
        witness.machine.flaw = flaw
        say("witness", "starts, record \(witness.record.map(\.description) ?? "none")")
        for host in hosts where host.agentActs { greet(host) }
    }

    /// Until it is started again.
    func forgetRecord() {
        witness.isRunning = false
        witness.record = nil
        witness.generation = 0
    }

    /// Somebody restores its state from a backup: `record` as it was, in that generation. Outside of what the protocol promises (3.3), so no seed does it.
    package func restoreWitness(record: Ledger, generation: UInt64) {
        witness.isRunning = false
        witness.record = record
        witness.generation = generation
        startWitness()
    }

    func witnessHears(_ packet: Packet, from: Party) {
        guard witness.isRunning else { return }
        switch packet {
        case .hello(let session): take(witness.machine.step(.hello(host(from).name, session), at: witness.clock.now(now)))
        case .request(let request, let header):
            let before = witness.machine.record
            let effects = witness.machine.step(.request(request, header), at: witness.clock.now(now))
            take(effects)
            // While it writes, it hears nobody.
            if !effects.isEmpty { check.supported(request, before: before, at: now) }
        case .heartbeat, .answer: break
        }
    }

    func witnessPersists(_ ledger: Ledger, _ run: Int) {
        guard witness.isRunning, witness.run == run else { return }
        if witness.failsToWrite {
            return take(witness.machine.step(.notPersisted(ledger), at: witness.clock.now(now)))
        }
        witness.record = ledger
        say("witness", "its record is now \(ledger)")
        note(ledger, at: "the witness")
        take(witness.machine.step(.persisted(ledger), at: witness.clock.now(now)))
    }

    private func take(_ effects: [Witness.Effect]) {
        steps += 1
        for effect in effects {
            switch effect {
            case .persist(let ledger):
                later(.microseconds(random.between(500, 5000)), .witnessPersists(ledger, run: witness.run))
            case .answer(let answer, let node, let header):
                send(.answer(answer, header), from: .witness, to: node == "b" ? .b : .a)
            }
        }
    }
}
