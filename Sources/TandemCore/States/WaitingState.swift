// Section 5: what a node may do before it has heard anyone.

extension Node {
    mutating func decide(_ waiting: Waiting, at now: Instant) {
        if isLeaving { return beginStopping(at: now) }
        // No ledger: neither role; `init` or `join` gives it one, and until then nothing is acknowledged (5.5).
        guard let ledger, writing == nil, let postgres else { return }
        if ledger.primary == policy.peer {
            return enter(.standby(Standby(since: now, prepared: nil)), because: .ledgerNamesTheOther)
        }
        if let theirs = peer.last?.ledger {
            // Heard before the first look at the data directory (5.2: newer news comes first).
            meet(theirs, at: now)
            guard case .waiting = state, writing == nil else { return }
        }
        if case .unusable(let why) = postgres.condition {
            // An unmounted disk is not an empty one: nothing is decided about a directory that cannot be read.
            return refuseOnce(.postgresNotReady(why))
        }
        guard hasOwnCopy(postgres, ledger) else {
            return halt(.otherCopy(ledger: ledger.primaryCopy, here: postgres.copy?.copy), at: now)
        }
        if postgres.isOpen, ledger.bond == .paired {
            guard addresses.areKnown else { return }
            guard mayWrite(at: now), ledger.arbiter.lends || notes.primaryIn == boot else {
                // Nobody has promised anything to this session, and the guard holds no lease any more; or (manual) it was not this node
                // that has run as primary since the host booted.
                return endWithoutAuthority(at: now)
            }
            // Only the agent restarted: the running primary goes on, with the lease that the guard still holds (5.3). That clients could
            // reach it says that it had been confirmed; else this is done now.
            if held.primary != .none || policy.mode == .asynchronous { return becomePrimary(because: .adopted, at: now) }
            return enter(.promoting(Promoting(since: now, reason: .start, rung: .starting)), because: .notConfirmed)
        }
        // Only the agent restarted, and the instance that it found has not answered yet: what serves clients is adopted, not opened anew.
        if held.primary != .none, isNotSeenYet(postgres, since: waiting.since, at: now) { return }
        if mayOpenAfterStart(since: waiting.since, at: now) {
            if postgres.isOpen { return becomePrimary(because: .adopted, at: now) }
            notice(.info, "this node has the right to be primary \(ledger)")
            return enter(.promoting(Promoting(since: now, reason: .start, rung: .starting)), because: .mayOpen)
        }
        if !postgres.isOpen { keepInstanceRecovering(at: now) }
    }

    /// 5.7: the ledger names this node, and this directory.
    func hasOwnCopy(_ postgres: LocalPostgres, _ ledger: Ledger) -> Bool {
        guard let mark = postgres.copy else { return false }
        return mark.node == policy.node && mark.copy == ledger.primaryCopy
    }

    /// Somebody put another directory in the place of the primary's while its instance was down: nothing of it is opened (5.7).
    mutating func haltIfCopyIsAnother(at now: Instant) -> Bool {
        guard let ledger, ledger.primary == policy.node, writing == nil, let postgres else { return false }
        switch postgres.condition {
        case .stopped, .starting, .running(isInRecovery: true):
            guard postgres.copy != nil, !hasOwnCopy(postgres, ledger) else { return false }
            halt(.otherCopy(ledger: ledger.primaryCopy, here: postgres.copy?.copy), at: now)
            return true
        case .running(isInRecovery: false), .orphaned, .silent, .unusable:
            return false
        }
    }

    /// Says a reason once, and again only after another one; with other numbers it is the same one.
    mutating func refuseOnce(_ refusal: Refusal) {
        let isKnown = lastRefusal.map { $0.code == refusal.code && $0.text.hasSameWords(as: refusal.text) } ?? false
        lastRefusal = refusal
        if !isKnown { notice(.warning, refusal.text) }
    }

    mutating func decide(_ halted: Halted, at now: Instant) {
        if isLeaving { return beginStopping(at: now) }
        switch halted.reason {
        // Both stop writing (5.6).
        case .contradiction: keepInstanceRecovering(at: now)
        case .otherCopy:
            // A foreign directory is not touched (5.7); the right one, put back, is looked at like after a start.
            if let ledger, let mark = postgres?.copy, mark.node == policy.node, mark.copy == ledger.primaryCopy {
                enter(.waiting(Waiting(since: now)), because: .copyIsBack)
            }
        default: break
        }
    }
}

extension String {
    fileprivate func hasSameWords(as other: String) -> Bool {
        utf8.lazy.filter(Self.isWord).elementsEqual(other.utf8.lazy.filter(Self.isWord))
    }

    private static func isWord(_ byte: UInt8) -> Bool { !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
