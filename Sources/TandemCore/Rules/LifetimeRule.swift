extension Node {
    /// Section 9: while authority is lent, addresses carry a lifetime in the kernel, so that they vanish even if all of ours is dead. nil:
    /// what this node serves is its own. A standby's own does not depend on the lease, and ends with the agent's loop all the same: nobody
    /// else would take the address from a host whose agent hangs (7).
    public var lentFor: Duration? {
        guard let ledger, ledger.arbiter.lends, ledger.bond == .paired else { return nil }
        return ledger.lease
    }
}
