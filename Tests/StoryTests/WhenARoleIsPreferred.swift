import TandemCore
import Testing

@testable import TandemSimulator

/// The preferred primary gets its role back by the handover of a planned change (4.4), announced beforehand; a barred node gives it away.
@Suite struct WhenARoleIsPreferred {
    @Test func thePreferredHostGetsTheRoleBack() throws {
        try Scene.tell(
            "The preferred primary returns",
            "`preferred_primary: a`. A's host loses its power, B takes over, and A comes back as the standby. Once nothing has been in the way"
                + " for the announced time, the role goes back by the handover of a planned change: no acknowledged commit is lost (S3).",
            Setup(preferred: .a)
        ) { world in
            world.strike(.powerOff(.a), lasting: .seconds(5))
            world.run(.seconds(20)) { $0.isWhole && $0.b.role == .primary }
            #expect(world.b.role == .primary)
            world.expectWhole(primary: "a")
        }
    }

    @Test func nothingIsGivenBeforeThePairIsWholeAndTheTimeIsUp() throws {
        let world = Scene.whole(Setup(preferred: .b))
        let began = world.now
        world.run(.seconds(20)) { $0.b.role == .primary }
        #expect(world.b.role == .primary)
        // The founding pair had been whole for a second; the notice is two.
        #expect(world.now - began > 500_000_000)
        world.expectWhole(primary: "b")
    }

    @Test func aPersonSaysNoToIt() {
        let world = Scene.whole(Setup(preferred: .b), seed: 2)
        world.strike(.failbackCancelled(.b))
        world.run(.seconds(30))
        #expect(world.a.role == .primary)
        // Until the role changes for another reason.
        world.strike(.switchover(.a))
        world.expectWhole(primary: "b")
        world.strike(.switchover(.b))
        world.run(.seconds(10)) { $0.isWhole && $0.a.role == .primary }
        world.expectWhole(primary: "b")
    }

    /// Nor is it forgotten by an agent that starts again, in the same term.
    @Test func aPersonsNoOutlivesTheAgent() {
        let world = Scene.whole(Setup(preferred: .b), seed: 2)
        world.strike(.failbackCancelled(.b))
        world.run(.seconds(1))
        world.strike(.agentDies(.a), lasting: .milliseconds(300))
        world.run(.seconds(30))
        #expect(world.a.role == .primary && world.b.role == .standby)
        #expect(
            world.a.node.remarks(at: world.a.clock.now(world.now).boot).contains { $0.contains("a person keeps the role here") })
        // The next term has its own.
        world.ask(world.a, .switchover(to: nil, dryRun: false))
        world.expectWhole(primary: "b")
        #expect(world.a.node.notes.roleKeptIn == nil || world.a.node.notes.roleKeptIn != world.a.ledger?.term)
    }

    @Test func itWaitsForItsWindow() {
        let world = Scene.whole(Setup(preferred: .b))
        world.strike(.windowsClosed)
        world.run(.seconds(30))
        #expect(world.a.role == .primary)
        #expect(
            world.a.node.remarks(at: world.a.clock.now(world.now).boot).contains {
                $0.contains("window of `failback:` is closed")
            })
        world.heal()
        world.expectWhole(primary: "b")
    }

    /// A host that gives the role up each time that it gets it must not make the pair swing.
    @Test func aRoleThatComesRightBackGoesLaterEachTime() {
        let world = Scene.whole(Setup(preferred: .b))
        var spans: [Int64] = []
        for _ in 0..<3 {
            let began = world.now
            world.run(.seconds(60)) { $0.b.role == .primary }
            spans.append(world.now - began)
            world.expectWhole(primary: "b")
            world.strike(.postmasterDies(.b, orphans: false))
            world.run(.seconds(20)) { $0.isWhole && $0.a.role == .primary }
        }
        #expect(spans[1] > spans[0] && spans[2] > spans[1] + 1_500_000_000, "\(spans)")
        #expect(world.violation == nil)
    }

    @Test func aBarredHostIsNotPromotedAndGivesTheRoleAway() {
        let world = Scene.whole(Setup(barred: .b))
        // Not by a failover,
        world.strike(.powerOff(.a), lasting: .seconds(8))
        world.run(.seconds(7))
        #expect(world.b.role == .standby)
        world.expectWhole(primary: "a")
        // nor by a crash that the other host would take over, nor by plan.
        world.strike(.postmasterDies(.a, orphans: false))
        world.expectWhole(primary: "a")
        world.strike(.switchover(.a))
        world.run(.seconds(5))
        world.expectWhole(primary: "a")
    }

    /// The other host is lost for good: the witness decides as ever, and a person's word lets the barred one ask it.
    @Test func aBarredHostTakesOverWhenAPersonSaysSo() {
        let world = Scene.whole(Setup(barred: .b))
        world.strike(.powerOff(.a), lasting: .seconds(60))
        world.run(.seconds(10))
        #expect(world.b.role == .standby)
        _ = world.command(world.b, .failover(acceptDataLoss: false))
        world.expectAlone(world.b, within: .seconds(10))
        // And gives the role away as soon as it can.
        world.expectWhole(primary: "a", within: .seconds(90))
    }

    /// It can only have come to the role before it was barred, or by a person's word.
    @Test func aBarredPrimaryHandsOverAtOnce() {
        let world = Scene.whole(Setup(barred: .a))
        world.expectWhole(primary: "b")
        world.run(.seconds(30))
        #expect(world.b.role == .primary)
    }
}
