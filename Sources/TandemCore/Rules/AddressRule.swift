/// One address operation per role at a time, with a pause after a failure.
struct AddressKeeper: Hashable, Sendable, Codable {
    var primary: OperationID?
    var standby: OperationID?
    var primaryNotBefore: Instant?
    var standbyNotBefore: Instant?
    /// Why the last operation failed; nil: it did not.
    var primaryFailure: String?
    var standbyFailure: String?
    /// The interface was looked at in this session.
    var areKnown = false

    mutating func completed(_ ended: OperationID, _ outcome: Outcome, at retry: Instant) -> Bool {
        var notBefore: Instant?
        var failure: String?
        if case .failed(let why) = outcome { (notBefore, failure) = (retry, why) }
        if primary == ended {
            primary = nil
            primaryNotBefore = notBefore
            primaryFailure = failure
            return true
        }
        if standby == ended {
            standby = nil
            standbyNotBefore = notBefore
            standbyFailure = failure
            return true
        }
        return false
    }
}

/// What a state wants of an address.
enum AddressWish: Hashable, Sendable {
    /// `regardless`: another machine's answer to the probe does not stop the taking (7: with authority).
    case hold(regardless: Bool)
    case release
    /// As it is: neither taken nor given up now.
    case keep
}

extension Node {
    /// Section 7. Compared with what the interface really holds after every event, so that an address that was added or removed
    /// by somebody else is put right at once.
    mutating func keepAddresses(at now: Instant) {
        if addresses.primary == nil, now >= addresses.primaryNotBefore ?? now {
            addresses.primary = fulfil(primaryAddressWish(at: now), of: .primary)
        }
        if addresses.standby == nil, now >= addresses.standbyNotBefore ?? now {
            addresses.standby = fulfil(standbyAddressWish(at: now), of: .standby)
        }
    }

    private mutating func fulfil(_ wish: AddressWish, of role: AddressRole) -> OperationID? {
        switch (wish, held[role]) {
        case (.keep, _), (.hold, .all), (.release, .none):
            return nil
        case (.hold(let regardless), .none), (.hold(let regardless), .some):
            let operation = nextOperation()
            order(.claimAddress(role, regardless: regardless, until: role == .primary ? leaseEnd : nil, operation))
            return operation
        case (.release, .some), (.release, .all):
            let operation = nextOperation()
            order(.releaseAddress(role, operation))
            return operation
        }
    }

    /// S5: only with authority, and only after PostgreSQL accepts writes.
    func primaryAddressWish(at now: Instant) -> AddressWish {
        switch state {
        case .primary:
            guard hasAuthority(at: now) else { return .release }
            return postgres?.isOpen == true ? .hold(regardless: true) : .keep
        case .waiting(let waiting):
            // An agent that was restarted under a running primary: neither clients nor the address notice (5.3).
            guard let postgres, addresses.areKnown else { return .keep }
            return mayWrite(at: now) && (postgres.isOpen || isNotSeenYet(postgres, since: waiting.since, at: now))
                ? .keep : .release
        case .handingOver(let handing):
            switch handing.phase {
            case .preparing, .ending: return .keep
            case .measuring, .writing: return .release
            }
        case .stopping(let stopping):
            return stopping.phase == .ended || newest?.primary == policy.peer ? .release : .keep
        case .standby, .promoting, .halted:
            return .release
        }
    }

    func standbyAddressWish(at now: Instant) -> AddressWish {
        switch state {
        case .primary(let primary):
            guard primary.ordered.holder == policy.node else { return .release }
            return peerIsClearOfStandbyAddress(primary.ordered, at: now) ? .hold(regardless: false) : .keep
        case .standby(let standby):
            if mayServeReads(at: now) { return .hold(regardless: false) }
            return isNotToldYet(since: standby.since, at: now) ? .keep : .release
        case .stopping(let stopping) where stopping.phase == .leaving:
            return mayServeReads(at: now) ? .hold(regardless: false) : .release
        case .waiting(let waiting):
            guard let postgres else { return .keep }
            let mayServe = postgres.isRunning || isNotSeenYet(postgres, since: waiting.since, at: now)
            return mayServe && ledger != nil ? .keep : .release
        case .promoting, .handingOver:
            return .keep
        case .stopping(let stopping):
            return stopping.phase == .ended ? .release : .keep
        case .halted:
            return .release
        }
    }

    /// A standby serves reads while the primary's order stands and its data is fresh enough. Not hearing the primary, it goes on
    /// until its data is too old: with the arbiter `manual`, the primary cannot be `sole` without this node's word (7).
    private func mayServeReads(at now: Instant) -> Bool {
        guard let ledger, ledger.bond == .paired || ledger.paused != nil, ledger.primary == policy.peer,
            peer.standbyAddressOrder == policy.node, postgres?.isRecovering == true, let age = dataAge(at: now)
        else { return false }
        guard age <= policy.maximumStaleness else { return false }
        return peer.isHeard(within: policy.silence, at: now) || recordLeavesItHere(ledger, at: now)
    }

    /// The first look after a start sees a postmaster before a session has answered: not known yet is not down.
    func isNotSeenYet(_ postgres: LocalPostgres, since: Instant, at now: Instant) -> Bool {
        if case .starting = postgres.condition { return now - since <= policy.startPatience }
        return false
    }

    /// Only the agent was restarted: readers stay where they are until the primary's order is heard, or the data may be too old (5.4).
    private func isNotToldYet(since: Instant, at now: Instant) -> Bool {
        guard let ledger, ledger.bond == .paired || ledger.paused != nil, ledger.primary == policy.peer,
            let postgres, postgres.isRecovering || isNotSeenYet(postgres, since: since, at: now),
            peer.heardAt == nil
                || (peer.standbyAddressOrder ?? policy.node == policy.node && now - since <= policy.startPatience)
        else { return false }
        return now - since <= policy.maximumStaleness && recordLeavesItHere(ledger, at: now)
    }

    /// 7: a standby that does not hear the primary asks the witness, and keeps the address while the record names it `paired`, or while both
    /// are silent.
    private func recordLeavesItHere(_ ledger: Ledger, at now: Instant) -> Bool {
        guard ledger.arbiter == .witness, ledger.paused == nil, arbiter.isHeard(within: policy.silence, at: now),
            let record = arbiter.last?.record
        else { return true }
        return record.bond == .paired && record.standbyCopy == ledger.standbyCopy
    }

    /// The standby has seen the order and holds nothing; or it is out by somebody's word and the probe decides (7).
    private func peerIsClearOfStandbyAddress(_ order: Primary.StandbyOrder, at now: Instant) -> Bool {
        guard peer.isHeard(within: policy.silence, at: now), let report = peer.report else { return silentPeerIsClear(at: now) }
        if report.holdsStandbyAddress { return false }
        // A host that has not joined has no right to it and acknowledges nothing (5.5).
        if peer.last?.ledger == nil { return ledger?.bond == .sole }
        return (peer.acknowledged ?? 0) >= order.number
    }

    /// Without its word: L after its last support, when its own asking of the witness has ended its right (7). A paused one keeps the address
    /// for as long as its data is fresh enough.
    private func silentPeerIsClear(at now: Instant) -> Bool {
        guard let ledger, ledger.bond == .sole else { return false }
        if ledger.paused != nil, let silence = peer.silence(at: now) { return silence > policy.maximumStaleness + policy.silence }
        guard ledger.arbiter.lends, let supported = peer.acknowledgedSentAt else { return true }
        return now - supported >= ledger.lease
    }

    /// Who shall hold the standby address, by the primary's view; with hysteresis (7).
    func wantedStandbyHolder(_ current: NodeName, at now: Instant) -> NodeName {
        guard let ledger, ledger.bond == .paired || ledger.paused != nil else { return policy.node }
        if ledger.paused != nil, !standbyIsAwaited(at: now) { return policy.node }
        guard peer.isHeard(within: policy.silence, at: now), let report = peer.report else { return current }
        if current == policy.peer, report.holdsStandbyAddress, !report.isLeaving, isNotKnownYet(report) { return current }
        guard report.postgres.isRecovering, !report.isLeaving,
            ledger.paused != nil || report.postgres.copy?.copy == ledger.standbyCopy
        else {
            return policy.node
        }
        let behind = report.postgres.replayed.flatMap { there in postgres?.flushed.map { there.behind($0) } }
        return readRefusals(report.dataAge, behind: behind, serves: current == policy.peer).isEmpty ? policy.peer : policy.node
    }

    /// 7: what keeps a standby's data from readers. It loses the address by `max_staleness`, and gets it back below `return_standby_address`.
    /// Unknown is never fresh.
    func readRefusals(_ age: Duration?, behind: UInt64?, serves: Bool) -> [Refusal] {
        let limit = policy.returnLimit
        if serves { return ageRefusals(age, policy.maximumStaleness) }
        guard let behind else { return [.lagUnknown] }
        return (behind > limit.bytes ? [.behind(by: behind, limit: limit.bytes)] : []) + ageRefusals(age, limit.age)
    }

    /// Where the standby address is not on the standby because of what its data is: why, with the numbers.
    func readRemark(at now: Instant) -> String? {
        guard let ledger, ledger.bond == .paired, peer.isHeard(within: policy.silence, at: now), let report = peer.report else {
            return nil
        }
        let refusals: [Refusal]
        let owner: NodeName
        switch state {
        case .primary(let primary) where primary.ordered.holder == policy.node:
            let behind = report.postgres.replayed.flatMap { there in postgres?.flushed.map { there.behind($0) } }
            refusals = readRefusals(report.dataAge, behind: behind, serves: false)
            owner = policy.node
        case .standby where peer.standbyAddressOrder == policy.peer || held.standby == .none:
            let behind = postgres?.replayed.flatMap { here in report.postgres.flushed.map { here.behind($0) } }
            refusals = readRefusals(dataAge(at: now), behind: behind, serves: peer.standbyAddressOrder == policy.node)
            owner = policy.peer
        case .primary, .standby, .waiting, .promoting, .handingOver, .stopping, .halted:
            return nil
        }
        guard !refusals.isEmpty else { return nil }
        return "the standby address is with the primary, \(owner), until the standby's data is fresh enough: "
            + refusals.map(\.text).joined(separator: "; ")
    }

    /// The first reports of an agent that was restarted: it gives the address up itself if it does not come to know.
    private func isNotKnownYet(_ report: PeerReport) -> Bool {
        if case .starting = report.postgres.condition { return true }
        return report.postgres.isRecovering && report.dataAge == nil
    }

    /// A paused pair leaves the address where it is until the standby has been away for long (4.7).
    private func standbyIsAwaited(at now: Instant) -> Bool {
        guard case .primary(let primary) = state, let since = primary.streamLostSince else { return true }
        return ledger?.paused?.standby != nil && now - since <= policy.pausePatience
    }
}
