import TandemCore
import Testing

@Suite struct WhenSomebodyMeddles {
    @Test func anAddressThatWasRemovedComesBackAtOnce() {
        let pair = Pair.whole()
        pair.a.held.primary = .none
        pair.feed(pair.a, .addresses(pair.a.held))
        pair.run(.milliseconds(50))
        #expect(pair.a.held.primary == .all)
    }

    @Test func anAddressThatWasAddedByHandGoes() {
        let pair = Pair.whole()
        pair.b.held.primary = .all
        pair.feed(pair.b, .addresses(pair.b.held))
        pair.run(.milliseconds(50))
        #expect(pair.b.held.primary == .none)
    }

    /// H126: `pg_ctl promote` by hand on the standby.
    @Test func aStandbyPromotedByHandIsEndedAtOnce() {
        let pair = Pair.whole()
        pair.b.postgres = .running(isInRecovery: false)
        pair.observe(pair.b)
        pair.run(.milliseconds(100))
        #expect(pair.b.postgres != .running(isInRecovery: false))
        #expect(pair.b.held.primary == .none)
    }

    @Test func twoLedgersOfOneStepStopBoth() {
        let pair = Pair.whole()
        var forged = pair.a.ledger
        forged?.primaryCopy = CopyID(high: 5, low: 5)
        guard let forged, let peer = pair.a.node.peer.session, let last = pair.a.node.peer.last else {
            return #expect(Bool(false))
        }
        var heartbeat = last
        heartbeat.number += 1
        heartbeat.ledger = forged
        pair.feed(pair.a, .heartbeat(heartbeat, .init(sender: peer, receiver: pair.a.node.session)))
        pair.run(.milliseconds(300))
        #expect(pair.a.node.state.name == "halted", "5.6")
        #expect(pair.a.held.primary == .none)
        #expect(pair.a.postgres != .running(isInRecovery: false))
    }

    @Test func messagesOfAnotherSessionMeanNothing() {
        let pair = Pair.whole()
        guard let last = pair.a.node.peer.last, let peer = pair.a.node.peer.session, let ledger = pair.a.ledger else {
            return #expect(Bool(false))
        }
        var heartbeat = last
        heartbeat.number += 100
        heartbeat.ledger = Ledger(
            cluster: "orders", term: Term(99), step: 0, primary: "b", bond: .sole, primaryCopy: pair.b.copy, standbyCopy: nil,
            arbiter: .manual)
        pair.feed(pair.a, .heartbeat(heartbeat, .init(sender: peer, receiver: SessionID(4711))))
        pair.feed(pair.a, .heartbeat(heartbeat, .init(sender: SessionID(4711), receiver: pair.a.node.session)))
        #expect(pair.a.ledger == ledger)
        #expect(pair.a.node.role == .primary)
    }

    /// `ALTER SYSTEM` beats every file: commits are acknowledged without the standby, which must not be promoted then (mistake 15).
    @Test func overriddenNamesEndTheBond() {
        let pair = Pair.whole()
        pair.a.names = ""
        pair.run(.seconds(2)) { $0.a.ledger?.bond == .sole }
        #expect(pair.a.ledger?.bond == .sole)
        #expect(pair.b.ledger?.bond == .sole, "the standby has consented, durably")
        #expect(pair.a.notices.contains { $0.contains("ALTER SYSTEM RESET") })
    }
}
