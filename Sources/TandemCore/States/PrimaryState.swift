// Accepts writes: keeps its instance up, the bond true and the standby address where it serves best.

extension Node {
    mutating func becomePrimary(at now: Instant) {
        if case .promoting(let promoting) = state, case .failover(let id, _) = promoting.reason {
            order(.answer(id, .done("\(policy.node) is primary, alone, in term \(ledger?.term ?? Term(0))")))
        }
        let holder = ledger?.bond == .paired && held.standby == .none ? policy.peer : policy.node
        state = .primary(
            Primary(
                since: now, pairing: .idle, parting: nil, restart: nil, streamLostSince: nil,
                ordered: .init(holder: holder, number: heartbeats + 1)))
        freshness.forget()
        follows = nil
        notice(.info, "this node is primary", [.init("bond", ledger?.bond.rawValue ?? "")])
        finishRequest(.done("\(policy.node) is primary"))
    }

    mutating func decide(_ primary: Primary, at now: Instant) {
        guard let postgres else { return }
        var next = primary
        switch postgres.condition {
        case .stopped, .orphaned:
            return postmasterEnded(primary, at: now)
        case .running(isInRecovery: true):
            // Somebody restarted it; `standby.signal` made a standby of it, and the right to open it is still here (section 9).
            // Only when it is seen for a while: an observation from before the promotion may come late.
            next.recoveringSince = primary.recoveringSince ?? now
            state = .primary(next)
            if primary.restart == nil, let since = next.recoveringSince, now - since > policy.streamPatience {
                notice(.warning, "PostgreSQL was restarted as a standby by somebody: it is promoted again")
                state = .promoting(Promoting(since: now, reason: .start, rung: .starting))
            }
            return
        case .starting, .silent, .unusable:
            return
        case .running(isInRecovery: false):
            next.recoveringSince = nil
        }
        if isLeaving {
            leave(at: now)
            guard case .primary = state else { return }
        }
        next.overriddenSince = overriddenNames() == nil ? nil : next.overriddenSince ?? now
        next.streamLostSince = standbyStreams() ? nil : next.streamLostSince ?? now
        let holder = wantedStandbyHolder(next.ordered.holder, at: now)
        if holder != next.ordered.holder { next.ordered = .init(holder: holder, number: heartbeats + 1) }
        state = .primary(next)
        keepBond(next, at: now)
    }

    // MARK: - the instance's end

    /// The postmaster is gone while this host lives: by 4.4 the standby takes over at once; without one that can, a direct
    /// start, as the authority was held without a break (5.1).
    private mutating func postmasterEnded(_ primary: Primary, at now: Instant) {
        guard primary.restart == nil, now >= primary.restartNotBefore ?? now, !instance.isStale else { return }
        if isLeaving { return leave(at: now) }
        if case .go = mayHandOver(crashed: true, at: now) {
            notice(.warning, "PostgreSQL has ended here: the standby takes over")
            return beginHandover(.crash, at: now)
        }
        let mustConfirm = newest?.bond == .paired && policy.mode == .synchronous
        notice(.warning, "PostgreSQL has ended here, and no standby can take over: it is started again")
        if mustConfirm {
            // Its recovery may bring commits to light that the standby never got: nobody reads them before it has them (5.3).
            state = .promoting(Promoting(since: now, reason: .start, rung: .starting))
            return
        }
        var next = primary
        order(.stop(.immediate, nextOperation()))
        let operation = nextOperation()
        next.restart = operation
        next.pairing = .idle
        state = .primary(next)
        order(.start(.primary, operation))
    }

    private mutating func leave(at now: Instant) {
        if case .go = mayHandOver(crashed: postgres?.isOpen != true, at: now) {
            notice(.info, "this agent was told to stop: the standby takes over first")
            return beginHandover(.leaving, at: now)
        }
        // A standby that is on its way back is waited for a while: else nobody would be primary.
        if postgres?.isOpen == true, peer.isHeard(within: policy.silence, at: now), peer.report?.isLeaving == false,
            let leavingSince,
            now - leavingSince < policy.leavePatience * 3, let ledger, ledger.bond == .sole, peer.agrees(with: ledger)
        {
            return
        }
        beginStopping(at: now)
    }

    // MARK: - the bond

    private mutating func keepBond(_ primary: Primary, at now: Instant) {
        guard let ledger else { return }
        var next = primary
        switch ledger.bond {
        case .sole:
            next.parting = nil
            keepPairing(&next, ledger, at: now)
        case .paired:
            next.pairing = .idle
            let lost: Refusal? = ledger.handoverEnd != nil && !standbyStreams() ? .notStreaming : mustPart(primary, at: now)
            if let lost {
                if next.parting == nil {
                    next.parting = .init(ledger: ledger.sole(), reason: lost, since: now)
                    if ledger.handoverEnd == nil { notice(.warning, "asking the standby to step out of the bond: \(lost.text)") }
                }
            } else {
                next.parting = nil
            }
        }
        state = .primary(next)
    }

    private mutating func keepPairing(_ next: inout Primary, _ ledger: Ledger, at now: Instant) {
        let (verdict, copy) = mayPair(at: now)
        switch next.pairing {
        case .idle:
            guard verdict.isGo, let copy, writing == nil, joining == nil else { return }
            switch policy.mode {
            case .synchronous: next.pairing = .configuring(copy)
            case .asynchronous:
                let paired = ledger.paired(with: copy)
                next.pairing = .writing(paired)
                write(paired)
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
        case .writing:
            break
        case .retrying(let due):
            if now >= due { next.pairing = .idle }
        }
    }

    mutating func completed(_ primary: Primary, _ operation: OperationID, _ outcome: Outcome, at now: Instant) {
        var next = primary
        if primary.restart == operation {
            next.restart = nil
            instance.isStale = true
            if case .failed = outcome { next.restartNotBefore = now + policy.retry }
            state = .primary(next)
            return
        }
        guard case .confirming(let copy, operation) = primary.pairing else { return }
        if case .failed = outcome {
            next.pairing = .retrying(now + policy.retry)
        } else if let ledger, ledger.bond == .sole, writing == nil, mayPair(at: now).verdict.isGo {
            let paired = ledger.paired(with: copy)
            next.pairing = .writing(paired)
            write(paired)
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
            notice(.info, "paired: the standby holds every acknowledged commit")
        }
        if written.bond == .sole, primary.parting != nil {
            next.parting = nil
            notice(.info, "sole: this node goes on alone, commits wait for nobody")
        }
        state = .primary(next)
        if let joining, joining.ledger == written {
            order(.answer(joining.id, .done("\(written)")))
            joined = joining.copy
            self.joining = nil
        }
        if let request, written.bond == .sole {
            // `failover --peer-is-down` at the primary.
            order(.answer(request.id, .done("\(policy.node) goes on alone in term \(written.term)")))
            self.request = nil
        }
    }
}
