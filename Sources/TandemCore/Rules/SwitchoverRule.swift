extension Node {
    /// 4.4: may this primary hand its role to the standby now?
    func mayHandOver(crashed: Bool, at now: Instant) -> Verdict {
        guard let ledger else { return .no([.noLedger]) }
        var refusals: [Refusal] = []
        if ledger.bond != .paired || ledger.primary != policy.node { refusals.append(.notPaired(ledger)) }
        if ledger.handoverEnd != nil, !standbyStreams() {
            refusals.append(.busy("the last handover is not complete: the standby does not stream yet"))
        }
        guard let report = peer.report, peer.isHeard(within: policy.silence, at: now) else {
            return .no(refusals + [.peerSilent(peer.silence(at: now))])
        }
        if report.isLeaving { refusals.append(.peerLeaving) }
        if !peer.agrees(with: ledger) { refusals.append(.busy("the standby has not taken the ledger \(ledger) yet")) }
        if !report.postgres.isRecovering { refusals.append(.postgresNotReady("the standby's PostgreSQL does not recover")) }
        if ledger.bond == .paired, report.postgres.copy?.copy != ledger.standbyCopy {
            refusals.append(.otherCopy(ledger: ledger.standbyCopy, here: report.postgres.copy?.copy))
        }
        if case .differs(let keys, let since) = configuration, now - since > policy.configurationPatience {
            refusals.append(.configurationsDiffer(keys))
        }
        // What the standby says of itself; of a dead primary, it cannot be asked to stream.
        refusals += report.refusals.filter { !Refusal.ofTheArbiter.contains($0.code) }.map(Refusal.peerSays)
        if !crashed {
            if !standbyStreams() { refusals.append(.notStreaming) }
            // What the sender knows is newer than what the standby said with its last heartbeat.
            let streamed = postgres?.replicas.first { $0.applicationName == ledger.standbyCopy?.applicationName }?.flushed
            if let here = postgres?.flushed, let there = [streamed, report.postgres.received].compactMap({ $0 }).max() {
                let behind = there.behind(here)
                if behind > policy.handoverBytes { refusals.append(.behind(by: behind, limit: policy.handoverBytes)) }
            } else {
                refusals.append(.lagUnknown)
            }
        }
        return Verdict(refusals)
    }

    /// 4.4: a reason to hand over, by itself, for as long as it has been so; never evidence against the other node (`hazards.md` H04).
    func gatewayIsOnlyLostHere(at now: Instant) -> Bool {
        guard let lost = gatewayLostAt, now - lost > policy.preparePatience else { return false }
        return peer.report?.seesGateway == true && ledger?.bond == .paired
    }

    /// 4.4, step 3: `(T′, 0, B, paired)`, T′ B's next term, with the end of WAL and both copies.
    func handoverLedger(from ledger: Ledger, standby: CopyID, end: LSN) -> Ledger {
        Ledger(
            cluster: ledger.cluster, term: ledger.term.next(for: policy.peer, besides: policy.node), step: 0,
            primary: policy.peer, bond: .paired, primaryCopy: standby, standbyCopy: ledger.primaryCopy,
            arbiter: ledger.arbiter, lease: ledger.lease, handoverEnd: end)
    }
}
