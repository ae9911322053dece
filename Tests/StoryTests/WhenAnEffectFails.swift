import TandemCore
import TandemSimulator
import Testing

@Suite struct WhenAnEffectFails {
    /// Whatever fails, and whenever: it is tried again, and no invariant is broken meanwhile.
    @Test(arguments: EffectKind.allCases) func onceOrForAWhileWithinAFailover(_ kind: EffectKind) {
        for count in [1, 3] {
            let world = Scene.whole(seed: UInt64(count))
            world.strike(.effectsFail(.b, kind, count), lasting: .seconds(10))
            world.strike(.powerOff(.a), lasting: .seconds(9))
            world.expectAlone(world.b, within: .seconds(15))
            world.settle(within: .seconds(90))
            #expect(world.isWhole && world.violation == nil, "\(kind), \(count) times: \(world.violation?.text ?? "not whole")")
        }
    }

    @Test(arguments: EffectKind.allCases) func withinASwitchoverOnEitherSide(_ kind: EffectKind) {
        for party in [Party.a, .b] {
            let world = Scene.whole(seed: 3)
            world.strike(.effectsFail(party, kind, 2), lasting: .seconds(10))
            world.strike(.switchover(.a))
            world.run(.seconds(2))
            world.settle(within: .seconds(90))
            #expect(world.isWhole && world.violation == nil, "\(kind) on \(party): \(world.violation?.text ?? "not whole")")
        }
    }

    /// Each effect may run twice after a crash, and is harmless then.
    @Test func everythingRunsTwice() {
        let world = Scene.whole()
        for party in [Party.a, .b] { world.strike(.effectsRunTwice(party, 1000)) }
        world.strike(.switchover(.a))
        world.run(.seconds(30)) { $0.isWhole && $0.b.role == .primary }
        world.strike(.powerOff(.b), lasting: .seconds(8))
        world.run(.seconds(40)) { $0.isWhole && $0.a.role == .primary }
        #expect(world.isWhole && world.violation == nil, "\(world.violation?.text ?? "not whole")")
    }

    @Test func theLedgerCannotBeWrittenWhenThePrimaryIsLost() throws {
        try Scene.tell(
            "The standby cannot write its ledger",
            """
            S2. The grant stands in the record, but what is not durable here gives no right: nothing is promoted before the disk takes the ledger.
            The grant is found in the record again, as often as it takes.
            """
        ) { world in
            world.strike(.effectsFail(.b, .writeLedger, 3), lasting: .seconds(20))
            world.strike(.powerOff(.a), lasting: .seconds(15))
            world.expectAlone(world.b, within: .seconds(12))
            world.expectWholeWithHelp(primary: "b")
        }
    }
}
