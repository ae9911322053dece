import TandemCore
import Testing

@testable import TandemSimulator

/// `pgtandem rejoin`: coming back now, and by a new copy if wanted (section 6).
@Suite struct WhenAPersonAsksForRejoin {
    /// The standby consents to `sole` before its directory is touched; commits go on meanwhile, and the pair becomes whole with the new copy.
    @Test func aSoundStandbyIsCopiedAnew() throws {
        try Scene.tell(
            "A new copy of the standby is asked for",
            "A person runs `pgtandem rejoin --fresh` at B, which follows well. B consents to `sole` first, so that nothing rests on the directory"
                + " that is about to be replaced; A goes on alone, and the pair is whole again with B's new copy (section 6, 4.2)."
        ) { world in
            let old = try #require(world.b.mark?.copy)
            world.strike(.rejoinAsked(.b, fresh: true))
            world.run(.seconds(30)) { $0.isWhole && $0.b.mark?.copy != old }
            #expect(world.b.mark?.copy != old)
            world.expectWhole(primary: "a")
        }
    }

    @Test func aStandbyThatFollowsNeedsNoOther() {
        let world = Scene.whole()
        let old = world.b.mark
        let id = world.command(world.b, .rejoin(fresh: false))
        world.run(.seconds(5))
        guard case .done? = world.b.answers[id]?.last else { return #expect(Bool(false), "\(world.b.answers)") }
        #expect(world.b.mark == old)
        world.expectWhole(primary: "a")
    }

    @Test func aPrimaryAndAPausedPairAreLeftAlone() {
        let world = Scene.whole()
        let atPrimary = world.command(world.a, .rejoin(fresh: true))
        world.run(.seconds(1))
        guard case .refused? = world.a.answers[atPrimary]?.last else { return #expect(Bool(false), "\(world.a.answers)") }
        world.strike(.pause(.a, maintenance: false))
        world.run(.seconds(5)) { $0.a.ledger?.paused != nil && $0.b.ledger?.paused != nil }
        let old = world.b.mark
        let paused = world.command(world.b, .rejoin(fresh: true))
        world.run(.seconds(5))
        guard case .refused? = world.b.answers[paused]?.last else { return #expect(Bool(false), "\(world.b.answers)") }
        #expect(world.b.mark == old)
        #expect(world.violation == nil)
    }

    /// The night's window is closed: a branch of its own waits, says so, and a person's word is enough.
    @Test func theWindowIsForThoseWhoAskNobody() {
        let world = Scene.whole()
        world.strike(.windowsClosed)
        world.strike(.promotedByHand(.b))
        world.run(.seconds(15))
        let remarks = world.b.node.remarks(at: world.b.clock.now(world.now).boot)
        #expect(remarks.contains { $0.contains("waiting for the window of `rejoin:`") }, "\(remarks)")
        #expect(!world.isWhole)
        world.strike(.rejoinAsked(.b, fresh: false))
        world.expectWhole(primary: "a")
    }

    @Test func withTheWindowOpenNobodyNeedsToAsk() {
        let world = Scene.whole()
        world.strike(.promotedByHand(.b))
        world.expectWhole(primary: "a")
    }
}
