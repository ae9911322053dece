extension Node {
    /// 4.3: the list by which a standby is eligible. What it lacks for a promotion besides is the arbiter's word.
    func eligibility(at now: Instant) -> [Refusal] {
        guard let ledger else { return [.noLedger] }
        var refusals: [Refusal] = []
        if ledger.primary != policy.peer || ledger.bond != .paired { refusals.append(.notPaired(ledger)) }
        refusals += instanceReadiness(at: now)
        if let copy = postgres?.copy, copy.node != policy.node || (ledger.bond == .paired && copy.copy != ledger.standbyCopy) {
            refusals.append(.otherCopy(ledger: ledger.standbyCopy, here: copy.copy))
        }
        if case .differs(let keys, let since) = configuration, now - since > policy.configurationPatience {
            refusals.append(.configurationsDiffer(keys))
        }
        if policy.mode == .asynchronous, ledger.bond == .paired {
            // Of a primary whose PostgreSQL is dead, the last position that it said.
            if let primaryWas = peer.report?.postgres.flushed ?? freshness.newest, let received = postgres?.received {
                let behind = received.behind(primaryWas)
                if behind > policy.promoteLimit.bytes { refusals.append(.behind(by: behind, limit: policy.promoteLimit.bytes)) }
            } else {
                refusals.append(.lagUnknown)
            }
        }
        return refusals
    }

    /// Could the instance here become a primary at all?
    func instanceReadiness(at now: Instant) -> [Refusal] {
        guard let postgres else { return [.postgresNotReady("not looked at yet")] }
        var refusals: [Refusal] = []
        switch postgres.condition {
        case .running(isInRecovery: true): break
        case .running(isInRecovery: false): refusals.append(.postgresNotReady("it accepts writes already"))
        case .stopped: refusals.append(.postgresNotReady("it does not run"))
        case .orphaned: refusals.append(.postgresNotReady("its postmaster has ended"))
        case .starting(let progress): refusals.append(.postgresNotReady("it is starting: \(progress)"))
        case .silent(let span): refusals.append(.postgresNotReady("it has answered nothing for \(span.text)"))
        case .unusable(let why): refusals.append(.postgresNotReady(why))
        }
        if postgres.isDelayed { refusals.append(.delayed) }
        if let names = overriddenNames() { refusals.append(.namesOverridden(names)) }
        if let here = postgres.capacity, let there = peer.report?.postgres.capacity {
            let short = here.shortfalls(against: there)
            if !short.isEmpty { refusals.append(.settingsTooLow(short)) }
        }
        if let report = peer.report { refusals += incompatibilities(with: report) }
        return refusals
    }

    /// May this standby be promoted on a person's word that the other host is off (4.3, `manual`)?
    func mayPromoteByWord(at now: Instant) -> Verdict {
        guard case .standby = state else { return .no([.notStandby(role)]) }
        var refusals = eligibility(at: now)
        if peer.isHeard(within: policy.silence, at: now), let ago = peer.silence(at: now) {
            refusals.append(.peerHeard(ago: ago))
        }
        if peerHeardIn != boot { refusals.append(.notToldPairedSinceBoot) }
        return Verdict(refusals)
    }

    /// May the primary go on alone on a person's word (4.1, `manual`)? With the boot rule of 4.3.
    func mayPartByWord(at now: Instant) -> Verdict {
        guard case .primary = state, let ledger else { return .no([.notPrimary(role)]) }
        var refusals: [Refusal] = []
        if ledger.bond == .sole { refusals.append(.busy("the bond is sole already: this node needs nobody")) }
        if peer.isHeard(within: policy.silence, at: now), let ago = peer.silence(at: now) {
            refusals.append(.peerHeard(ago: ago))
        }
        if peerHeardIn != boot { refusals.append(.notToldPairedSinceBoot) }
        return Verdict(refusals)
    }

    /// 4.3: `(T′, 1, B, sole)`, T′ this node's next term.
    func promotedLedger(from ledger: Ledger, copy: CopyID) -> Ledger {
        Ledger(
            cluster: ledger.cluster, term: ledger.term.next(for: policy.node, besides: policy.peer), step: 1,
            primary: policy.node, bond: .sole, primaryCopy: copy, standbyCopy: nil, arbiter: ledger.arbiter, lease: ledger.lease)
    }
}

extension Node {
    /// Would a failover succeed right now, apart from the arbiter's word? Empty: yes.
    public func failoverReadiness(at now: Instant) -> [RefusalNote] {
        switch state {
        case .standby:
            return eligibility(at: now).map(\.note)
        case .primary, .handingOver:
            guard let ledger else { return [Refusal.noLedger.note] }
            var reasons: [RefusalNote] = ledger.bond == .paired ? [] : [Refusal.notPaired(ledger).note]
            guard let report = peer.report, peer.isHeard(within: policy.silence, at: now) else {
                return reasons + [Refusal.peerSilent(peer.silence(at: now)).note]
            }
            if ledger.bond == .paired { reasons += report.refusals }
            return reasons
        case .waiting, .promoting, .stopping, .halted:
            return [Refusal.busy("this node is \(state.name)").note]
        }
    }

    /// What a person should know besides: one sentence each.
    public func remarks(at now: Instant) -> [String] {
        var remarks: [String] = []
        if case .halted(let halted) = state { remarks.append(halted.reason.text) }
        if case .waiting = state, ledger == nil { remarks.append(Refusal.noLedger.text) }
        if case .waiting = state, let ledger, ledger.primary == policy.node, ledger.bond == .paired {
            remarks.append(
                "waiting for \(policy.peer): this node was the paired primary \(ledger), and may not open before the other one is heard,"
                    + " or a person vouches that it is off (`pgtandem failover --peer-is-down`)")
        }
        if let postgres, case .unusable(let why) = postgres.condition { remarks.append(why) }
        if case .standby = state, let ledger, let postgres, postgres.condition == .stopped, postgres.copy?.node != policy.node {
            remarks.append(Refusal.otherCopy(ledger: ledger.standbyCopy, here: postgres.copy?.copy).text)
        }
        if let why = instance.failure, postgres?.isRunning != true { remarks.append(why) }
        if held.primary != .all, let why = addresses.primaryFailure { remarks.append(why) }
        if held.standby != .all, let why = addresses.standbyFailure { remarks.append(why) }
        if case .differs(let keys, _) = configuration { remarks.append(Refusal.configurationsDiffer(keys).text) }
        if case .primary(let primary) = state {
            if let parting = primary.parting {
                remarks.append(
                    "asking \(policy.peer) to step out of the bond: \(parting.reason.text); commits may wait until it answers")
            } else if ledger?.bond == .paired, !peer.isHeard(within: policy.silence, at: now), policy.mode == .synchronous {
                remarks.append(
                    "\(policy.peer) is silent and may still be promoted, so commits wait for it; if it is off and stays off, say so:"
                        + " `pgtandem failover --peer-is-down`")
            }
            if case .no(let refusals) = mayPair(at: now).verdict, ledger?.bond == .sole {
                remarks.append("not paired yet: \(refusals.map(\.text).joined(separator: "; "))")
            }
        }
        return remarks
    }
}
