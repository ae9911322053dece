/// The lease of a paired primary, by its own clocks (3.1): what each acknowledgement is worth counts from the SENDING of what it acknowledges.
struct LeaseKeeper: Hashable, Sendable, Codable {
    struct Sent: Hashable, Sendable, Codable {
        var number: UInt64
        var at: Moment
    }
    /// `lease_until`; nil: none was given to this session.
    var until: Moment?
    /// Sent and not acknowledged yet, oldest first.
    private var toPeer: [Sent] = []
    private var toWitness: [Sent] = []
    /// Since when the instance has not served; what bounds the asking (mistake 17).
    var servedAt = Instant(nanoseconds: 0)

    mutating func sentToPeer(_ number: UInt64, at now: Moment) { Self.append(Sent(number: number, at: now), &toPeer) }
    mutating func sentToWitness(_ number: UInt64, at now: Moment) { Self.append(Sent(number: number, at: now), &toWitness) }

    /// When the acknowledged heartbeat was sent; older ones are no longer of use.
    mutating func acknowledgedByPeer(_ number: UInt64) -> Moment? { Self.take(number, &toPeer) }
    mutating func acknowledgedByWitness(_ number: UInt64) -> Moment? { Self.take(number, &toWitness) }

    /// Nothing that was given or asked for so far counts.
    mutating func forget() {
        until = nil
        toPeer = []
        toWitness = []
    }

    mutating func extend(sent: Moment, promised: Duration) {
        until = (sent + Timing.worth(of: promised)).extended(to: until)
    }

    private static func append(_ new: Sent, _ list: inout [Sent]) {
        list.append(new)
        // Whoever has not answered so many is silent, and what it answers later extends nothing.
        if list.count > 128 { list.removeFirst(64) }
    }

    private static func take(_ number: UInt64, _ list: inout [Sent]) -> Moment? {
        guard let place = list.firstIndex(where: { $0.number == number }) else { return nil }
        let at = list[place].at
        list.removeFirst(place + 1)
        return at
    }
}

extension Node {
    /// The pair's arbiter lends: a paired primary writes by a lease.
    var lends: Bool { ledger?.arbiter.lends ?? policy.arbiter.lends }

    /// The lease is in force until the guard acts, m before its end (3.1).
    var holdsLease: Bool {
        guard let until = lease.until else { return false }
        let end = until - policy.timing.margin
        return flaw == .leaseOnOneClock ? moment.boot < end.boot : !end.hasEnded(at: moment)
    }

    /// When the right to write ends, if it is lent.
    var leaseEnd: Moment? {
        guard lends, ledger?.bond == .paired else { return nil }
        return lease.until.map { $0 - policy.timing.margin }
    }

    /// How long the lease still lasts; nil: none is needed, or none is held.
    public func leaseLeft(at now: Instant) -> Duration? {
        guard lends, ledger?.bond == .paired, ledger?.primary == policy.node, let until = lease.until else { return nil }
        return max(.zero, min(until.boot - now, until.raw - moment.raw - (now - moment.boot)))
    }

    /// 3.1: only a node whose instance serves, or recovers within its patience, asks for a lease.
    func asksLease(at now: Instant) -> Bool {
        guard let ledger, ledger.arbiter.lends, ledger.primary == policy.node else { return false }
        if flaw == .deadPostgresRenews { return true }
        switch state {
        case .waiting, .promoting, .primary, .handingOver: break
        // A shutdown in order may take longer than a lease.
        case .stopping: return postgres?.isOpen == true
        case .standby, .halted: return false
        }
        guard let postgres else { return false }
        // 4.6: what was acknowledged here is heard of with its position. An agent that starts does not know it before the instance answers,
        // and a promise that was given meanwhile would say that nothing is missing.
        if policy.mode == .asynchronous, ownPosition == nil { return false }
        let idle = now - lease.servedAt
        // Who can neither serve nor hand over lets the other one claim (4.4).
        if storageIsUnfit(at: now), idle > policy.handoverPatience { return false }
        if case .handingOver(let handing) = state, handing.reason == .storage, handing.phase == .ending(nil) { return false }
        if isStoppedByStorage(at: now) { return false }
        switch postgres.condition {
        case .running(isInRecovery: false): return true
        case .unusable: return false
        case .silent(let span): return span <= policy.hangPatience
        case .stopped, .orphaned, .starting, .running(isInRecovery: true):
            return idle <= (isHandingOver ? policy.handoverPatience : policy.recoveryPatience)
        }
    }

    /// PostgreSQL has ended, cannot be started on this disk, and its end of WAL cannot be read from it.
    private func isStoppedByStorage(at now: Instant) -> Bool {
        guard storageIsUnfit(at: now), postgres?.condition == .stopped else { return false }
        switch state {
        case .promoting: return true
        case .handingOver(let handing):
            guard case .measuring = handing.phase else { return false }
            return handing.end == nil && handing.notBefore != nil
        case .waiting, .standby, .primary, .stopping, .halted: return false
        }
    }

    private var isHandingOver: Bool {
        if case .handingOver = state { return true }
        return false
    }

    /// Before anything is decided: what the present lease means for an instance that serves.
    mutating func noteServing(at now: Instant) {
        if let postgres, postgres.isOpen { lastFlushed = postgres.flushed ?? lastFlushed }
        // A standby has nothing to serve yet: its patience begins when the role is its own.
        if postgres?.isOpen == true && !storageIsUnfit(at: now) || newest?.primary != policy.node { lease.servedAt = now }
        // Recovered, and ready for the lease that it waits for: nothing here keeps it from serving.
        if case .waiting = state, postgres?.isRecovering == true, !storageIsUnfit(at: now) { lease.servedAt = now }
        // The same on the way to opening. What keeps it may be of its own, so it falls silent after its patience, for as long as the other one
        // needs to claim; if that one cannot either, it asks again: else nobody would be primary, ever (L1).
        if case .promoting(let promoting) = state, promoting.rung == .starting, postgres?.isRecovering == true,
            !storageIsUnfit(at: now), leaseIsMissing(at: now), let ledger,
            now - lease.servedAt > policy.recoveryPatience + ledger.lease * 2
        {
            lease.servedAt = now
        }
        // It follows, or leads: from now on its WAL goes on behind the fork.
        if notes.follows != nil, postgres?.isOpen == true && ledger?.primary == policy.node || postgres?.isStreaming == true {
            notes.follows = nil
        }
        if let ledger, ledger.primary != policy.node, newest?.primary != policy.node { lease.until = nil }
    }

    /// What the peer's heartbeat says about the ones that were sent to it.
    mutating func heedAcknowledgement(_ heartbeat: Heartbeat) {
        guard let number = heartbeat.acknowledged, number <= heartbeats || flaw == .acknowledgementFromBeforeReboot else {
            return
        }
        peer.acknowledged = number
        let mine = lease.acknowledgedByPeer(number)
        guard let sent = flaw == .acknowledgementFromBeforeReboot ? mine ?? moment : mine else { return }
        peer.acknowledgedSentAt = sent.boot
        guard let promised = heartbeat.promised, newest?.primary == policy.node else { return }
        lease.extend(sent: flaw == .leaseFromReceipt ? moment : sent, promised: promised)
    }

    /// 3.1: this node promises not to support another primary, itself included, before `now + L`.
    mutating func promiseIfAsked(_ heartbeat: Heartbeat) {
        guard heartbeat.asksLease, let theirs = heartbeat.ledger, supports(theirs) else { return }
        promise = (moment + theirs.lease).extended(to: promise)
        promised = heartbeat.number
    }

    /// Its own promise to the other node has run out (4.3).
    var promiseIsOver: Bool { !(promise?.isKept(at: moment) ?? false) }

    /// 3.1 and 5.5: whoever is about to act against the sender, or has no ledger, acknowledges nothing.
    func supports(_ theirs: Ledger) -> Bool {
        guard let mine = newest else { return flaw == .acknowledgesWithoutLedger }
        switch state {
        case .standby, .stopping:
            if grant != nil { return false }
            return theirs.primary == policy.peer && !mine.isNewer(than: theirs)
        case .primary, .handingOver:
            return !mine.isNewer(than: theirs)
        case .waiting, .promoting, .halted:
            return flaw == .acknowledgesWithoutLedger && ledger == nil
        }
    }
}
