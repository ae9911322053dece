/// The guard ends the instance and removes the addresses when the lease runs out, also if this agent hangs (3.2).
struct GuardKeeper: Hashable, Sendable, Codable {
    var isArmed = false
    var operation: OperationID?
    var isArming = false
    var notBefore: Instant?
    /// The deadline that it was handed last.
    var told: Moment?
    /// It died while it was armed.
    var lostAt: Instant?
    /// Why the last order to it failed; nil: it did not.
    var failure: String?

    mutating func completed(_ ended: OperationID, _ outcome: Outcome, at now: Instant, retry: Duration) -> Bool {
        guard operation == ended else { return false }
        operation = nil
        if case .failed(let why) = outcome {
            notBefore = now + retry
            failure = why
        } else {
            failure = nil
            isArmed = isArming
            notBefore = nil
            lostAt = nil
        }
        return true
    }
}

extension Node {
    /// 3.2: armed BEFORE a ledger `paired` is written, released only AFTER `sole` is.
    mutating func keepGuard(at now: Instant) {
        let isWanted = wantsGuard
        if let until = lease.until, guardian.isArmed || guardian.operation != nil && guardian.isArming, until != guardian.told {
            guardian.told = until
            order(.extendGuard(until: until))
        }
        guard guardian.operation == nil, now >= guardian.notBefore ?? now, isWanted != guardian.isArmed else { return }
        // Whatever may still write here is ended first, and the address is gone: the guard is the one who removes it if this agent cannot (S5).
        if !isWanted, ledger?.primary != policy.node, mayStillWrite || mayHoldPrimaryAddress { return }
        let operation = nextOperation()
        guardian.operation = operation
        guardian.isArming = isWanted
        if isWanted {
            guardian.told = lease.until
            order(.armGuard(until: lease.until, operation))
        } else {
            guardian.told = nil
            order(.releaseGuard(operation))
        }
    }

    /// As far as is known, something of the instance accepts writes, or will: backends that outlived their postmaster, too (section 9).
    private var mayStillWrite: Bool {
        guard let postgres, opening == nil, !instance.isStale else { return true }
        switch postgres.condition {
        case .stopped, .running(isInRecovery: true): return false
        case .starting, .orphaned, .running(isInRecovery: false), .silent, .unusable: return true
        }
    }

    /// As far as is known; an order to take it that is under way counts.
    private var mayHoldPrimaryAddress: Bool { !addresses.areKnown || held.primary != .none || addresses.primary != nil }

    private var wantsGuard: Bool {
        func isLent(_ ledger: Ledger?) -> Bool {
            guard let ledger else { return false }
            return ledger.bond == .paired && ledger.primary == policy.node && ledger.arbiter.lends
        }
        switch state {
        case .primary(let primary):
            if case .arming = primary.pairing, flaw != .guardArmedAfterPaired { return true }
            if primary.parting != nil, flaw == .guardReleasedBeforeSole { return false }
        case .promoting(let promoting):
            if case .arming = promoting.rung { return true }
        case .waiting, .standby, .handingOver, .stopping, .halted: break
        }
        if flaw == .guardArmedAfterPaired { return isLent(ledger) }
        return isLent(ledger) || isLent(writing)
    }

    /// If it dies it is started anew; only if that does not succeed within m does this agent end the instance (3.2).
    func guardStands(at now: Instant) -> Bool {
        guardian.isArmed || guardian.lostAt.map { now - $0 < policy.timing.margin } ?? false || flaw == .guardArmedAfterPaired
            || flaw == .guardReleasedBeforeSole
    }
}
