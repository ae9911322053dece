import TandemCore
import TandemSimulator
import Testing

@Suite struct WhenThePrimaryDies {
    @Test func itsPostmasterAloneTheStandbyTakesOver() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.killPostgres(pair.a)
        pair.run(.milliseconds(400)) { $0.b.held.primary == .all }
        #expect(pair.b.held.primary == .all, "\(pair.transcript)")
        pair.run(.seconds(20)) { $0.isWhole(primary: "b") }
        #expect(pair.isWhole(primary: "b"), "\(pair.transcript)")
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
    }

    @Test func aloneItStartsAgainByItself() {
        let pair = Pair().founded()
        pair.startAgent(pair.a)
        pair.run(.seconds(4))
        pair.killPostgres(pair.a)
        pair.run(.seconds(5)) { $0.a.postgres == .running(isInRecovery: false) }
        #expect(pair.a.node.role == .primaryStandby)
        #expect(pair.a.held == .init(primary: .all, standby: .all))
    }

    @Test func itsHostAPersonVouchesAndTheStandbyTakesOver() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.powerOff(pair.a)
        pair.run(.seconds(3))
        #expect(pair.b.held.primary == .none, "manual: nobody is promoted without a person's word")
        let id = pair.command(pair.b, .failover(acceptDataLoss: false))
        pair.run(.seconds(5)) { $0.b.held == .init(primary: .all, standby: .all) }
        #expect(pair.b.node.role == .primaryStandby)
        #expect(pair.b.answers[id]?.last == .done("b is primary, alone, in term 3"))
        pair.run(.seconds(1))
        // The old primary lacks what was written since, and has nothing of its own: it follows by a plain start.
        pair.boot(pair.a)
        pair.run(.seconds(20)) { $0.isWhole(primary: "b") }
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
    }

    @Test func theWordIsRefusedWhileThePrimaryIsHeard() {
        let pair = Pair.whole()
        let id = pair.command(pair.b, .failover(acceptDataLoss: false))
        guard case .refused(let notes)? = pair.b.answers[id]?.last else { return #expect(Bool(false), "not refused") }
        #expect(notes.map(\.code).contains("peerHeard"))
    }

    /// The boot rule of 4.3: what this node was told before its host booted counts for nothing (mistake 8).
    @Test func theWordIsRefusedAfterTheStandbyBootedAlone() {
        let pair = Pair.whole()
        pair.powerOff(pair.a)
        pair.powerOff(pair.b)
        pair.run(.seconds(2))
        pair.boot(pair.b)
        pair.run(.seconds(3))
        let id = pair.command(pair.b, .failover(acceptDataLoss: false))
        guard case .refused(let notes)? = pair.b.answers[id]?.last else { return #expect(Bool(false), "not refused") }
        #expect(notes.map(\.code).contains("notToldPairedSinceBoot"))
        #expect(pair.b.held.primary == .none)
    }

    @Test func bothHostsTheyComeBackInEitherOrder() {
        for first: NodeName in ["a", "b"] {
            let pair = Pair.whole()
            pair.run(.seconds(1))
            pair.powerOff(pair.a)
            pair.powerOff(pair.b)
            pair.run(.seconds(2))
            pair.boot(pair.host(first))
            pair.run(.seconds(5))
            #expect(pair.host(first).held.primary == .none, "5.3: a paired node that booted opens nothing alone")
            pair.boot(pair.other(pair.host(first)))
            pair.run(.seconds(20)) { $0.isWhole(primary: "a") }
            #expect(pair.isWhole(primary: "a"), "\(first) first: \(pair.transcript)")
            #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
        }
    }

    /// 3.1: who has recovered, and waited for longer than its patience for a lease that nobody could give, asks for it again.
    @Test func itWaitsForItsLeaseForLong() {
        let world = Scene.whole()
        world.strike(.powerOff(.b), lasting: .seconds(120))
        world.strike(.cutBoth(.a, .witness), lasting: .seconds(40))
        world.run(.milliseconds(300))
        world.strike(.postmasterDies(.a, orphans: false))
        world.run(.seconds(39))
        #expect(world.a.held.primary == .none, "nobody has given it a lease")
        world.expectAlone(world.a, within: .seconds(20))
    }

    /// 4.6: an agent that has just started does not know where its WAL ends. A lease for it would make the witness believe that nothing is missing.
    @Test(arguments: 1...4 as ClosedRange<UInt64>) func itsHostComesBackForAMomentAndNobodyHearsWhereItsWALEnds(_ seed: UInt64) {
        let world = Scene.whole(Setup(mode: .asynchronous, timing: .relaxed), seed: seed)
        world.strike(.effectsFail(.a, .start, 1000), lasting: .seconds(60))
        world.strike(.isolate(.a), lasting: .seconds(5))
        world.run(.milliseconds(4500))
        world.strike(.powerOff(.a), lasting: .seconds(1))
        world.run(.milliseconds(4500))
        world.strike(.powerOff(.a), lasting: .seconds(60))
        world.expectAlone(world.b, within: .seconds(25))
    }
}
