extension Node {
    /// 4.3: the ledger by which this standby would be promoted: `(T′, 1, B, sole)`.
    func grantWanted(at now: Instant) -> Ledger? {
        guard let ledger, let copy = flaw == .otherCopyAdopts ? ledger.standbyCopy : postgres?.copy?.copy else { return nil }
        return promotedLedger(from: ledger, copy: copy)
    }

    /// 4.6: in asynchronous mode the witness may have heard the primary when this node did not. One that has started since keeps no position,
    /// and unknown is never zero.
    private func claimEligibility(at now: Instant) -> [Refusal] {
        var refusals = eligibility(at: now)
        if policy.mode == .asynchronous, arbiter.last?.record != nil, arbiter.last?.position == nil,
            !refusals.contains(.lagUnknown)
        {
            refusals.append(.lagUnknown)
        }
        return refusals
    }

    /// 4.3, witness: may this standby ask the arbiter for the role now?
    public func mayClaim(at now: Instant) -> Verdict {
        var refusals = claimEligibility(at: now)
        if writing != nil { refusals.append(.busy("a newer ledger is on its way to the disk")) }
        if !promiseIsOver { refusals.append(.promised(promiseLeft(at: now))) }
        if let gateway = gatewayRefusal(at: now) { refusals.append(gateway) }
        // Nor is a witness asked that is not believed: what it granted would be newer than all that was seen, and so be taken up (3.3).
        // Nor one that has not been heard since this node started: its first answer may show that.
        if arbiter.isOutdated || arbiter.last == nil { refusals.append(.witnessSilent(arbiter.heardAt.map { now - $0 })) }
        if grant == nil, let since = primaryStartsSince(at: now) { refusals.append(.primaryStarts(now - since)) }
        if let record = arbiter.last?.record, let ledger, record.isNewer(than: ledger), grant == nil {
            refusals.append(.recordNewer(record))
        }
        return Verdict(refusals)
    }

    /// S4: nothing is lost while the primary's host answers. In asynchronous mode its agent asks for no lease before its instance has answered
    /// once, as its position is not known until then; so no promise holds a claim up while it recovers after a boot. Who cannot serve
    /// within its patience lets the other one (3.1); and it is silent only after as long as a promise would have held.
    private func primaryStartsSince(at now: Instant) -> Instant? {
        guard policy.mode == .asynchronous, let ledger, ledger.bond == .paired,
            peer.isHeard(within: max(policy.silence, ledger.lease), at: now), peer.agrees(with: ledger), peer.leaseAskedAt == nil,
            let since = peer.notOpenSince, now - since <= policy.recoveryPatience,
            let report = peer.report, report.storage == nil, !report.isLeaving,
            report.postgres.copy?.copy == ledger.primaryCopy
        else { return nil }
        switch report.postgres.condition {
        case .stopped, .orphaned, .starting, .running(isInRecovery: true): return since
        case .silent(let span): return span <= policy.hangPatience ? since : nil
        // Open: it asks for its lease itself, or may not have one.
        case .running(isInRecovery: false), .unusable: return nil
        }
    }

    /// Why this standby could not be promoted now. While the primary is heard, its support is no reason: it would end with it.
    func standbyRefusals(at now: Instant) -> [Refusal] {
        var own = lends && !peer.isHeard(within: policy.silence, at: now) ? mayClaim(at: now).refusals : eligibility(at: now)
        // A branch that was not compared is given no role in order: in asynchronous mode a handover would take it for the primary's (4.4).
        if isForeign || instance.isIsolated && policy.mode == .asynchronous && postgres?.isStreaming == false {
            own.append(.notStreaming)
        }
        if !own.contains(where: { $0.code == "primaryStarts" }), let since = primaryStartsSince(at: now) {
            own.append(.primaryStarts(now - since))
        }
        // A standby that hears its primary asks the witness every few heartbeats only.
        guard lends, !own.contains(where: \.isOfTheArbiter) else { return own }
        guard arbiter.isHeard(within: policy.heartbeat * 10, at: now) else {
            return own + [.witnessSilent(arbiter.heardAt.map { now - $0 })]
        }
        return arbiter.isEmpty ? own + [.recordLost] : own
    }

    /// A grant for this node that stands in the record, whether it came as an answer or was found there (4.3).
    var grant: Ledger? {
        guard let record = arbiter.last?.record, record.primary == policy.node, record.bond == .sole, record.step == 1,
            record.began == nil,
            let mine = newest, mine.primary == policy.peer, record.isNewer(than: mine)
        else { return nil }
        if flaw == .claimAfterHandover { return record }
        guard mine.bond == .paired, mine.standbyCopy == record.primaryCopy,
            record.term == mine.term.next(for: policy.node, besides: policy.peer)
        else { return nil }
        return record
    }

    /// 4.3: taken up only if AT THIS MOMENT the ledger is still `paired` and the promise has run out (mistake 1).
    mutating func takeGrantUp(at now: Instant) {
        guard let grant, writing == nil, ledger == newest else { return }
        if flaw != .grantUsedLate, !promiseIsOver { return }
        let refusals = claimEligibility(at: now)
        guard refusals.isEmpty else {
            if let first = refusals.first { refuseOnce(first) }
            return
        }
        notice(
            .warning, "the witness grants the role: this node is promoted",
            [.init("grant", grant), .init("silent_for", peer.silence(at: now)?.text ?? "this session")])
        joined = ledger?.primaryCopy
        let isEarly = flaw == .promotedBeforeLedger
        enter(
            .promoting(Promoting(since: now, reason: .grant(grant), rung: isEarly ? promoteNow() : .writing(grant))),
            because: .granted)
        write(grant)
    }

    private func promiseLeft(at now: Instant) -> Duration {
        guard let promise else { return .zero }
        return max(promise.boot - moment.boot, promise.raw - moment.raw)
    }

    /// How soon this node wants to think again, if that is before the next beat: clients wait for a standby whose primary is silent, so it
    /// looks at the moment when its promise ends, and then asks the arbiter, whose own promise may end a little later, more often.
    public func wish(at now: Instant) -> Duration? {
        guard case .standby = state, lends, ledger?.bond == .paired, ledger?.primary == policy.peer,
            !peer.isHeard(within: policy.silence, at: now)
        else { return nil }
        if !promiseIsOver { return promiseLeft(at: now) + .milliseconds(1) }
        return mayClaim(at: now).isGo ? policy.heartbeat / 8 : nil
    }

    /// A quality check, never a proof (4.3).
    private func gatewayRefusal(at now: Instant) -> Refusal? {
        guard let lost = gatewayLostAt, now - lost <= policy.gatewayPatience else { return nil }
        return .gatewaySilent(now - lost)
    }
}
