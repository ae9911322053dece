extension Node {
    /// 4.2: may the primary begin to pair with the standby that it hears? The copy, if so.
    func mayPair(at now: Instant) -> (verdict: Verdict, copy: CopyID?) {
        guard let ledger, let postgres, let report = peer.report, peer.isHeard(within: policy.silence, at: now) else {
            return (.no([.peerSilent(peer.silence(at: now))]), nil)
        }
        var refusals: [Refusal] = incompatibilities(with: report)
        if report.isLeaving { refusals.append(.peerLeaving) }
        if let note = report.storage { refusals.append(.peerSays(note)) }
        if report.role != .standby {
            refusals.append(.peerSays(.init(code: "notStandby", text: "the other node's role is \(report.role.rawValue)")))
        }
        // The standby has written this very `sole`: whatever it was told before is void (4.2 begins at `sole`).
        if !peer.agrees(with: ledger) {
            refusals.append(.busy("the standby has not taken the ledger \(ledger) yet"))
        }
        guard let mark = report.postgres.copy, mark.node == policy.peer else {
            refusals.append(.otherCopy(ledger: nil, here: report.postgres.copy?.copy))
            return (.no(refusals), nil)
        }
        let senders = postgres.replicas.filter { $0.applicationName == mark.copy.applicationName && $0.isStreaming }
        if senders.count == 1, report.postgres.isStreaming, let flushed = senders[0].flushed, let here = postgres.flushed {
            let limit = policy.mode == .synchronous ? policy.handoverBytes : policy.pairLimit.bytes
            let behind = flushed.behind(here)
            if behind > limit { refusals.append(.behind(by: behind, limit: limit)) }
            if policy.mode == .asynchronous { refusals += ageRefusals(report.dataAge, policy.pairLimit.age) }
        } else {
            refusals.append(.notStreaming)
        }
        return (Verdict(refusals), mark.copy)
    }

    /// 4.1: is the standby lost or not fit, by what it says itself or what is seen of it?
    func mustPart(_ primary: Primary, at now: Instant) -> Refusal? {
        guard let ledger, ledger.bond == .paired else { return nil }
        if let names = overriddenNames(), let since = primary.overriddenSince, now - since > policy.streamPatience {
            return .namesOverridden(names)
        }
        // Alone, it could commit nothing either, and nobody could take over.
        if storageIsUnfit(at: now) { return nil }
        guard let report = peer.report, peer.isHeard(within: policy.silence, at: now) else {
            // It cannot consent; the witness can, in its place. With `manual`, only a person.
            // As long as its WAL stream runs, nobody waits: its agent may only be restarting.
            guard ledger.arbiter == .witness, now - primary.since > policy.silence else { return nil }
            let isLong = peer.silence(at: now).map { $0 > policy.agentPatience } ?? (now - primary.since > policy.agentPatience)
            return standbyStreams() && !isStalled(primary, at: now) && !isLong ? nil : .peerSilent(peer.silence(at: now))
        }
        // It is heard, and hears nothing: neither heartbeats nor WAL arrive there (a cut in one direction).
        if ledger.arbiter == .witness, isStalled(primary, at: now), let heard = peer.acknowledgedSentAt,
            now - heard > policy.silence
        {
            return .peerSilent(now - heard)
        }
        if report.isLeaving { return .peerLeaving }
        // 4.7: arbiter and lease are changed under `sole` only; both configurations want the same by now.
        if configuration == .agreed, pendingFrame() != nil, flaw != .frameUnderPaired { return .frameChanges }
        if let copy = report.postgres.copy?.copy, copy != ledger.standbyCopy {
            return .otherCopy(ledger: ledger.standbyCopy, here: copy)
        }
        // Commits would wait for what cannot be written there.
        if let note = report.storage { return .peerSays(note) }
        switch report.postgres.condition {
        case .stopped, .orphaned: return .postgresNotReady("the standby's PostgreSQL has ended")
        case .unusable(let why): return .postgresNotReady("the standby's data directory cannot be used: \(why)")
        case .running(isInRecovery: false): return .postgresNotReady("the standby's PostgreSQL was promoted by somebody")
        case .starting, .silent, .running(isInRecovery: true): break
        }
        if let since = primary.streamLostSince, now - since > policy.streamPatience { return .notStreaming }
        guard policy.mode == .asynchronous else { return nil }
        if let since = primary.lagUnknownSince, now - since > policy.lagPatience { return .lagUnknown }
        return lagRefusal(at: now)
    }

    /// Somebody's own `synchronous_standby_names` counts instead of ours (`ALTER SYSTEM` beats every file): commits do not wait for the
    /// standby of the ledger, so it may lack some (mistake 15).
    func overriddenNames() -> String? {
        guard policy.mode == .synchronous, settings.pending == nil, let ledger, let postgres,
            let names = postgres.synchronousStandbyNames,
            let copy = ledger.primary == policy.node ? ledger.standbyCopy ?? ledger.paused?.awaited : ledger.primaryCopy,
            settings.written?.synchronous == copy
        else { return nil }
        return names == copy.synchronousStandbyNames ? nil : names
    }

    /// 4.6: the standby that is heard does not say how far it is, or how old its data is. The first words of an agent that was restarted are
    /// such too, so it counts only where it lasts.
    func lagIsUnknown() -> Bool {
        guard policy.mode == .asynchronous, ledger?.bond == .paired, let report = peer.report else { return false }
        return report.dataAge == nil || standbyReceived(report) == nil
    }

    private func standbyReceived(_ report: PeerReport) -> LSN? {
        let streamed = postgres?.replicas.first { $0.applicationName == ledger?.standbyCopy?.applicationName }?.flushed
        return [streamed, report.postgres.received].compactMap { $0 }.max()
    }

    /// 4.6: asynchronous mode is `paired` within the lag limit only.
    func lagRefusal(at now: Instant) -> Refusal? {
        guard let report = peer.report, let here = postgres?.flushed, let there = standbyReceived(report) else { return nil }
        let behind = there.behind(here)
        if behind > policy.promoteLimit.bytes { return .behind(by: behind, limit: policy.promoteLimit.bytes) }
        if let age = report.dataAge, age > policy.promoteLimit.age { return .tooOld(age: age, limit: policy.promoteLimit.age) }
        return nil
    }

    /// 5.8: another system, another major version: refuse, say so, touch nothing.
    func incompatibilities(with report: PeerReport) -> [Refusal] {
        var refusals: [Refusal] = []
        if let here = postgres?.systemIdentifier, let there = report.postgres.systemIdentifier, here != there {
            refusals.append(.otherSystem(here: here, there: there))
        }
        if let here = postgres?.majorVersion, let there = report.postgres.majorVersion, here != there {
            refusals.append(.otherVersion(here: here, there: there))
        }
        return refusals
    }

    /// A stream that has ended at the other side is still one here, until a time-out of minutes or seconds: what counts is whether more is
    /// confirmed while there is more.
    mutating func noteConfirmation(_ primary: inout Primary, _ postgres: LocalPostgres, at now: Instant) {
        let sender = postgres.replicas.first { $0.applicationName == ledger?.standbyCopy?.applicationName && $0.isStreaming }
        guard let flushed = sender?.flushed, let here = postgres.flushed, flushed < here else {
            primary.unconfirmedSince = nil
            primary.confirmed = sender?.flushed
            return
        }
        if primary.confirmed != flushed || primary.unconfirmedSince == nil { primary.unconfirmedSince = now }
        primary.confirmed = flushed
    }

    /// For as long as a silence counts.
    private func isStalled(_ primary: Primary, at now: Instant) -> Bool {
        primary.unconfirmedSince.map { now - $0 > policy.silence } ?? false
    }

    /// The one sender that is the standby of the ledger streams now.
    func standbyStreams() -> Bool {
        guard let copy = ledger?.standbyCopy ?? ledger?.paused?.standby, let postgres else { return false }
        return postgres.replicas.contains { $0.applicationName == copy.applicationName && $0.isStreaming }
    }
}
