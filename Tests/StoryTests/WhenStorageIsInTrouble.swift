import TandemCore
import Testing

@testable import TandemSimulator

@Suite struct WhenStorageIsInTrouble {
    @Test func thePrimarysDiskTakesNoWritesAndTheStandbyTakesOver() throws {
        try Scene.tell(
            "when-the-primarys-disk-takes-no-writes",
            "The primary's file system turns read-only, as after an I/O error. PostgreSQL may go on reading for long; nothing can be committed. The standby takes over, and the old primary starts nothing on that disk until it has been well for a while."
        ) { world in
            world.strike(.storageFails(.a, .readOnly), lasting: .seconds(30))
            world.run(.seconds(4)) { $0.b.held.primary == .all }
            #expect(world.b.held.primary == .all)
            world.run(.seconds(20))
            #expect(world.a.role == .none, "nothing is started on a disk that takes no writes")
            world.expectWhole(primary: "b", within: .seconds(60))
        }
    }

    /// From a disk that can be read, the role is handed over. Where the end of WAL cannot be read, nobody knows what was written there, so nothing is
    /// given away: the lease ends, and the witness grants the role (4.3).
    @Test(arguments: [StorageFault.readOnly, .failing], [UInt64(1), 2, 3, 4])
    func whatItIs(_ fault: StorageFault, seed: UInt64) {
        let world = Scene.whole(Setup(arbiter: .witness), seed: seed)
        world.strike(.storageFails(.a, fault), lasting: .seconds(20))
        world.run(fault == .readOnly ? .seconds(4) : .seconds(10)) { $0.b.held.primary == .all }
        #expect(world.b.held.primary == .all, "\(fault): \(world.describe(world.a))")
        world.expectWhole(primary: "b", within: .seconds(60))
    }

    /// S4: a handover loses nothing, in asynchronous mode too. The standby lacks commits, and the disk that has them cannot be read: the role is
    /// not given away, and what the witness's grant loses is within the limit.
    @Test func aRoleIsNotGivenAwayFromADiskThatCannotBeRead() {
        for seed in UInt64(1)...10 {
            let world = lagging(seed, flaw: nil)
            #expect(world.violation == nil, "\(seed): \(world.violation?.text ?? "")")
            world.expectWhole(primary: world.b.ledger?.primary ?? "a", within: .seconds(90))
        }
    }

    /// The same with the end guessed from what the standby has.
    @Test func whatADiskHidesIsMissedWhereTheEndIsGuessed() {
        let broken = (UInt64(1)...10).compactMap { lagging($0, flaw: .handoverWithoutEnd).violation }
        #expect(!broken.isEmpty)
        #expect(broken.allSatisfy { $0.rule == .asynchronousLoss }, "\(broken)")
    }

    private func lagging(_ seed: UInt64, flaw: Flaw?) -> World {
        let world = Scene.whole(Setup(mode: .asynchronous, arbiter: .witness), seed: seed, flaw: flaw)
        world.strike(.replicaLags(.b), lasting: .seconds(20))
        world.run(.milliseconds(400))
        world.strike(.storageFails(.a, .failing), lasting: .seconds(30))
        world.run(.seconds(40))
        return world
    }

    /// Processes in such a disk wait do not die. The primary stops asking for its lease, and the standby claims.
    @Test(arguments: [UInt64(1), 2, 3]) func writesHangAndNoProcessDies(seed: UInt64) {
        let world = Scene.whole(Setup(arbiter: .witness), seed: seed)
        world.strike(.storageFails(.a, .hangs), lasting: .seconds(60))
        world.run(.seconds(9))
        #expect(world.a.held.primary == .all, "a busy disk is no dead one: the patience has not ended")
        world.expectAlone(world.b, within: .seconds(20))
        world.expectWhole(primary: "b", within: .seconds(120))
    }

    /// For less than its patience, nothing changes.
    @Test func writesHangForAMoment() {
        let world = Scene.whole(Setup(arbiter: .witness))
        let term = world.a.ledger?.term
        world.strike(.storageFails(.a, .hangs), lasting: .seconds(8))
        world.run(.seconds(15))
        world.expectWhole(primary: "a")
        #expect(world.a.ledger?.term == term)
    }

    /// The standby's may be as full, and PostgreSQL goes on reading.
    @Test func aFullDiskIsNoReasonByItself() {
        let world = Scene.whole(seed: 3)
        let term = world.a.ledger?.term
        world.tellsStorage(.full("the disk is full"), at: world.a)
        world.run(.seconds(20))
        #expect(world.a.ledger?.term == term)
        #expect(world.isWhole)
        #expect(world.a.node.remarks(at: Instant(nanoseconds: 0)).contains { $0.contains("the disk is full: free space") })
    }

    @Test func theStandbysDiskTakesNoWrites() {
        let world = Scene.whole(Setup(arbiter: .witness))
        world.strike(.storageFails(.b, .failing), lasting: .seconds(30))
        world.expectAlone(world.a, within: .seconds(5))
        world.run(.seconds(10))
        #expect(world.a.node.ledger?.bond == .sole, "not paired with a disk that fails")
        world.expectWhole(primary: "a", within: .seconds(60))
    }

    /// One slow write on the standby is no reason for anything, as long as it confirms what it gets.
    @Test func oneWriteOfTheStandbyIsSlow() {
        let world = Scene.whole(Setup(arbiter: .witness))
        world.tellsStorage(.hangs("writes do not come back", for: .seconds(3)), at: world.b)
        world.run(.seconds(3))
        world.tellsStorage(.well, at: world.b)
        world.run(.seconds(1))
        #expect(world.isWhole && world.a.node.ledger?.bond == .paired)
        world.strike(.powerOff(.a), lasting: .seconds(10))
        world.expectAlone(world.b, within: .seconds(6))
    }

    /// Its stream may run on for seconds while nothing is flushed there: commits do not wait for that.
    @Test func theStandbysCanaryIsHeardBeforeItsStreamEnds() {
        let world = Scene.whole(Setup(arbiter: .witness))
        world.tellsStorage(.failing("Input/output error"), at: world.b)
        world.expectAlone(world.a, within: .seconds(2))
        world.run(.seconds(5))
        #expect(world.a.node.ledger?.bond == .sole, "not paired as long as it lasts")
        world.tellsStorage(.well, at: world.b)
        world.run(.seconds(9))
        #expect(world.a.node.ledger?.bond == .sole, "nor before it was well for a while")
        world.expectWhole(primary: "a", within: .seconds(5))
    }

    /// No role comes to a disk that failed a moment ago: it is alone, and waits.
    @Test func theStandbyIsNotEligibleBeforeItsDiskWasWellForAWhile() {
        let world = Scene.whole(Setup(arbiter: .witness))
        world.tellsStorage(.failing("the disk fails"), at: world.b)
        world.strike(.powerOff(.a), lasting: .seconds(120))
        world.run(.seconds(6))
        #expect(world.b.held.primary == .none)
        #expect(world.b.node.failoverReadiness(at: world.present(world.b)).map(\.code).contains("storage"))
        world.tellsStorage(.well, at: world.b)
        world.run(.seconds(9))
        #expect(world.b.held.primary == .none, "well for nine seconds is not long enough")
        world.expectAlone(world.b, within: .seconds(4))
    }

    /// Both disks hang at once, as they do on one storage: nothing is lost, and the pair is whole when they go on.
    @Test(arguments: [StorageFault.hangs, .readOnly, .full]) func bothAtOnce(_ fault: StorageFault) {
        let world = Scene.whole(Setup(arbiter: .witness))
        world.strike(.storageFails(.a, fault), lasting: .seconds(40))
        world.strike(.storageFails(.b, fault), lasting: .seconds(41))
        world.run(.seconds(45))
        world.run(.seconds(90)) { $0.isWhole }
        #expect(world.isWhole, "\(world.describe(world.a)); \(world.describe(world.b))")
        #expect(world.violation == nil, "\(world.violation?.text ?? "")")
    }

    /// While nobody can take over, an instance that ends is started again; three times in five minutes, and the standby, back again, gets the role.
    @Test func aCrashLoopEndsWithTheStandby() {
        let world = Scene.whole(Setup(arbiter: .witness))
        world.strike(.powerOff(.b), lasting: .seconds(40))
        world.expectAlone(world.a, within: .seconds(10))
        // A start that fails is no further end.
        world.strike(.effectsFail(.a, .start, 1))
        for _ in 0..<3 {
            world.strike(.postmasterDies(.a, orphans: false))
            world.run(.seconds(8))
        }
        #expect(world.a.role == .primaryStandby)
        #expect(
            world.a.node.remarks(at: world.present(world.a)).contains { $0.contains("PostgreSQL has ended 3 times here") })
        world.run(.seconds(60)) { $0.b.role == .primary }
        world.expectWhole(primary: "b", within: .seconds(30))
    }

    /// 4.5: what the absent standby lacks is no longer kept when little room is left, and is kept again when the standby is back.
    @Test func littleRoomIsLeftWhileTheStandbyIsAway() {
        let world = Scene.whole(Setup(arbiter: .witness))
        world.strike(.powerOff(.b), lasting: .seconds(90))
        world.expectAlone(world.a, within: .seconds(10))
        #expect(world.slot(world.a) != nil)
        world.tellsStorage(.low("only 7 MB of 100 MB"), at: world.a)
        world.run(.seconds(40))
        #expect(world.slot(world.a) != nil, "it may be about to come back")
        world.run(.seconds(30))
        #expect(world.slot(world.a) == nil)
        world.run(.seconds(40)) { $0.isWhole }
        world.expectWhole(primary: "a")
        #expect(world.slot(world.a) == world.b.node.ledger?.standbyCopy)
    }
}
