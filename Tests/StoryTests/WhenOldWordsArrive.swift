import Testing

@testable import TandemCore
@testable import TandemSimulator

/// Words of a run that is over, and what a witness has forgotten: found by 50,000 seeds, told here in short (sections 1, 3.1, 4.6).
@Suite struct WhenOldWordsArrive {
    /// The primary's agent has started anew, and the standby has not heard it yet: what it tells the new run acknowledges nothing, as the
    /// number that it would name is another one there (mistake 11; seed 1013126 had two primaries by it).
    @Test func aRunThatWasNotHeardYetIsPromisedNothing() throws {
        let world = Scene.whole()
        var node = world.b.node
        let now = world.b.clock.now(world.now)
        let fresh = SessionID(4711)
        let effects = node.step(.hello(session: fresh), at: now + .milliseconds(1)) + node.step(.tick, at: now + .milliseconds(2))
        let greetings = effects.compactMap { effect -> Heartbeat? in
            if case .send(let heartbeat, let header) = effect, header.receiver == fresh { heartbeat } else { nil }
        }
        #expect(!greetings.isEmpty)
        for greeting in greetings {
            #expect(greeting.acknowledged == nil && greeting.promised == nil && greeting.answer == nil, "\(greeting)")
        }
    }

    /// Numbers begin anew with a session: one that asks for no promise gets none, although the run before had one with that number.
    @Test func aNumberOfTheRunBeforePromisesNothing() throws {
        let world = Scene.whole()
        var node = world.b.node
        let now = world.b.clock.now(world.now)
        var said = try #require(node.peer.last)
        #expect(said.asksLease)
        let old = said.number
        let fresh = SessionID(4711)
        _ = node.step(.hello(session: fresh), at: now + .milliseconds(1))
        said.asksLease = false
        let header = Heartbeat.Header(sender: fresh, receiver: world.b.sessionID)
        said.number = 1
        _ = node.step(.heartbeat(said, header), at: now + .milliseconds(2))
        said.number = old
        let effects =
            node.step(.heartbeat(said, header), at: now + .milliseconds(3)) + node.step(.tick, at: now + .milliseconds(4))
        let answers = effects.compactMap { effect -> Heartbeat? in
            if case .send(let heartbeat, let header) = effect, header.receiver == fresh { heartbeat } else { nil }
        }
        #expect(answers.contains { $0.acknowledged == old }, "\(answers)")
        #expect(answers.allSatisfy { $0.promised == nil }, "\(answers)")
    }

    /// Asynchronous: a witness that has started since it last heard the primary has forgotten how far that one was, and unknown is not zero.
    @Test func aWitnessThatForgotThePositionPromotesNobody() {
        let world = Scene.whole(Setup(mode: .asynchronous))
        world.strike(.cut(.a, .witness), lasting: .seconds(60))
        world.strike(.witnessDies, lasting: .milliseconds(500))
        world.run(.milliseconds(700))
        world.strike(.powerOff(.a), lasting: .seconds(20))
        world.run(.seconds(15))
        #expect(world.b.role == .standby)
        let now = world.b.clock.now(world.now).boot
        #expect(world.b.node.failoverReadiness(at: now).map(\.code).contains("lagUnknown"), "\(world.describe(world.b))")
        world.expectWhole(primary: "a", within: .seconds(40))
    }

    /// Somebody exchanges the primary's directory at the moment when PostgreSQL ends: what is ordered for the right one is not done to another.
    @Test(arguments: UInt64(1)...20) func anotherDirectoryIsNeitherOpenedNorMeasured(_ seed: UInt64) {
        for setup in [Setup(), Setup(mode: .asynchronous)] {
            let world = Scene.whole(setup, seed: seed)
            // Every other time alone, so that it would be started directly, and not handed over.
            if seed % 2 == 0 {
                world.strike(.powerOff(.b), lasting: .seconds(12))
                world.run(.seconds(5))
            }
            world.strike(.postmasterDies(.a, orphans: false))
            world.run(.milliseconds(Int(seed)))
            world.strike(.copySwapped(.a), lasting: .seconds(4))
            world.run(.seconds(10))
            #expect(world.violation == nil, "\(world.violation?.text ?? "")")
        }
    }

    /// A handed over to B, and consented to its `sole`. Now comes a word of a run of B's agent that A never heard, from before the handover: that
    /// B had stepped out of A's bond. It is no news that A might go above B's term by (5.6; seed 3502 had two primaries by it).
    @Test func anOldConsentGivesNobodyTheRoleBack() throws {
        let world = Scene.whole()
        let before = try #require(world.a.ledger)
        world.ask(world.a, .switchover(to: nil, dryRun: false))
        world.run(.seconds(10)) { $0.a.ledger?.primary == "b" && $0.a.ledger?.bond == .sole }
        let mine = try #require(world.a.ledger)
        #expect(mine.began != nil, "no grant's: \(mine)")
        var node = world.a.node
        let now = world.a.clock.now(world.now)
        var old = try #require(node.peer.last)
        (old.number, old.ledger, old.ask, old.answer) = (1, before.sole(), nil, nil)
        let never = SessionID(4711)
        let effects =
            node.step(.hello(session: never), at: now + .milliseconds(1))
            + node.step(.heartbeat(old, .init(sender: never, receiver: world.a.sessionID)), at: now + .milliseconds(2))
        let written = effects.compactMap { effect -> Ledger? in
            if case .writeLedger(let ledger, _) = effect { ledger } else { nil }
        }
        #expect(!written.contains { $0.primary == "a" }, "\(written)")
    }

    /// A handed over to B, consented to its `sole`, and got the role back, as B could not be promoted. All that A said since is still under way when
    /// that consent comes once more. A's `sole` is no grant that A had given away before (5.6; seed 10315 lost what clients had read by it).
    @Test func anOldConsentDoesNotUndoARoleThatCameBack() throws {
        let world = Scene.whole()
        world.strike(.effectsFail(.b, .promote, 4))
        world.ask(world.a, .switchover(to: nil, dryRun: false))
        world.run(.seconds(10)) { $0.a.ledger?.primary == "b" && $0.a.ledger?.bond == .sole }
        let consent = try #require(world.a.ledger)
        world.run(.seconds(20)) { $0.b.ledger?.primary == "a" && $0.b.ledger?.bond == .sole }
        let mine = try #require(world.b.ledger)
        #expect(consent.primary == "b" && mine.primary == "a" && mine.bond == .sole && mine.isNewer(than: consent), "\(mine)")
        var node = world.b.node
        let now = world.b.clock.now(world.now)
        var old = try #require(node.peer.last)
        (old.number, old.ledger, old.ask, old.answer) = (1, consent, nil, nil)
        node.peer.newestLedger = consent
        let never = SessionID(4711)
        let effects =
            node.step(.hello(session: never), at: now + .milliseconds(1))
            + node.step(.heartbeat(old, .init(sender: never, receiver: world.b.sessionID)), at: now + .milliseconds(2))
        let written = effects.compactMap { effect -> Ledger? in
            if case .writeLedger(let ledger, _) = effect { ledger } else { nil }
        }
        #expect(!written.contains { $0.primary == "b" }, "\(written)")
    }

    /// The witness has started anew, and greets once more before its first answer comes: the answer counts (seed 1045005 heard none for 20 s). One that
    /// was taken for over, and greets again, must answer what it was asked since.
    @Test func aSecondGreetingTakesNoAnswerAway() throws {
        let world = Scene.whole()
        var node = world.a.node
        let now = world.a.clock.now(world.now)
        let fresh = SessionID(4711), old = try #require(node.arbiter.session)
        func reads(_ effects: [Effect], to witness: SessionID) -> [WitnessRequest] {
            effects.compactMap {
                if case .askWitness(let request, let header) = $0, header.receiver == witness { request } else { nil }
            }
        }
        func answer(_ request: WitnessRequest, from witness: SessionID) -> Event {
            .witness(
                WitnessAnswer(number: request.number, generation: 9, record: world.witness.record),
                .init(sender: witness, receiver: world.a.sessionID))
        }
        let before = try #require(reads(node.step(.tick, at: now + .milliseconds(1)), to: old).first)
        _ = node.step(.witnessHello(session: fresh), at: now + .milliseconds(2))
        let asked = try #require(reads(node.step(.tick, at: now + .milliseconds(3)), to: fresh).first)
        _ = node.step(.witnessHello(session: fresh), at: now + .milliseconds(4))
        _ = node.step(answer(asked, from: fresh), at: now + .milliseconds(5))
        #expect(node.arbiter.session == fresh)
        // The old run greets again; what it was asked before that it may not answer any more (mistake 25).
        _ = node.step(.witnessHello(session: old), at: now + .milliseconds(6))
        _ = node.step(answer(before, from: old), at: now + .milliseconds(7))
        #expect(node.arbiter.session == fresh)
        let again = try #require(reads(node.step(.tick, at: now + .milliseconds(8)), to: old).first)
        _ = node.step(answer(again, from: old), at: now + .milliseconds(9))
        #expect(node.arbiter.session == old)
    }
}
