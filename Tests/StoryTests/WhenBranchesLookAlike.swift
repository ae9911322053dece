import Testing

@testable import TandemCore
@testable import TandemSimulator

/// Section 9, S6: two promotions that know nothing of each other make one number. PostgreSQL streams between such branches, and the standby's data is
/// then neither one's; so only who was compared with the other one connects to it.
@Suite struct WhenBranchesLookAlike {
    /// The standby's agent is dead, and somebody promotes its instance. Then its host boots while the primary's is off.
    @Test func itWasPromotedByHandWhileNobodyLooked() throws {
        try Scene.tell(
            "The standby was promoted by hand while its agent was dead",
            """
            S6. Nobody saw the standby open, and the primary's host is off when it boots: there is nothing to compare it with, so it is started connected
            to nobody. Meanwhile the primary was promoted once more, to the same timeline number. It serves; the standby is stopped, compared with it, and
            brought back.
            """, Setup(arbiter: .manual)
        ) { world in
            promoteUnseen(world)
            #expect(world.b.postgres.isIsolated)
            #expect(world.a.postgres.timeline == world.b.postgres.timeline, "else this tells nothing")
            world.expectWholeWithHelp(primary: "a")
        }
    }

    @Test func aStreamWouldMixThem() {
        let world = Scene.whole(Setup(arbiter: .manual), flaw: .streamsUncompared)
        promoteUnseen(world)
        world.run(.seconds(20))
        #expect(world.violation?.rule == .onlyData, "\(world.violation?.text ?? "nothing noticed it")")
    }

    /// A standby that is alone when it boots serves what it has, and follows soon after its primary serves.
    @Test(arguments: [ArbiterKind.witness, .manual]) func itBootsAloneAndIsConnectedLater(_ arbiter: ArbiterKind) {
        let world = Scene.whole(Setup(arbiter: arbiter))
        for host in [world.a, world.b] { world.powerOff(host) }
        world.run(.seconds(1))
        world.strike(.cutBoth(.a, .b), lasting: .seconds(8))
        world.strike(.witnessDies, lasting: .seconds(8))
        for host in [world.b, world.a] { world.boot(host) }
        world.run(.seconds(6))
        #expect(world.b.postgres.condition == .recovering && world.b.postgres.isIsolated)
        world.expectWhole(primary: "a")
        #expect(!world.b.postgres.isIsolated)
    }

    /// 4.7: under `pause` nothing is rewound or copied, and the standby that was restarted for its maintenance streams again.
    @Test func itIsComparedUnderPauseToo() {
        let world = Scene.whole(Setup(arbiter: .witness))
        world.ask(world.a, .pause(maintenance: true))
        world.run(.seconds(10)) { $0.b.ledger?.paused != nil }
        #expect(world.b.ledger?.paused != nil)
        world.powerOff(world.b)
        world.run(.seconds(2))
        world.boot(world.b)
        world.run(.seconds(10)) { $0.streams(from: $0.a, to: $0.b) }
        #expect(world.streams(from: world.a, to: world.b) && world.a.ledger?.paused != nil)
    }

    /// The same where it booted alone, and heard its primary later.
    @Test func underPauseItIsComparedWhenThePrimaryIsHeard() {
        let world = Scene.whole(Setup(arbiter: .witness))
        world.ask(world.a, .pause(maintenance: true))
        world.run(.seconds(10)) { $0.b.ledger?.paused != nil }
        world.powerOff(world.b)
        world.run(.seconds(1))
        world.strike(.cutBoth(.a, .b), lasting: .seconds(8))
        world.boot(world.b)
        world.run(.seconds(7))
        #expect(world.b.postgres.condition == .recovering && world.b.postgres.isIsolated)
        world.run(.seconds(10)) { $0.streams(from: $0.a, to: $0.b) }
        #expect(world.streams(from: world.a, to: world.b) && world.a.ledger?.paused != nil)
    }

    /// And one that cannot follow is looked at once: its readers are not sent away again and again until the pair is resumed.
    @Test func underPauseADivergedOneIsLeftAlone() {
        let world = Scene.whole(Setup(arbiter: .witness), transcript: true)
        world.ask(world.a, .pause(maintenance: true))
        world.run(.seconds(10)) { $0.b.ledger?.paused != nil }
        promoteByHandUnseen(world)
        world.strike(.cutBoth(.a, .b), lasting: .seconds(8))
        world.boot(world.b)
        world.run(.seconds(60))
        #expect(world.b.postgres.condition == .recovering && world.b.postgres.isIsolated)
        let stops = world.transcript.filter { $0.text.contains("is stopped to be compared") }
        #expect(stops.count == 1, "\(stops.map(\.text))")
    }

    /// The primary's connections are all taken, so nothing can be compared. Only who streamed from it in this term, as this agent saw, goes on.
    @Test(arguments: [true, false]) func thePrimaryCannotBeAsked(_ agentSawTheStream: Bool) {
        let world = Scene.whole(Setup(arbiter: .witness))
        world.b.surveysFail = 4
        if !agentSawTheStream {
            world.powerOff(world.b)
            world.run(.seconds(1))
            world.boot(world.b)
        } else {
            world.strike(.postmasterDies(.b, orphans: false))
            world.run(.milliseconds(100))
        }
        world.run(.seconds(20)) { $0.b.postgres.condition == .recovering }
        #expect(world.b.postgres.condition == .recovering)
        #expect(world.b.postgres.isIsolated != agentSawTheStream)
        world.expectWhole(primary: "a", within: .seconds(60))
    }

    /// In asynchronous mode a handover takes what the standby has for a part of the primary's branch.
    @Test func aBranchThatWasNotComparedGetsNoRoleInOrder() {
        let world = Scene.whole(Setup(mode: .asynchronous, arbiter: .manual))
        promoteUnseen(world)
        #expect(world.b.postgres.isIsolated)
        #expect(world.b.node.standbyRefusals(at: world.present(world.b)).contains(.notStreaming))
        world.expectWholeWithHelp(primary: "a")
    }

    /// S4: positions on such a branch say nothing of what it holds. The role goes back to who gave it, and nothing is missed.
    @Test func anInstanceThatIsPromotedByHandDuringAHandoverTakesNoRole() {
        var givenBack = 0
        for seed in UInt64(1)...20 {
            let world = promotedDuringAHandover(seed, .milliseconds(Int(seed) * 10), flaw: nil)
            world.run(.seconds(20))
            #expect(world.violation == nil, "\(seed): \(world.violation?.text ?? "")")
            world.expectWhole(primary: world.b.ledger?.primary ?? "a", within: .seconds(60))
            if world.transcript.contains(where: { $0.text.contains("handed over to a") }) { givenBack += 1 }
        }
        #expect(givenBack > 3, "else this tells nothing")
    }

    @Test func withTheRoleItWouldLoseWhatThePrimaryAcknowledged() {
        // It must lack what was acknowledged in the last milliseconds, and no more than what its own promotion wrote.
        let broken = (UInt64(1)...100).lazy.compactMap { seed in
            promotedDuringAHandover(seed, .milliseconds(Int(seed) % 10 * 15), flaw: .foreignTakesOver).violation
        }.first
        #expect(broken?.rule == .asynchronousLoss, "\(String(describing: broken))")
    }

    /// The primary was promoted at its boot and dies at once. Its handover is on its way when the standby, which does not hear it, is granted the
    /// role: to the same timeline number. Its old primary follows only who has taken what it gave.
    @Test func theRoleIsClaimedWhileTheHandoverIsOnItsWay() {
        var claimed = 0
        for seed in UInt64(1)...20 {
            let world = claimedDuringAHandover(seed, flaw: nil)
            #expect(world.violation == nil, "\(seed): \(world.violation?.text ?? "")")
            world.expectWhole(primary: world.a.ledger?.primary ?? "b", within: .seconds(60))
            let texts = world.transcript.map(\.text)
            if texts.contains("handed over to b"), texts.contains(where: { $0.hasPrefix("the witness grants the role") }) {
                claimed += 1
            }
        }
        #expect(claimed > 3, "else this tells nothing")
    }

    @Test func whoFollowsWhatWasNotTakenMixesBranches() {
        let broken = (UInt64(1)...20).compactMap { claimedDuringAHandover($0, flaw: .followsUntaken).violation }
        #expect(!broken.isEmpty && broken.allSatisfy { $0.rule == .onlyData }, "\(broken)")
    }

    /// The same, and its agent dies with the role in its hands. Who forgot that somebody promoted the instance would take it the next time.
    @Test func whatSomebodyPromotedIsNotForgottenByARestart() {
        var met = 0
        for seed in UInt64(1)...60 {
            let world = foreignInAHandover(seed)
            guard world.b.state == .handingOver else { continue }
            // Once it is ended, nothing shows any more who opened it.
            world.run(.milliseconds(200)) { $0.b.postgres.condition == .stopped }
            guard world.b.postgres.condition == .stopped, world.b.ledger?.term == Term(4) else { continue }
            met += 1
            world.strike(.agentDies(.b), lasting: .milliseconds(300))
            world.run(.seconds(5))
            #expect(world.violation == nil, "\(seed): \(world.violation?.text ?? "")")
            let taken = world.transcript.contains { $0.who == "b" && $0.text == "its ledger is now (5, 0, b, paired)" }
            #expect(!taken, "\(seed)")
        }
        #expect(met > 3, "else this tells nothing: \(met)")
    }

    /// Where such an instance's WAL ends is no point to follow from.
    @Test func whoGivesTheRoleBackForThatIsCompared() {
        var met = 0
        for seed in UInt64(1)...20 {
            let world = foreignInAHandover(seed)
            world.run(.seconds(1)) { $0.b.ledger?.primary == "a" && $0.b.ledger?.handoverEnd != nil }
            guard world.b.ledger?.primary == "a", world.b.ledger?.handoverEnd != nil else { continue }
            met += 1
            #expect(world.b.notes.follows == nil && world.b.notes.isForeign == true, "\(seed): \(world.b.notes)")
        }
        #expect(met > 3, "else this tells nothing: \(met)")
    }

    /// A promotion that failed again and again may have happened after the last look.
    @Test func aPromotionThatFailedIsCompared() {
        let world = Scene.whole(Setup(arbiter: .witness))
        world.strike(.effectsFail(.b, .promote, 4))
        world.ask(world.a, .switchover(to: nil, dryRun: false))
        world.run(.seconds(20)) { $0.b.ledger?.primary == "a" && $0.b.ledger?.term == Term(6) }
        #expect(world.b.ledger?.term == Term(6) && world.b.notes.follows == nil && world.b.notes.isForeign == true)
        world.expectWhole(primary: "a", within: .seconds(60))
    }

    /// It was promoted by somebody, and who handed over is gone: the handover is nobody's any more, and what is acknowledged is here.
    @Test(arguments: UInt64(1)...3) func anOrphanThatSomebodyPromotedIsGrantedTheRole(_ seed: UInt64) {
        let world = Scene.whole(Setup(arbiter: .witness), seed: seed)
        world.strike(.effectsFail(.b, .receiveWAL, 1000))
        world.strike(.postmasterDies(.a, orphans: false))
        world.run(.seconds(5)) { $0.b.state == .promoting }
        world.powerOff(world.a)
        world.run(.milliseconds(1300))
        #expect(world.b.state == .promoting)
        world.strike(.promotedByHand(.b))
        world.run(.milliseconds(500)) { $0.b.state == .standby }
        #expect(world.b.state == .standby)
        world.expectAlone(world.b, within: .seconds(30))
    }

    /// In synchronous mode this node holds every acknowledged commit, so it must not wait for ever for the rest (4.3).
    @Test(arguments: UInt64(1)...5) func whoHandedOverIsGoneBeforeTheEndOfItsWALIsHere(_ seed: UInt64) {
        let world = Scene.whole(Setup(arbiter: .witness), seed: seed, transcript: true)
        world.strike(.effectsFail(.b, .receiveWAL, 1000))
        world.strike(.postmasterDies(.a, orphans: false))
        world.run(.seconds(5)) { $0.b.state == .promoting }
        world.powerOff(world.a)
        world.expectAlone(world.b, within: .seconds(30))
        #expect(world.transcript.contains { $0.text.hasPrefix("the witness grants the role") })
    }

    private func promotedDuringAHandover(_ seed: UInt64, _ after: Duration, flaw: Flaw?) -> World {
        let world = Scene.whole(Setup(mode: .asynchronous, arbiter: .witness), seed: seed, flaw: flaw, transcript: true)
        beginHandover(world)
        world.run(after)
        world.strike(.promotedByHand(.b))
        world.run(.seconds(2))
        return world
    }

    /// Until the role that was handed over is on its way back, or two seconds are over.
    private func foreignInAHandover(_ seed: UInt64) -> World {
        let world = Scene.whole(Setup(mode: .asynchronous, arbiter: .witness), seed: seed, transcript: true)
        beginHandover(world)
        world.run(.milliseconds(Int(seed) % 10 * 15))
        world.strike(.promotedByHand(.b))
        world.run(.seconds(2)) { $0.b.state == .handingOver }
        return world
    }

    private func beginHandover(_ world: World) {
        world.ask(world.a, .switchover(to: nil, dryRun: false))
        world.run(.seconds(2)) { if case .ending = handing($0.a)?.phase { true } else { false } }
    }

    private func claimedDuringAHandover(_ seed: UInt64, flaw: Flaw?) -> World {
        let world = Scene.whole(Setup(mode: .asynchronous, arbiter: .witness), seed: seed, flaw: flaw, transcript: true)
        world.strike(.witnessDies, lasting: .seconds(3))
        world.powerOff(world.a)
        world.run(.seconds(1))
        world.boot(world.a)
        world.run(.seconds(10)) { $0.a.agentRuns && $0.a.state == .primary }
        world.strike(.postmasterDies(.a, orphans: false))
        world.run(.seconds(1)) { handing($0.a)?.replayed != nil }
        world.strike(.stall(.a, .b), lasting: .seconds(5))
        world.run(.seconds(20))
        return world
    }

    private func handing(_ host: SimHost) -> HandingOver? {
        if case .handingOver(let handing) = host.node.state { handing } else { nil }
    }

    private func promoteByHandUnseen(_ world: World) {
        world.strike(.agentDies(.b), lasting: .seconds(60))
        world.run(.milliseconds(100))
        world.strike(.promotedByHand(.b))
        world.run(.milliseconds(100))
        world.powerOff(world.b)
    }

    private func promoteUnseen(_ world: World) {
        promoteByHandUnseen(world)
        world.run(.seconds(1))
        world.ask(world.a, .failover(acceptDataLoss: true))
        world.run(.seconds(5)) { $0.servesAlone($0.a) }
        world.say("—", "somebody restarts PostgreSQL on a as standby, and promotes it")
        world.a.postgres.timeline += 1
        world.strike(.isolate(.a), lasting: .seconds(6))
        world.boot(world.b)
        world.run(.seconds(5))
    }
}
