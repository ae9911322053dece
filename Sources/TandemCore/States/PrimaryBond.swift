// The bond of a primary: 4.1 when the standby is lost or not fit, 4.2 when it has caught up again.

extension Node {
    mutating func keepBond(_ primary: Primary, at now: Instant) {
        guard let ledger else { return }
        var next = primary
        keepFrame(primary, ledger, at: now)
        renewForEmptyArbiter(ledger)
        switch ledger.bond {
        case .sole:
            next.parting = nil
            keepPause(&next, ledger, at: now)
            keepPairing(&next, ledger, at: now)
        case .paired:
            next.pairing = .idle
            let lost: Refusal? = ledger.handoverEnd != nil && !standbyStreams() ? .notStreaming : mustPart(primary, at: now)
            if let lost {
                if flaw == .soleBeforeConsent { write(ledger.sole()) }
                if next.parting == nil || next.parting?.reason == .pause {
                    if request?.kind == .pause { finishRequest(.refused([lost.note])) }
                    next.parting = .init(ledger: ledger.sole(), reason: .lost(lost), since: now)
                    if ledger.handoverEnd == nil { notice(.warning, "asking the standby to step out of the bond: \(lost.text)") }
                }
            } else if next.parting?.reason == .pause {
                expirePause(&next, at: now)
            } else {
                next.parting = nil
            }
        }
        state = .primary(next)
    }

    /// The standby's consent does not come: the person is told, and what was asked for is no longer asked.
    private mutating func expirePause(_ primary: inout Primary, at now: Instant) {
        guard let parting = primary.parting, now - parting.since > policy.leavePatience else { return }
        primary.parting = nil
        finishRequest(
            .refused([
                Refusal.busy(
                    "the standby has not consented within \(policy.leavePatience.text), and is not asked any more. If it had already, the pair is"
                        + " paused after all as soon as it is heard: look at `pgtandem status`"
                ).note
            ]))
    }

    private mutating func keepPairing(_ next: inout Primary, _ ledger: Ledger, at now: Instant) {
        let (verdict, copy) = mayPair(at: now)
        switch next.pairing {
        case .idle:
            guard verdict.isGo, let copy, writing == nil, joining == nil, ledger.paused == nil || next.resumingSince != nil,
                pendingFrame() == nil, !(ledger.arbiter == .witness && arbiter.isEmpty)
            else { return }
            switch policy.mode {
            case .synchronous where flaw != .pairedBeforeNames: next.pairing = .configuring(copy)
            case .synchronous, .asynchronous: pair(&next, ledger, with: copy)
            }
        case .configuring(let wanted):
            guard verdict.isGo, copy == wanted else {
                next.pairing = .retrying(now + policy.retry)
                return
            }
            // In the file and read; whether commits wait is for the next rung to see (mistake 15).
            guard settings.pending == nil, settings.written?.synchronous == wanted else { return }
            let operation = nextOperation()
            next.pairing = .confirming(wanted, operation)
            order(.confirmSynchronous(wanted, operation))
        case .confirming(let wanted, _):
            // Commits wait for a standby that has just gone: let them go on; the bond is still `sole`.
            if !verdict.isGo || copy != wanted { next.pairing = .retrying(now + policy.retry) }
        case .arming(let paired):
            // With a lease in hand, and the guard armed, the ledger may say `paired` (4.2, step 2).
            guard verdict.isGo, let copy, ledger.paired(with: copy) == paired else {
                next.pairing = .retrying(now + policy.retry)
                return
            }
            guard guardian.isArmed && guardian.operation == nil || flaw == .guardArmedAfterPaired, holdsLease, writing == nil,
                // An order to take the address that was given under `sole` has no end.
                addresses.primary == nil
            else { return }
            next.pairing = .writing(paired)
            write(paired)
        case .writing:
            break
        case .retrying(let due):
            if now >= due { next.pairing = .idle }
        }
    }

    /// 4.2, step 2: the ledger, at once, or when the guard is armed.
    private mutating func pair(_ primary: inout Primary, _ ledger: Ledger, with copy: CopyID) {
        let paired = ledger.paired(with: copy)
        if ledger.arbiter.lends {
            primary.pairing = .arming(paired)
        } else {
            primary.pairing = .writing(paired)
            write(paired)
        }
    }

    mutating func completed(_ primary: Primary, _ operation: OperationID, _ outcome: Outcome, at now: Instant) {
        var next = primary
        if primary.restart == operation {
            next.restart = nil
            instance.isStale = true
            if case .failed = outcome { next.restartNotBefore = now + startRetry }
            state = .primary(next)
            return
        }
        guard case .confirming(let copy, operation) = primary.pairing else { return }
        if case .failed = outcome {
            next.pairing = .retrying(now + policy.retry)
        } else if let ledger, ledger.bond == .sole, writing == nil, mayPair(at: now).verdict.isGo {
            pair(&next, ledger, with: copy)
        } else {
            next.pairing = .retrying(now + policy.retry)
        }
        state = .primary(next)
    }

    mutating func ledgerWritten(_ primary: Primary, _ written: Ledger, at now: Instant) {
        var next = primary
        if primary.pairing == .writing(written) {
            next.pairing = .idle
            next.streamLostSince = nil
            joined = nil
            next.resumingSince = nil
            notice(.info, "paired: the standby holds every acknowledged commit")
            if request?.kind == .resume { finishRequest(.done("resumed: the pair is whole")) }
        }
        if written.bond == .sole, primary.parting != nil || request?.kind == .pause {
            next.parting = nil
            notice(.info, written.paused == nil ? "sole: this node goes on alone, commits wait for nobody" : pausedText)
        }
        state = .primary(next)
        if written.bond == .sole, let kind = request?.kind {
            let alone = "\(policy.node) goes on alone in term \(written.term)"
            switch (kind, written.paused != nil) {
            case (.failover, _): finishRequest(.done(alone))
            case (.pause, true): finishRequest(.done(pausedText))
            case (.resume, false):
                finishRequest(.done("resumed without the standby: \(alone), and the pair is whole when it is back"))
            case (.pause, false), (.resume, true), (.switchover, _), (.cancelFailback, _): break
            }
        }
    }
}
