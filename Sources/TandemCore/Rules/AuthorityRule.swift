extension Node {
    /// Section 3: may this node accept writes and hold the primary address? Asked of a node in the state `primary`, which is
    /// reached only by the doors that section 5 and 4.3, 4.4 open.
    ///
    /// The lease of the arbiters `witness` and `etcd` has its place here.
    func hasAuthority(at now: Instant) -> Bool {
        guard case .primary = state, let ledger, ledger.primary == policy.node else { return false }
        switch (ledger.bond, ledger.arbiter) {
        case (.sole, _): return true
        // `primary` was entered with PostgreSQL open since before this session, or after the standby's acknowledgement.
        case (.paired, .manual): return true
        }
    }

    /// 5.3: a paired primary that starts has no authority before the other node acknowledges a heartbeat of this session.
    func mayOpenAfterStart(since: Instant, at now: Instant) -> Bool {
        guard let ledger, ledger.primary == policy.node, writing == nil, !(peer.last?.ledger?.isNewer(than: ledger) ?? false)
        else {
            return false
        }
        switch ledger.bond {
        case .sole:
            // Newer news is waited for, silence is not (5.2).
            if peer.isHeard(within: policy.silence, at: now), peer.report != nil { return true }
            return now - since >= policy.startPatience
        case .paired:
            return peer.acknowledged != nil && peer.isHeard(within: policy.silence, at: now)
        }
    }
}
