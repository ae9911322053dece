// Accepts writes: keeps its instance up, the bond true and the standby address where it serves best.

extension Node {
    mutating func becomePrimary(because cause: Cause, at now: Instant) {
        isForeign = false
        if case .promoting(let promoting) = state, case .failover(let id, _) = promoting.reason {
            order(.answer(id, .done("\(policy.node) is primary, alone, in term \(ledger?.term ?? Term(0))")))
        }
        let holder =
            (ledger?.bond == .paired || ledger?.paused?.standby != nil) && held.standby == .none ? policy.peer : policy.node
        enter(
            .primary(
                Primary(
                    since: now, pairing: .idle, parting: nil, restart: nil, streamLostSince: nil,
                    ordered: .init(holder: holder, number: heartbeats + 1))),
            because: cause)
        freshness.forget()
        failback.begin(at: now, memory: policy.failbackMemory)
        notes.follows = nil
        if notes.roleKeptIn != ledger?.term { notes.roleKeptIn = nil }
        notes.primaryIn = boot
        notice(.info, "this node is primary", [.init("bond", ledger?.bond.rawValue ?? "")])
        switch request?.kind {
        case .switchover where request?.ask == nil:
            finishRequest(.refused([Refusal.busy("\(policy.peer) could not take over: \(policy.node) is primary again").note]))
        case .switchover: finishRequest(.done("\(policy.node) is primary"))
        case .pause, .resume, .cancelFailback:
            finishRequest(.refused([Refusal.busy("the role has changed meanwhile: ask again").note]))
        case .failover: finishRequest(.done("\(policy.node) is primary, alone"))
        case nil: break
        }
    }

    mutating func decide(_ primary: Primary, at now: Instant) {
        guard let postgres else { return }
        guard mayWrite(at: now) else {
            notice(
                .error,
                lends && holdsLease
                    ? "no guard has stood for more than \(policy.timing.margin.text), and nothing would end PostgreSQL here if this agent hung:"
                        + " this node stops accepting writes"
                    : "nobody has promised for \(ledger?.lease.text ?? "") not to support another primary: this node stops accepting writes"
            )
            return enter(.waiting(Waiting(since: now)), because: .leaseEnded)
        }
        if haltIfCopyIsAnother(at: now) { return }
        if isLeaving, postgres.condition != .stopped {
            leave(at: now)
            guard case .primary = state else { return }
        }
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
                enter(.promoting(Promoting(since: now, reason: .start, rung: .starting)), because: .restartedAsStandby)
            }
            return
        case .silent(let span) where span > policy.hangPatience:
            return postmasterEnded(primary, at: now)
        case .starting, .silent, .unusable:
            return
        case .running(isInRecovery: false):
            next.recoveringSince = nil
            next.restartNotBefore = nil
        }
        next.overriddenSince = overriddenNames() == nil ? nil : next.overriddenSince ?? now
        next.streamLostSince = standbyStreams() ? nil : next.streamLostSince ?? now
        next.lagUnknownSince = lagIsUnknown() ? next.lagUnknownSince ?? now : nil
        noteConfirmation(&next, postgres, at: now)
        let holder = wantedStandbyHolder(next.ordered.holder, at: now)
        if holder != next.ordered.holder { next.ordered = .init(holder: holder, number: heartbeats + 1) }
        state = .primary(next)
        if storageIsUnfit(at: now), case .go = mayHandOver(crashed: true, at: now) {
            notice(.warning, "the storage here takes no writes: the standby takes over")
            return beginHandover(.storage, at: now)
        }
        if isInCrashLoop(at: now), case .go = mayHandOver(crashed: false, at: now) {
            notice(
                .warning,
                "PostgreSQL has ended \(policy.crashLoopEnds) times here within \(policy.crashLoopSpan.text): the standby takes over"
            )
            crashes = CrashKeeper()
            return beginHandover(.crashLoop, at: now)
        }
        if gatewayIsOnlyLostHere(at: now), case .go = mayHandOver(crashed: false, at: now) {
            notice(.warning, "the gateway does not answer this host, and answers the other one: the standby takes over")
            return beginHandover(.gatewayLost, at: now)
        }
        if failbackIsDue(at: now) { return giveRoleBack(at: now) }
        keepBond(next, at: now)
    }

    // MARK: - the instance's end

    /// The postmaster is gone while this host lives: by 4.4 the standby takes over at once; without one that can, a direct
    /// start, as the authority was held without a break (5.1).
    private mutating func postmasterEnded(_ primary: Primary, at now: Instant) {
        guard primary.restart == nil, now >= primary.restartNotBefore ?? now, !instance.isStale else { return }
        if isLeaving { return leave(at: now) }
        let isHung: Bool = if case .silent? = postgres?.condition { true } else { false }
        if case .go = mayHandOver(crashed: true, at: now) {
            notice(.warning, "PostgreSQL \(isHung ? "answers nothing" : "has ended") here: the standby takes over")
            return beginHandover(storage.state.isTrouble ? .storage : isHung ? .hang : .crash, at: now)
        }
        // Nothing is started where it can only fail; who is paired lets the lease go meanwhile (3.1).
        if storageForbidsStart(at: now) { return }
        // A start that failed is no end of an instance that was open.
        if primary.restartNotBefore == nil { crashes.ended(at: now) }
        let mustConfirm = newest?.bond == .paired && (policy.mode == .synchronous || lends)
        notice(
            .warning,
            "PostgreSQL \(isHung ? "answers nothing" : "has ended") here, and no standby can take over: it is started again")
        if mustConfirm {
            // Its recovery may bring commits to light that the standby never got: nobody reads them before it has them (5.3).
            if isHung { order(.stop(.immediate, nextOperation())) }
            return enter(.promoting(Promoting(since: now, reason: .start, rung: .starting)), because: .recoveryToConfirm)
        }
        guard let copy = ledger?.primaryCopy else { return }
        var next = primary
        order(.stop(.immediate, nextOperation()))
        let operation = nextOperation()
        next.restart = operation
        next.pairing = .idle
        state = .primary(next)
        opening = operation
        order(.start(.primary(of: copy), operation))
    }

    private mutating func leave(at now: Instant) {
        if ledger?.paused != nil { return beginStopping(at: now) }
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
}
