import TandemCore
import TandemSimulator
import Testing

/// 3.3: an empty witness answers nothing but `read`, until its record is written anew.
@Suite struct WhenTheRecordIsLost {
    @Test func aPairedPairWritesItAnewTogether() throws {
        try Scene.tell(
            "The witness loses its record",
            """
            S1. The witness comes back empty: it grants nothing, and supports nobody. Both nodes name its session and the same ledger; only then does
            it have a record again. Meanwhile the standby's word keeps the lease.
            """
        ) { world in
            world.strike(.witnessForgets, lasting: .milliseconds(500))
            world.run(.seconds(4))
            #expect(world.witness.record == world.a.ledger)
            #expect(world.isWhole)
        }
    }

    @Test func aPrimaryThatIsAloneTakesItsNextTermFirst() throws {
        try Scene.tell(
            "The witness loses its record while the primary is alone",
            """
            S1. What the witness had granted before the loss may still be on its way (mistake 22): the primary takes its own next term, which
            is above it, and only then writes the record.
            """
        ) { world in
            world.strike(.powerOff(.b), lasting: .seconds(9))
            world.expectAlone(world.a, within: .seconds(5))
            let term = world.a.ledger?.term
            world.strike(.witnessForgets, lasting: .milliseconds(500))
            world.run(.seconds(3))
            #expect((world.a.ledger?.term ?? Term(0)) > (term ?? Term(99)))
            #expect(world.witness.record == world.a.ledger)
            world.expectWholeWithHelp(primary: "a")
        }
    }

    @Test func theStandbyIsNotGrantedAnythingByAnEmptyWitness() {
        let world = Scene.whole()
        world.strike(.witnessForgets, lasting: .milliseconds(300))
        world.strike(.powerOff(.a), lasting: .seconds(8))
        world.run(.seconds(7))
        #expect(world.b.role != .primaryStandby)
        world.settle(within: .seconds(90))
        #expect(world.isWhole && world.violation == nil)
    }

    @Test func aFullDiskOfTheWitnessChangesNothingThatMatters() {
        let world = Scene.whole()
        world.strike(.witnessDiskFull, lasting: .seconds(10))
        world.run(.seconds(3))
        #expect(world.isWhole, "a promise needs no disk")
        world.strike(.powerOff(.b), lasting: .seconds(20))
        world.run(.seconds(5))
        #expect(world.a.ledger?.bond == .paired, "`sole` is not reached before it is durable there")
        world.expectAlone(world.a, within: .seconds(10))
    }
}
