import TandemCore
import TandemSimulator
import Testing

/// 5.6: equal `(term, step)` with different content is impossible. If it is seen all the same, in whatever state, the node serves nothing until
/// a person decides. These are the rows of the table that no seed may ever reach.
@Suite struct WhenLedgersContradict {
    @Test func whoeverWaitsOrFollowsOrIsOnTheWayServesNothing() {
        var reached: Set<State.Kind> = []
        for seed in UInt64(1)...8 where reached.count < 5 { reach(&reached, Scene.whole(seed: seed)) }
        #expect(reached == [.waiting, .standby, .promoting, .primary, .handingOver], "reached \(reached)")
    }

    private func reach(_ reached: inout Set<State.Kind>, _ world: World) {
        world.strike(.bothPowerOff, lasting: .seconds(1))
        for _ in 0..<20_000 where reached.count < 5 {
            world.run(.milliseconds(1))
            for host in world.hosts where host.agentRuns && !reached.contains(host.state) && contradict(host) {
                reached.insert(host.state)
            }
            if world.isWhole {
                let primary: Party = world.a.role == .primary ? .a : .b
                world.strike(reached.contains(.waiting) ? .switchover(primary) : .powerOff(primary), lasting: .milliseconds(300))
            }
        }
    }

    /// On a copy of the node: the world goes on as if nothing had happened.
    private func contradict(_ host: SimHost) -> Bool {
        var node = host.node
        guard var ledger = node.ledger, let peer = node.peer.session, let report = node.peer.report, node.peer.last != nil else {
            return false
        }
        ledger.primaryCopy = CopyID(high: 77, low: 77)
        let before = node.state.kind
        let heartbeat = Heartbeat(number: .max / 2, ledger: ledger, report: report, acknowledged: nil, ask: nil, answer: nil)
        let moment = Moment(boot: Instant(nanoseconds: .max / 4), raw: Instant(nanoseconds: .max / 4))
        _ = node.step(.heartbeat(heartbeat, .init(sender: peer, receiver: node.session)), at: moment)
        guard case .halted(let halted) = node.state, case .contradiction = halted.reason else { return false }
        #expect(node.transitions.contains { $0.from == before && $0.to == .halted && TransitionTable.allows($0) })
        return true
    }
}
