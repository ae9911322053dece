import TandemCore
import TandemSimulator
import Testing

/// 3.2: a machine that does not run is outside of S1 until its guard has run once. S3 holds all the same.
@Suite struct WhenAHostIsPaused {
    @Test func thePrimaryIsFrozenForLongerThanItsLease() throws {
        try Scene.tell(
            "The primary's host is frozen",
            """
            S3. Every process of the primary's host stands still for longer than its lease, and the standby is promoted. When the host goes on, its
            guard finds the deadline in the past, and ends PostgreSQL and the addresses. Until then a commit could only have been acknowledged
            with the word of the other host, which follows it no longer.
            """
        ) { world in
            world.strike(.freeze(.a), lasting: .seconds(6))
            world.expectAlone(world.b, within: .seconds(5))
            world.expectWholeWithHelp(primary: "b")
        }
    }

    @Test func theAgentHangsAndTheGuardActs() throws {
        try Scene.tell(
            "The primary's agent hangs",
            """
            S1. The agent alone stands still; PostgreSQL and its clients go on. No heartbeat renews the lease, so the guard, a process of its own,
            ends the instance in time.
            """
        ) { world in
            world.strike(.agentHangs(.a), lasting: .seconds(6))
            world.expectAlone(world.b, within: .seconds(5))
            world.expectWholeWithHelp(primary: "b")
        }
    }

    @Test func agentAndGuardDieTogether() {
        let world = Scene.whole()
        world.strike(.agentAndGuardDie(.a))
        world.run(.milliseconds(100))
        #expect(world.a.held.primary == .none, "the service manager runs the guard's last act")
        world.settle(within: .seconds(90))
        #expect(world.isWhole && world.violation == nil)
    }

    @Test func theAgentIsStartedAnewAndNobodyNotices() {
        let world = Scene.whole()
        let before = world.acknowledgedCount
        world.strike(.agentDies(.a))
        world.run(.seconds(3))
        #expect(world.isWhole)
        #expect(world.acknowledgedCount > before + 40, "the lease that the guard holds is long enough for a restart")
    }

    /// 3.1: the lease ends when the FIRST clock says so, a promise when the LAST does.
    @Test(arguments: [-80_000, 80_000] as [Int64]) func aClockIsSlewedByEightPercent(_ rate: Int64) {
        let setup = Setup(timing: .relaxed)
        for party in [Party.a, .b] {
            let world = Scene.whole(setup)
            world.strike(.slew(party, rate), lasting: .seconds(60))
            world.run(.seconds(5))
            world.strike(.isolate(.a), lasting: .seconds(30))
            world.expectAlone(world.b, within: .seconds(25))
            world.settle(within: .seconds(90))
            #expect(world.isWhole && world.violation == nil, "\(world.violation?.text ?? "not whole")")
        }
    }

    /// S5: the guard stands until the primary address is gone, also when the agent, which knows already that it is a standby, cannot remove it.
    @Test(arguments: 1...4 as ClosedRange<UInt64>) func theFrozenPrimaryCannotRemoveItsAddress(_ seed: UInt64) {
        let world = Scene.whole(seed: seed)
        world.strike(.effectsFail(.a, .releaseAddress, 3), lasting: .seconds(30))
        world.strike(.freeze(.a), lasting: .seconds(6))
        world.expectAlone(world.b, within: .seconds(5))
        world.run(.seconds(10))
        #expect(world.violation == nil, "\(world.violation?.text ?? "")")
        #expect(world.a.held.primary == .none)
    }
}
