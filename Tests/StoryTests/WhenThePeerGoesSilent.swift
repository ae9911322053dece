import TandemCore
import TandemSimulator
import Testing

/// Silence is no proof of anything. What follows from it rests on leases and promises (3.1), and on the record (3.3).
@Suite struct WhenThePeerGoesSilent {
    @Test func theStandbyIsPromotedWhenEveryPromiseIsOver() throws {
        try Scene.tell(
            "The primary's host is lost",
            """
            S1, L2. The host of the primary loses power. The standby hears nothing; its own promise not to support another primary runs out, and so
            does the witness's. Then, and not before, the witness grants its claim, and it serves both roles. The host that comes back finds a newer
            ledger, and follows.
            """
        ) { world in
            world.strike(.powerOff(.a), lasting: .seconds(6))
            world.expectAlone(world.b, within: .seconds(5))
            world.expectWholeWithHelp(primary: "b")
        }
    }

    @Test func thePrimaryGoesOnAlone() throws {
        try Scene.tell(
            "The standby's host is lost",
            """
            S3. Commits wait for the standby until it is certain that it cannot be promoted: the witness writes `sole` into its record. That wait is
            the price of losing nothing; it ends within about the lease.
            """
        ) { world in
            world.strike(.powerOff(.b), lasting: .seconds(5))
            world.expectAlone(world.a, within: .seconds(4))
            world.expectWholeWithHelp(primary: "a")
        }
    }

    @Test func aLostWitnessStopsNobody() {
        let world = Scene.whole()
        let before = world.acknowledgedCount
        world.strike(.witnessDies, lasting: .seconds(20))
        world.run(.seconds(15))
        #expect(world.isWhole)
        #expect(world.acknowledgedCount > before + 100, "one acknowledgement of a heartbeat, from either, keeps the lease")
    }

    /// 4.4: no permission is needed from the witness, since both nodes agree.
    @Test(arguments: [Fault.Kind.switchover(.a), .postmasterDies(.a, orphans: false)])
    func aLostWitnessHoldsUpNoHandover(fault: Fault.Kind) {
        let world = Scene.whole()
        world.strike(.witnessDies, lasting: .seconds(30))
        world.run(.seconds(5))
        #expect(world.b.node.failoverReadiness(at: world.present(world.b)).map(\.code) == ["witnessSilent"])
        world.strike(fault)
        world.expectWhole(primary: "b")
        #expect(!world.witness.isRunning)
    }

    @Test func withoutTheWitnessASilentStandbyEndsThePrimary() throws {
        try Scene.tell(
            "The witness is lost, then the standby's host",
            """
            S1. With the witness gone and the standby silent, nobody has promised anything any more: the standby might be promoted by a grant
            that the primary does not hear of. The primary stops accepting writes when its lease ends. It waits for either of the two.
            """
        ) { world in
            world.strike(.witnessDies, lasting: .seconds(12))
            world.run(.seconds(2))
            world.strike(.powerOff(.b), lasting: .seconds(6))
            world.run(.seconds(4))
            #expect(world.a.role == .none)
            #expect(world.a.held.primary == .none)
            world.expectWholeWithHelp(primary: "a")
        }
    }

    /// 3.1: the lease is not for ever with a live agent alone (mistake 17).
    @Test func anAgentWhosePostgresIsDeadAsksForNoLease() {
        let world = Scene.whole()
        world.strike(.effectsFail(.a, .start, 1000), lasting: .seconds(60))
        world.strike(.cutBoth(.a, .b), lasting: .seconds(60))
        world.strike(.postmasterDies(.a, orphans: false))
        world.expectAlone(world.b, within: .seconds(40))
    }
}
