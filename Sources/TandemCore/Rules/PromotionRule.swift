extension Node {
    /// 4.3: the list by which a standby is eligible. What it lacks for a promotion besides is the arbiter's word.
    func eligibility(at now: Instant) -> [Refusal] {
        guard let ledger else { return [.noLedger] }
        var refusals: [Refusal] = []
        if ledger.primary != policy.peer || ledger.bond != .paired { refusals.append(.notPaired(ledger)) }
        refusals += instanceReadiness(at: now)
        if let trouble = storageTrouble(at: now) { refusals.append(trouble) }
        if policy.barredPrimary == policy.node, !failback.isBarLifted { refusals.append(.barred) }
        if flaw != .otherCopyAdopts, let copy = postgres?.copy,
            copy.node != policy.node || (ledger.bond == .paired && copy.copy != ledger.standbyCopy)
        {
            refusals.append(.otherCopy(ledger: ledger.standbyCopy, here: copy.copy))
        }
        if case .differs(let keys, let since) = configuration, now - since > policy.configurationPatience {
            refusals.append(.configurationsDiffer(keys))
        }
        if policy.mode == .asynchronous, ledger.bond == .paired {
            // Of a primary whose PostgreSQL is dead, the last position that it said.
            // With the witness, also the last one that it heard (4.6).
            let told = peer.report?.postgres.flushed ?? peer.report?.postgres.received ?? freshness.newest
            let recorded = ledger.arbiter == .witness ? arbiter.last?.position : nil
            if let primaryWas = [told, recorded].compactMap({ $0 }).max(), let received = postgres?.received {
                let behind = received.behind(primaryWas)
                if behind > policy.promoteLimit.bytes { refusals.append(.behind(by: behind, limit: policy.promoteLimit.bytes)) }
                // Nothing is missing: no age is needed. After a start, nobody can tell it any more: then the bytes decide.
                if behind > 0, let age = receivedAge(at: now) { refusals += ageRefusals(age, policy.promoteLimit.age) }
            } else {
                refusals.append(.lagUnknown)
            }
        }
        return refusals
    }

    /// Unknown is never young.
    func ageRefusals(_ age: Duration?, _ limit: Duration) -> [Refusal] {
        guard let age else { return [.lagUnknown] }
        return age > limit ? [.tooOld(age: age, limit: limit)] : []
    }

    /// Could the instance here become a primary at all?
    func instanceReadiness(at now: Instant) -> [Refusal] {
        guard let postgres else { return [.postgresNotReady("not looked at yet")] }
        var refusals: [Refusal] = []
        switch postgres.condition {
        case .running(isInRecovery: true): break
        case .running(isInRecovery: false): refusals.append(.postgresNotReady("it accepts writes already"))
        case .stopped: refusals.append(rejoin.refusal.map { .cannotRejoin($0) } ?? .postgresNotReady("it does not run"))
        case .orphaned: refusals.append(.postgresNotReady("its postmaster has ended"))
        case .starting(let progress): refusals.append(.postgresNotReady("it is starting: \(progress)"))
        case .silent(let span): refusals.append(.postgresNotReady("it has answered nothing for \(span.text)"))
        case .unusable(let why): refusals.append(.postgresNotReady(why))
        }
        if postgres.isDelayed { refusals.append(.delayed) }
        if postgres.isReplayPaused == true { refusals.append(.replayPaused) }
        if let names = overriddenNames() { refusals.append(.namesOverridden(names)) }
        if let here = postgres.capacity, let there = peer.report?.postgres.capacity {
            let short = here.shortfalls(against: there)
            if !short.isEmpty { refusals.append(.settingsTooLow(short)) }
        }
        if let report = peer.report { refusals += incompatibilities(with: report) }
        return refusals
    }

    /// May this standby be promoted on a person's word that the other host is off (4.3)? And is it against what is known, so that the
    /// ledger carries the mark `forced`?
    func mayPromoteByWord(_ acceptDataLoss: Bool, at now: Instant) -> (verdict: Verdict, isForced: Bool) {
        // A person's word for this very node is above what the configuration says in general.
        var doubts = eligibility(at: now).filter { $0 != .barred }
        if notes.peerHeardIn != boot, flaw != .wordFromBeforeBoot { doubts.append(.notToldPairedSinceBoot) }
        // What a person cannot answer for: that the other one is silent, and that the instance here can be promoted at all.
        var refusals = doubts.filter(\.isBeyondWords)
        doubts.removeAll(where: \.isBeyondWords)
        refusals += silenceRefusals(at: now)
        doubts += arbiterDoubts(at: now)
        if doubts.contains(.arbiterDecides) { return (.no(refusals + [.arbiterDecides]), false) }
        if !acceptDataLoss { refusals += doubts }
        return (Verdict(refusals), !doubts.isEmpty)
    }

    /// May the primary go on alone on a person's word (4.1, `manual`)? With the boot rule of 4.3.
    func mayPartByWord(_ acceptDataLoss: Bool, at now: Instant) -> Verdict {
        guard let ledger, ledger.primary == policy.node else { return .no([.notPrimary(role)]) }
        var refusals: [Refusal] = []
        if ledger.bond == .sole {
            refusals.append(
                .busy(
                    ledger.paused == nil
                        ? "the bond is sole already: this node needs nobody"
                        : "the pair is paused, so this node needs nobody; if commits wait for the standby: `pgtandem resume`"))
        }
        refusals += silenceRefusals(at: now)
        var doubts = arbiterDoubts(at: now)
        if doubts.contains(.arbiterDecides) { return .no(refusals + [.arbiterDecides]) }
        if notes.peerHeardIn != boot, flaw != .wordFromBeforeBoot { doubts.append(.notToldPairedSinceBoot) }
        return Verdict(acceptDataLoss ? refusals : refusals + doubts)
    }

    private func silenceRefusals(at now: Instant) -> [Refusal] {
        guard peer.isHeard(within: policy.silence, at: now), let ago = peer.silence(at: now) else { return [] }
        return [.peerHeard(ago: ago)]
    }

    /// A person's word does not stand in for the claim (4.3, mistake 24).
    private func arbiterDoubts(at now: Instant) -> [Refusal] {
        guard let ledger, ledger.arbiter == .witness, flaw != .wordInsteadOfGrant else { return [] }
        if arbiter.isHeard(within: policy.silence, at: now), !arbiter.isEmpty { return [.arbiterDecides] }
        return [.arbiterSilent]
    }

    /// The ledger of a promotion by a person's word: above everything that this node has seen.
    func wordLedger(from ledger: Ledger, copy: CopyID, isForced: Bool) -> Ledger {
        var mine = promotedLedger(from: ledger, copy: copy)
        if let seen = notes.witness?.term, seen > ledger.term { mine.term = seen.next(for: policy.node, besides: policy.peer) }
        mine.forced = isForced
        // A claim that was made before may have been granted with the first step of this very term, and without the mark.
        if isForced {
            mine.step = 2
            mine.term = mine.term.outOfReach
        }
        return mine
    }

    /// 4.3: `(T′, 1, B, sole)`, T′ this node's next term.
    func promotedLedger(from ledger: Ledger, copy: CopyID) -> Ledger {
        Ledger(
            cluster: ledger.cluster, term: ledger.term.next(for: policy.node, besides: policy.peer), step: 1,
            primary: policy.node, bond: .sole, primaryCopy: copy, standbyCopy: nil, arbiter: ledger.arbiter, lease: ledger.lease)
    }
}
