extension Node {
    /// Section 3: may this node accept writes and hold the primary address? Asked of a node in the state `primary`, which is
    /// reached only by the doors that section 5 and 4.3, 4.4 open.
    func hasAuthority(at now: Instant) -> Bool {
        guard case .primary = state else { return false }
        return mayWrite(at: now)
    }

    /// By the durable ledger, and the lease where one is needed.
    func mayWrite(at now: Instant) -> Bool {
        guard let ledger, ledger.primary == policy.node else { return false }
        switch (ledger.bond, ledger.arbiter) {
        case (.sole, _): return true
        // `primary` was entered with PostgreSQL open since before this session, or after the standby's acknowledgement.
        case (.paired, .manual): return true
        case (.paired, .witness): return holdsLease && guardStands(at: now)
        }
    }

    /// 5.2 and 5.3: may a primary by its ledger open after a start of its agent?
    func mayOpenAfterStart(since: Instant, at now: Instant) -> Bool {
        guard let ledger, ledger.primary == policy.node, writing == nil, !(peer.last?.ledger?.isNewer(than: ledger) ?? false)
        else {
            return false
        }
        switch ledger.bond {
        case .sole:
            // Newer news is waited for, silence is not (5.2).
            let peerSpoke = peer.isHeard(within: policy.silence, at: now) && peer.report != nil
            if ledger.arbiter == .witness, let record = arbiter.last?.record, record.isNewer(than: ledger) { return false }
            let arbiterSpoke = ledger.arbiter != .witness || arbiter.isHeard(within: policy.silence, at: now)
            return peerSpoke && arbiterSpoke || now - since >= policy.startPatience
        case .paired:
            // The arbiter may answer a moment before the other node does, and that one may know more, against which a person gave this node's
            // commits up (4.3, `forced`): as long as for a `sole` ledger, newer news comes first (5.2).
            let peerSpoke = peer.isHeard(within: policy.silence, at: now) && peer.report != nil
            if ledger.arbiter.lends { return mayWrite(at: now) && (peerSpoke || now - since >= policy.startPatience) }
            return peer.acknowledged != nil && peer.isHeard(within: policy.silence, at: now)
        }
    }
}
