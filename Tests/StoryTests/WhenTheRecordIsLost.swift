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

    /// Nothing could be granted, whatever else is well, so nobody is told that a failover would succeed.
    @Test func withoutARecordTheStandbyIsNotReady() {
        let world = Scene.whole()
        world.strike(.cutBoth(.a, .witness), lasting: .seconds(6))
        world.strike(.witnessForgets, lasting: .milliseconds(300))
        world.run(.seconds(4))
        #expect(world.b.node.failoverReadiness(at: world.present(world.b)).map(\.code) == ["recordLost"])
        #expect(
            world.a.node.failoverReadiness(at: world.present(world.a)).map(\.code) == ["recordLost"], "the primary says it too")
        world.run(.seconds(8))
        #expect(world.b.node.failoverReadiness(at: world.present(world.b)).isEmpty, "both have written it anew")
    }

    /// 3.3: what stands in it is below what both nodes have seen. The old primary is not made one again by it, and no lease rests on it.
    @Test func aRestoredRecordIsNotBelieved() throws {
        try Scene.tell(
            "The witness is restored from a backup",
            """
            S2. The backup is from before the roles were exchanged, and from an earlier start of the witness. Both nodes have seen more than it says: they
            do not believe it, and go on as without a witness. When the primary's host is lost, nothing is promoted by what stands there.
            """
        ) { world in
            let backup = try #require(world.witness.record)
            world.strike(.witnessDies, lasting: .milliseconds(200))
            world.run(.seconds(1))
            world.strike(.witnessDies, lasting: .milliseconds(200))
            world.run(.seconds(1))
            world.strike(.switchover(.a))
            world.expectWhole(primary: "b")
            // Both have asked the witness since.
            world.run(.seconds(2))
            world.restoreWitness(record: backup, generation: 0)
            world.run(.seconds(4))
            #expect(world.isWhole)
            for host in world.hosts { #expect(host.node.arbiter.isOutdated, "\(host.name)") }
            world.strike(.powerOff(.b), lasting: .seconds(8))
            world.run(.seconds(7))
            #expect(world.a.role == .standby && world.a.held.primary == .none)
            world.expectWholeWithHelp(primary: "b")
        }
    }

    /// What stands in the backup fits the ledger of a standby that was away: only the generation tells it. A grant would be newer than
    /// everything that was seen, so it must not even be asked for.
    @Test func aStandbyThatWasAwayIsGrantedNothingByARestoredRecord() throws {
        let (world, backup) = try afterTwoStartsOfTheWitness()
        world.strike(.powerOff(.b), lasting: .seconds(10))
        world.expectAlone(world.a, within: .seconds(5))
        world.run(.seconds(1))
        world.strike(.powerOff(.a), lasting: .seconds(15))
        world.restoreWitness(record: backup, generation: 0)
        world.run(.seconds(13))
        #expect(world.b.role == .standby && world.b.node.arbiter.isOutdated)
        #expect(world.witness.record == backup)
        world.expectWholeWithHelp(primary: "a")
    }

    /// The primary is alone by a record that a snapshot has undone, and the standby's agent is new: the first thing that it asks for is not the
    /// role, as one answer tells what it talks to.
    @Test func aNewAgentReadsBeforeItAsksForTheRole() throws {
        let (world, backup) = try afterTwoStartsOfTheWitness()
        world.strike(.isolate(.b), lasting: .seconds(10))
        world.expectAlone(world.a, within: .seconds(6))
        world.strike(.cutBoth(.a, .b), lasting: .seconds(30))
        world.strike(.isolate(.a), lasting: .seconds(30))
        world.strike(.agentDies(.b), lasting: .milliseconds(100))
        world.run(.milliseconds(50))
        world.restoreWitness(record: backup, generation: 0)
        world.run(.seconds(25))
        #expect(world.b.role != .primaryStandby && world.witness.record == backup)
        world.expectWholeWithHelp(primary: "a")
    }

    /// A record, and two starts since, so that both nodes have seen a higher generation.
    private func afterTwoStartsOfTheWitness() throws -> (World, Ledger) {
        let world = Scene.whole()
        let backup = try #require(world.witness.record)
        for _ in 1...2 {
            world.strike(.witnessDies, lasting: .milliseconds(200))
            world.run(.seconds(1))
        }
        return (world, backup)
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
