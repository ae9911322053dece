import TandemCore
import Testing

@Suite struct WhenThePairComesUp {
    @Test func theFirstHostAloneTakesBothRolesAfterOneSecond() {
        let pair = Pair().founded()
        pair.startAgent(pair.a)
        pair.run(.milliseconds(900))
        #expect(pair.a.held.primary == .none, "5.2: newer news is waited for")
        pair.run(.seconds(2)) { $0.a.held == .init(primary: .all, standby: .all) }
        #expect(pair.a.node.role == .primaryStandby)
        #expect(pair.a.held == .init(primary: .all, standby: .all))
        #expect(pair.violations.isEmpty)
    }

    @Test func theSecondHostMakesItAPair() {
        let pair = Pair.whole()
        #expect(pair.isWhole(primary: "a"), "\(pair.transcript)")
        #expect(pair.a.settings.synchronous == pair.b.copy, "commits wait for the standby")
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
    }

    @Test func anAsynchronousPairWaitsForNobody() {
        let pair = Pair.whole(mode: .asynchronous)
        #expect(pair.isWhole(primary: "a"))
        #expect(pair.a.settings.synchronous == nil)
    }

    @Test func aNodeWithoutALedgerDoesNothing() {
        let pair = Pair()
        pair.startAgent(pair.a)
        pair.run(.seconds(5))
        #expect(pair.a.node.role == .none)
        #expect(pair.a.postgres == .stopped)
        #expect(pair.a.held == .init(primary: .none, standby: .none))
    }

    @Test func aLedgerThatNamesAnotherCopyOpensNothing() {
        let pair = Pair().founded()
        pair.a.ledger?.primaryCopy = CopyID(high: 9, low: 9)
        pair.startAgent(pair.a)
        pair.run(.seconds(5))
        #expect(pair.a.node.state.name == "halted", "5.7")
        #expect(pair.a.postgres == .stopped)
    }
}
