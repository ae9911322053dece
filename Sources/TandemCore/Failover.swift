// A person's word that the other host is off and stays off (4.1 and 4.3, `manual`), and what it may not stand in for.

extension Node {
    mutating func failover(_ acceptDataLoss: Bool, _ id: RequestID, at now: Instant) {
        guard writing == nil, request == nil else {
            return refuse(id, [.busy("another change is under way: look at `pgtandem status`")])
        }
        switch state {
        case .standby:
            let (verdict, isForced) = mayPromoteByWord(acceptDataLoss, at: now)
            // The arbiter's word is wanted all the same; that this node may ask for it, a person can say.
            if policy.barredPrimary == policy.node, verdict.refusals == [.arbiterDecides] {
                failback.isBarLifted = true
                return order(
                    .answer(
                        id,
                        .done(
                            "the witness decides; \(policy.node) is barred from being primary, which is set aside until it has been:"
                                + " it asks for the role as soon as it may")))
            }
            if case .no(let refusals) = verdict { return refuse(id, refusals) }
            guard let ledger, let copy = postgres?.copy?.copy else { return refuse(id, [.noLedger]) }
            let mine = wordLedger(from: ledger, copy: copy, isForced: isForced)
            notice(
                .warning, "a person vouches that \(policy.peer) is off: this node is promoted",
                [.init("ledger", mine), .init("forced", isForced)])
            order(.answer(id, .progress(isForced ? forcedText : "promoting \(policy.node)")))
            joined = ledger.primaryCopy
            enter(
                .promoting(Promoting(since: now, reason: .failover(id, mine), rung: .writing(mine), parent: ledger.term)),
                because: .word)
            write(mine)
        case .primary:
            if case .no(let refusals) = mayPartByWord(acceptDataLoss, at: now) { return refuse(id, refusals) }
            goOnAlone(id, isForced: notes.peerHeardIn != boot || lends, at: now)
        case .waiting:
            wordAtStart(acceptDataLoss, id, at: now)
        case .promoting(let promoting) where promoting.reason == .start:
            wordAtStart(acceptDataLoss, id, at: now)
        case .promoting, .handingOver, .stopping, .halted:
            refuse(id, [.busy("this node is \(state.name): wait until it is primary or standby")])
        }
    }

    /// A paired primary that has booted and hears nobody waits (5.3). A person's word alone cannot help it here: the standby may have
    /// been promoted since, and only the boot rule of 4.3 could exclude that.
    private mutating func wordAtStart(_ acceptDataLoss: Bool, _ id: RequestID, at now: Instant) {
        guard let ledger, ledger.primary == policy.node, ledger.bond == .paired else {
            return refuse(
                id, [self.ledger == nil ? .noLedger : .busy("this node is \(state.name): wait until it is primary or standby")])
        }
        if case .no(let refusals) = mayPartByWord(acceptDataLoss, at: now) { return refuse(id, refusals) }
        goOnAlone(id, isForced: notes.peerHeardIn != boot || lends, at: now)
    }

    /// `(T, n+1, A, sole)`; without the boot rule, a term of its own, so that what the other one may have become is too old.
    private mutating func goOnAlone(_ id: RequestID, isForced: Bool, at now: Instant) {
        guard let ledger else { return }
        notice(.warning, "a person vouches that \(policy.peer) is off: this node goes on alone", [.init("forced", isForced)])
        order(.answer(id, .progress(isForced ? forcedText : "going on alone")))
        request = PendingRequest(origin: .here(id), kind: .failover, since: now)
        let seen = max(ledger.term, arbiter.last?.record?.term ?? ledger.term)
        var next = isForced ? ledger.renewed(above: seen.outOfReach, besides: policy.peer) : ledger.sole()
        next.forced = isForced
        write(next)
    }

    private var forcedText: String {
        "commits that only \(policy.peer) has are given up. Keep that host off until this one can be reached: when it starts, it must hear"
            + " this node\(lends ? ", or the witness after this node has written there" : ""), before anything else"
    }
}
