import TandemCore

extension Pair {
    /// L1: one primary, one standby, each with its address, by a `paired` ledger that both have.
    func isWhole(primary: NodeName) -> Bool {
        let first = host(primary)
        let second = other(first)
        return first.node.role == .primary && second.node.role == .standby && first.ledger?.bond == .paired
            && first.ledger == second.ledger
            && first.held == .init(primary: .all, standby: .none) && second.held == .init(primary: .none, standby: .all)
    }

    /// Up and whole, with A as primary.
    static func whole(mode: Policy.ReplicationMode = .synchronous) -> Pair {
        let pair = Pair(mode: mode).founded()
        pair.startAgent(pair.a)
        pair.startAgent(pair.b)
        pair.run(.seconds(20)) { $0.isWhole(primary: "a") }
        // Until each has heard that the other has the ledger too.
        pair.run(.milliseconds(500))
        return pair
    }
}

extension Pair {
    func operation(of effect: Effect) -> OperationID? {
        switch effect {
        case .start(_, let id), .stop(_, let id), .promote(let id), .configure(_, let id), .confirmSynchronous(_, let id),
            .confirmPosition(_, let id), .checkpoint(let id), .survey(let id), .rejoin(_, let id),
            .findEndOfWAL(_, _, let id), .receiveWAL(_, let id),
            .claimAddress(_, _, _, let id), .releaseAddress(_, let id), .armGuard(_, let id), .releaseGuard(let id):
            id
        case .writeLedger, .send, .askWitness, .extendGuard, .recordLineage, .answer, .notice, .exit: nil
        }
    }
}

extension Effect.StartMode {
    var isPrimary: Bool { if case .primary = self { true } else { false } }
}
