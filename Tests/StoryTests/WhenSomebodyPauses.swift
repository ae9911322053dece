import TandemCore
import TandemSimulator
import Testing

/// 4.7. `sole` by every rule; but commits go on waiting for the standby, and the addresses stay.
@Suite struct WhenSomebodyPauses {
    @Test(arguments: [Party.a, .b]) func nothingMovesUntilSomebodyResumes(_ asked: Party) throws {
        let world = Scene.whole()
        let id = world.command(world.host(asked), .pause(maintenance: false))
        world.run(.seconds(3))
        #expect(world.answered(id, at: asked) == .done("paused: nothing fails over until `pgtandem resume`"))
        #expect(world.a.ledger?.paused?.isAwaited == true && world.a.ledger == world.b.ledger)
        #expect(world.a.held == .init(primary: .all, standby: .none) && world.b.held == .init(primary: .none, standby: .all))
        let resumed = world.command(world.host(asked), .resume)
        world.expectWhole(primary: "a")
        world.run(.seconds(1))
        guard case .done? = world.answered(resumed, at: asked) else { return #expect(Bool(false), "no answer to resume") }
    }

    @Test func aPausedPrimaryThatDiesIsNotReplaced() throws {
        try Scene.tell(
            "The primary is lost while the pair is paused",
            """
            4.7. Both nodes consented to the pause: by the ledger of both, the standby must not be promoted. It is not, and the primary that
            comes back opens again at once.
            """
        ) { world in
            _ = world.command(world.a, .pause(maintenance: false))
            world.run(.seconds(2))
            world.strike(.powerOff(.a), lasting: .seconds(10))
            world.run(.seconds(9))
            #expect(world.b.role == .standby)
            world.run(.seconds(10)) { $0.a.role == .primary || $0.a.role == .primaryStandby }
            _ = world.command(world.a, .resume)
            world.expectWhole(primary: "a", within: .seconds(40))
        }
    }

    @Test func commitsWaitForAStandbyThatIsAwayAndThenNoLonger() throws {
        try Scene.tell(
            "The standby is away for long during a pause",
            """
            4.7. Commits wait for the standby for 30 s of the pause, as somebody may only be restarting it; then they wait for nobody, and the
            primary serves both roles.
            """
        ) { world in
            _ = world.command(world.a, .pause(maintenance: false))
            world.run(.seconds(2))
            world.strike(.powerOff(.b), lasting: .seconds(70))
            world.run(.seconds(10))
            #expect(world.a.ledger?.paused?.isAwaited == true)
            world.expectAlone(world.a, within: .seconds(40))
            #expect(world.a.ledger?.paused?.isAwaited == false)
        }
    }

    @Test func forWorkOnTheStandbyCommitsWaitForNobody() {
        let world = Scene.whole()
        _ = world.command(world.a, .pause(maintenance: true))
        world.run(.seconds(2))
        let before = world.acknowledgedCount
        world.strike(.powerOff(.b), lasting: .seconds(20))
        world.run(.seconds(3))
        #expect(world.acknowledgedCount > before + 40)
        world.run(.seconds(30))
        _ = world.command(world.a, .resume)
        world.expectWhole(primary: "a", within: .seconds(40))
    }

    @Test func anAgentThatIsStoppedLeavesEverythingAsItIs() {
        let world = Scene.whole()
        _ = world.command(world.a, .pause(maintenance: false))
        world.run(.seconds(2))
        let before = world.acknowledgedCount
        for party in [Party.a, .b] { world.strike(.agentStopped(party), lasting: .seconds(20)) }
        world.run(.seconds(15))
        #expect(world.a.held == .init(primary: .all, standby: .none) && world.b.held == .init(primary: .none, standby: .all))
        #expect(world.acknowledgedCount > before + 200, "PostgreSQL and the stream go on")
        world.run(.seconds(10))
        _ = world.command(world.a, .resume)
        world.expectWhole(primary: "a", within: .seconds(40))
    }

    /// Mistake 21: the standby's yes is late, and reaches the primary after it has gone another way.
    @Test func theStandbysYesIsLost() {
        for delay in stride(from: 0, through: 120, by: 10) {
            let world = Scene.whole(seed: UInt64(delay + 1))
            _ = world.command(world.a, .pause(maintenance: false))
            world.run(.milliseconds(delay))
            world.strike(.cut(.b, .a), lasting: .seconds(6))
            world.run(.seconds(9))
            _ = world.command(world.a, .resume)
            world.run(.seconds(60)) { $0.isWhole }
            #expect(
                world.isWhole && world.violation == nil,
                "cut \(delay) ms after the request: \(world.violation?.text ?? "not whole")")
        }
    }
}
