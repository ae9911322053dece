import TandemCore
import TandemSimulator
import Testing

@Suite struct WhenTheOldPrimaryReturns {
    /// 5.6: the newer ledger wins, wherever it is met.
    @Test func itFollowsAndIsGivenTheStandbysRole() {
        let world = Scene.whole()
        world.strike(.powerOff(.a), lasting: .seconds(8))
        world.expectAlone(world.b, within: .seconds(6))
        world.expectWholeWithHelp(primary: "b")
        #expect(world.a.ledger == world.b.ledger)
    }

    @Test func itHearsOnlyTheWitness() throws {
        try Scene.tell(
            "The old primary returns and hears only the witness",
            """
            S1. It was paired primary by its ledger, so it may not open before somebody supports it (5.3). The witness answers with a newer record
            instead: it is the standby now.
            """
        ) { world in
            world.strike(.powerOff(.a), lasting: .seconds(5))
            world.run(.seconds(4))
            world.strike(.cutBoth(.a, .b), lasting: .seconds(6))
            world.run(.seconds(5))
            #expect(world.a.ledger?.primary == "b")
            #expect(world.b.role == .primaryStandby)
            world.expectWholeWithHelp(primary: "b")
        }
    }

    @Test func itHearsNobodyAndServesNothing() {
        let world = Scene.whole()
        world.strike(.powerOff(.a), lasting: .seconds(5))
        world.run(.seconds(4))
        world.strike(.isolate(.a), lasting: .seconds(12))
        world.run(.seconds(10))
        #expect(world.a.role == .none)
        #expect(world.a.held == .init(primary: .none, standby: .none))
        world.expectWholeWithHelp(primary: "b")
    }

    /// Both lost power; the record says who was primary, and in which bond (5.2, 5.3).
    @Test(arguments: [Party.a, .b]) func bothWereOffAndOneBootsFirst(_ first: Party) {
        let world = Scene.whole()
        let second: Party = first == .a ? .b : .a
        world.powerOff(world.a)
        world.powerOff(world.b)
        world.run(.seconds(5))
        world.boot(world.host(first))
        world.expectAlone(world.host(first), within: .seconds(20))
        world.boot(world.host(second))
        world.expectWholeWithHelp(primary: world.host(first).name)
    }

    @Test func withoutTheWitnessTheFirstOneWaitsForTheSecond() throws {
        try Scene.tell(
            "Both hosts were off and the witness is lost",
            """
            S1. The paired primary that boots first has nobody's support: the other one may have been promoted meanwhile. It waits, and opens as soon as
            the other one acknowledges a heartbeat of this session.
            """
        ) { world in
            world.strike(.witnessDies, lasting: .seconds(60))
            world.powerOff(world.a)
            world.powerOff(world.b)
            world.run(.seconds(3))
            world.boot(world.a)
            world.run(.seconds(10))
            #expect(world.a.role == .none, "nobody has acknowledged a heartbeat of this session")
            world.boot(world.b)
            world.expectWholeWithHelp(primary: "a")
        }
    }

    /// 4.3: what a person gave up must give way when it returns, also if it has taken more terms than the one that was promoted can know of.
    @Test func itHasTakenTermsThatNobodyHeardOf() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        // A's PostgreSQL dies, so A hands over; B is lost before it has written that, and a person lets A go on, in its next term but one.
        pair.b.delays["receiveWAL"] = .seconds(5)
        pair.killPostgres(pair.a)
        pair.run(.seconds(3)) { $0.a.ledger?.primary == "b" }
        pair.powerOff(pair.b)
        pair.run(.seconds(3))
        pair.command(pair.a, .failover(acceptDataLoss: false))
        pair.run(.seconds(5)) { $0.a.held.primary == .all }
        #expect(pair.a.ledger?.term == Term(4), "\(pair.a.ledger.map { "\($0)" } ?? "") \(pair.a.answers) \(pair.transcript)")
        #expect(pair.b.ledger?.term == Term(2))
        // Then A is lost, and B must do, with what it has.
        pair.powerOff(pair.a)
        pair.boot(pair.b)
        pair.run(.seconds(3))
        pair.command(pair.b, .failover(acceptDataLoss: true))
        pair.run(.seconds(5)) { $0.b.held.primary == .all }
        #expect(pair.b.ledger?.forced == true)
        pair.boot(pair.a)
        pair.run(.seconds(3))
        #expect(pair.a.ledger?.primary == "b", "\(pair.a.ledger.map { "\($0)" } ?? "")")
        #expect(pair.b.held.primary == .all && pair.a.held.primary == .none)
    }
}
