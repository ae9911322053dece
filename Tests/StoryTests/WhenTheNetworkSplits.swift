import TandemCore
import TandemSimulator
import Testing

/// One-way cuts first: they are ordinary.
@Suite struct WhenTheNetworkSplits {
    @Test func theStandbyIsNotHeard() throws {
        try Scene.tell(
            "The primary does not hear the standby",
            """
            S1. One direction is dead: the standby hears the primary, and supports it, but its acknowledgements are lost. The witness's keep the
            lease. The primary cannot get the standby's consent, and asks the witness for `sole` instead; the standby learns of it from the primary's
            heartbeats.
            """
        ) { world in
            world.strike(.cut(.b, .a), lasting: .seconds(6))
            world.expectAlone(world.a, within: .seconds(5))
            world.expectWhole(primary: "a", within: .seconds(30))
        }
    }

    @Test func thePrimaryIsNotHeard() throws {
        try Scene.tell(
            "The standby does not hear the primary",
            """
            S1. The other direction is dead. The standby's promise runs out, but the witness still hears the primary, and grants nothing.
            """
        ) { world in
            world.strike(.cut(.a, .b), lasting: .seconds(6))
            world.run(.seconds(5))
            #expect(world.a.role == .primary || world.a.role == .primaryStandby)
            world.expectWhole(primary: "a", within: .seconds(30))
        }
    }

    @Test func theHostsAreCutApart() {
        let world = Scene.whole()
        world.strike(.cutBoth(.a, .b), lasting: .seconds(6))
        // A cut between two healthy hosts is won by the primary.
        world.expectAlone(world.a, within: .seconds(5))
        #expect(world.b.held.standby == .none, "the standby has asked the witness, and has left its address")
        world.expectWhole(primary: "a", within: .seconds(30))
    }

    @Test func thePrimaryIsCutOffFromEveryone() throws {
        try Scene.tell(
            "The primary is cut off from everyone",
            """
            S1, S5. Nobody acknowledges its heartbeats any more. Its lease ends; its guard ends every process of the instance and removes the addresses
            before that, whatever its agent does. By then the others' promises are over too, and the standby is promoted.
            """
        ) { world in
            world.strike(.isolate(.a), lasting: .seconds(8))
            world.expectAlone(world.b, within: .seconds(5))
            #expect(world.a.held == .init(primary: .none, standby: .none))
            world.expectWholeWithHelp(primary: "b")
        }
    }

    @Test func thePrimaryIsCutOffFromTheWitnessOnly() {
        let world = Scene.whole()
        world.strike(.cutBoth(.a, .witness), lasting: .seconds(10))
        world.run(.seconds(9))
        #expect(world.isWhole, "one acknowledgement keeps the lease")
    }

    @Test func everybodyIsCutOffFromEverybody() {
        let world = Scene.whole()
        world.strike(.isolate(.a), lasting: .seconds(10))
        world.strike(.isolate(.b), lasting: .seconds(10))
        world.run(.seconds(8))
        #expect(world.a.role == .none && world.b.held.primary == .none)
        world.settle(within: .seconds(90))
        #expect(world.isWhole && world.violation == nil)
    }
}
