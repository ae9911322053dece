// What was ordered is done, or has failed: who waits for it hears of it.

extension Node {
    /// An operation's end goes to whoever waits for it; the keepers first, then the state.
    mutating func complete(_ operation: OperationID, _ outcome: Outcome, at now: Instant) {
        if opening == operation {
            opening = nil
            // What was seen last is older than what was done.
            instance.isStale = true
        }
        // What fails again and again for the same reason is told once.
        if case .failed(let why) = outcome,
            ![instance.failure, guardian.failure, addresses.primaryFailure, addresses.standbyFailure].contains(why)
        {
            notice(.warning, why, [.init("operation", operation)])
        }
        if instance.completed(operation, outcome, at: now + startRetry) {
            // From its first start as follower on, its WAL goes on behind the fork.
            if outcome == .done, instance.isStarting, notes.follows != nil {
                notes.follows = nil
            }
            return
        }
        if rejoin.completed(operation, outcome, at: now, retry: policy.retry) {
            // What was seen last is older than what was done.
            instance.isStale = true
            if case .done = outcome {
                instance.failure = nil
                // That was about the directory as it was before.
                notes.follows = nil
                isForeign = false
            }
            return
        }
        if addresses.completed(operation, outcome, at: now + policy.retry) { return }
        if guardian.completed(operation, outcome, at: now, retry: policy.timing.margin / 4) { return }
        if settings.completed(operation, outcome, at: now + policy.retry) { return }
        switch state {
        case .promoting(let promoting): completed(promoting, operation, outcome, at: now)
        case .primary(let primary): completed(primary, operation, outcome, at: now)
        case .handingOver(let handing): completed(handing, operation, outcome, at: now)
        case .stopping(let stopping): completed(stopping, operation, outcome, at: now)
        // No operation of their own: an outcome here belongs to a state that was left.
        case .waiting, .standby, .halted: break
        }
    }

    mutating func ledgerIsDurable(_ written: Ledger, at now: Instant) {
        if let joining, joining.ledger == written {
            order(.answer(joining.id, .done("\(written)")))
            joined = joining.copy
            self.joining = nil
        }
        switch state {
        case .promoting(let promoting): ledgerWritten(promoting, written, at: now)
        case .primary(let primary): ledgerWritten(primary, written, at: now)
        case .handingOver(let handing): ledgerWritten(handing, written, at: now)
        // Nothing waits there: a ledger that was taken from the peer has no follower but the next decision.
        case .waiting, .standby, .stopping, .halted: break
        }
    }

    mutating func ledgerFailed(_ wanted: Ledger, at now: Instant) {
        switch state {
        case .promoting(var promoting):
            if promoting.rung == .writing(wanted) {
                promoting.rung = .retrying(now + policy.retry)
                state = .promoting(promoting)
            }
        case .primary(var primary):
            if primary.pairing == .writing(wanted) {
                primary.pairing = .retrying(now + policy.retry)
                state = .primary(primary)
            }
            if request != nil, wanted.bond == .sole {
                finishRequest(.refused([Refusal.busy("the ledger could not be written: nothing was changed").note]))
            }
        case .handingOver(var handing):
            if handing.phase == .writing(wanted) {
                handing.phase = .measuring(nil)
                handing.notBefore = now + policy.retry
                state = .handingOver(handing)
            }
        // What came from the peer comes again with its next heartbeat.
        case .waiting, .standby, .stopping, .halted: break
        }
        if request?.kind == .failover, wanted.bond == .sole, wanted.primary == policy.node {
            finishRequest(.refused([Refusal.busy("the ledger could not be written: nothing was changed").note]))
        }
        if let joining, joining.ledger == wanted {
            order(.answer(joining.id, .refused([Refusal.busy("the primary could not write its ledger").note])))
            self.joining = nil
        }
    }
}
