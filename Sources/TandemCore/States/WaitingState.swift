// Section 5: what a node may do before it has heard anyone.

extension Node {
    mutating func decide(_ waiting: Waiting, at now: Instant) {
        if isLeaving { return beginStopping(at: now) }
        // No ledger: neither role; `init` or `join` gives it one, and until then nothing is acknowledged (5.5).
        guard let ledger, writing == nil, let postgres else { return }
        if ledger.primary == policy.peer {
            state = .standby(Standby(since: now, prepared: nil))
            return
        }
        if case .unusable(let why) = postgres.condition {
            // An unmounted disk is not an empty one: nothing is decided about a directory that cannot be read.
            return refuseOnce(.postgresNotReady(why))
        }
        // 5.7: the ledger names this node, but another directory.
        guard let mark = postgres.copy, mark.node == policy.node, mark.copy == ledger.primaryCopy else {
            return halt(.otherCopy(ledger: ledger.primaryCopy, here: postgres.copy?.copy), at: now)
        }
        if postgres.isOpen, ledger.bond == .paired {
            // Only the agent restarted: with the arbiter `manual` the running primary goes on (5.3).
            return becomePrimary(at: now)
        }
        if mayOpenAfterStart(since: waiting.since, at: now) {
            if postgres.isOpen { return becomePrimary(at: now) }
            notice(.info, "this node has the right to be primary \(ledger)")
            state = .promoting(Promoting(since: now, reason: .start, rung: .starting))
            return
        }
        if !postgres.isOpen { keepInstanceRecovering(at: now) }
    }

    /// Says a reason once, and again only after another one.
    mutating func refuseOnce(_ refusal: Refusal) {
        guard lastRefusal != refusal else { return }
        lastRefusal = refusal
        notice(.warning, refusal.text)
    }

    mutating func decide(_ halted: Halted, at now: Instant) {
        if isLeaving { return beginStopping(at: now) }
        // Both stop writing when two ledgers contradict (5.6); a foreign directory is not touched (5.7).
        if case .contradiction = halted.reason { keepInstanceRecovering(at: now) }
    }
}
