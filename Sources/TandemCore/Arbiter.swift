/// What this node knows of the arbiter's record, and since when (3.3).
public struct Arbiter: Hashable, Sendable, Codable {
    public var session: SessionID? { sessions.current }
    public internal(set) var last: WitnessAnswer?
    public internal(set) var heardAt: Instant?
    var sessions = Sessions()
    /// Requests of this session, counted.
    var requests: UInt64 = 0
    /// How many there were when a run of the witness greeted: what it answers must have been asked since. One that was taken for over and greets
    /// again may live; what it said before means nothing all the same (mistake 25).
    private var greeted: [SessionID: UInt64] = [:]
    /// The witness whose record is empty, for which this primary has taken its next term (3.3, mistake 22).
    var renewedFor: SessionID?
    /// That term, on its way to the disk.
    var renewing: Ledger?
    /// The answer is older than what was seen: a restored backup, or another one.
    public internal(set) var isOutdated = false

    public func isHeard(within patience: Duration, at now: Instant) -> Bool { heardAt.map { now - $0 <= patience } ?? false }

    mutating func begin(_ new: SessionID) {
        // Who greets again and again while its first answer is under way has not started anew.
        guard new != sessions.current, !sessions.candidates.contains(new) else { return }
        sessions.begin(new, revives: true)
        greeted[new] = requests
        greeted = greeted.filter { $0.key == sessions.current || sessions.candidates.contains($0.key) }
    }

    func mayAnswer(_ number: UInt64, _ sender: SessionID) -> Bool { number > greeted[sender] ?? 0 }

    /// It answers, and has nothing to answer with.
    public var isEmpty: Bool { last.map { $0.record == nil } ?? false }
}

extension Node {
    mutating func hear(_ answer: WitnessAnswer, _ header: Heartbeat.Header, at now: Instant) {
        guard header.receiver == session, arbiter.mayAnswer(answer.number, header.sender) || flaw == .soleFromBeforeTheLoss else {
            return
        }
        let (counts, isNew) = arbiter.sessions.hear(header.sender)
        if isNew { arbiter.last = nil }
        guard counts || flaw == .soleFromBeforeTheLoss && arbiter.sessions.current != nil,
            answer.number > (arbiter.last?.number ?? 0) || flaw == .soleFromBeforeTheLoss
        else { return }
        guard !isOlderThanSeen(answer) else {
            if !arbiter.isOutdated {
                notice(
                    .error,
                    "the witness answers with an older record than it had: it was restored from a backup, or another one stands in its place."
                        + " It is not believed; empty its record for this pair (`pgtandem witness forget`), and it is written anew"
                )
            }
            arbiter.isOutdated = true
            return
        }
        arbiter.isOutdated = false
        arbiter.last = answer
        arbiter.heardAt = now
        if let promised = answer.promised, let sent = lease.acknowledgedByWitness(answer.number), newest?.primary == policy.node {
            lease.extend(sent: flaw == .leaseFromReceipt ? moment : sent, promised: promised)
        }
        guard let record = answer.record else {
            // What was seen before the loss binds nobody any more: a grant among it is void, and what is written anew may be below it.
            notes.witness = nil
            return
        }
        notes.witness = WitnessSeen(generation: answer.generation, term: record.term, step: record.step)
        meetRecord(record, at: now)
    }

    /// A restored backup is refused: below the newest record that was seen, or below the generation without a newer record (3.3).
    private func isOlderThanSeen(_ answer: WitnessAnswer) -> Bool {
        guard flaw != .soleFromBeforeTheLoss, let seen = notes.witness, let record = answer.record else { return false }
        let order = ((record.term, record.step), (seen.term, seen.step))
        if order.0 < order.1 { return true }
        return answer.generation < seen.generation && order.0 == order.1
    }

    /// The arbiter's ledger is met like the other node's (5.6), but for grants: what stands there may never have been used.
    private mutating func meetRecord(_ record: Ledger, at now: Instant) {
        guard let mine = newest, record.cluster == policy.cluster, record.isNewer(than: mine) else {
            if let mine = newest, record.contradicts(mine) { halt(.contradiction(mine, record), at: now) }
            return
        }
        if record.primary == policy.node {
            // A grant has a rule of its own (4.3). One for a node that is not `paired` any more is dead, and so is whatever names this
            // node primary while the other one may hold commits of its own.
            if mine.primary == policy.node {
                if flaw != .soleNeverReconciled { meet(record, at: now) }
            }
            return
        }
        if mine.primary == policy.node, mine.bond == .sole, !record.forced, record.bond == .sole, record.step == 1,
            record.began == nil
        {
            guard mayGoAbove(mine, at: now) else { return }
            notice(
                .warning,
                "the witness granted the role to \(policy.peer), which cannot use it any more: this node takes its next term")
            write(mine.renewed(above: record.term, besides: policy.peer))
            return
        }
        meet(record, at: now)
    }

    /// A node that has only just started cannot know that the grant was never used: its own ledger may come from a restored disk (5.2). It
    /// goes above only when the other node says that it does not hold it.
    private func mayGoAbove(_ mine: Ledger, at now: Instant) -> Bool {
        switch state {
        case .primary: return true
        case .waiting, .promoting:
            if postgres?.isOpen == true { return true }
            guard peer.isHeard(within: policy.silence, at: now), let theirs = peer.last?.ledger else { return false }
            return !theirs.isNewer(than: mine)
        case .standby, .handingOver, .stopping, .halted: return false
        }
    }

    // MARK: - asking

    /// What the arbiter is to be asked now, every `h`; at once where clients wait for it.
    mutating func askArbiter(_ event: Event, at now: Instant) {
        guard let ledger, ledger.arbiter == .witness, let theirs = arbiter.session else { return }
        guard event.isTick || isPressing(event) else { return }
        if event.isTick {
            // A run of the witness that began, and has not been heard: it speaks only when it is spoken to.
            for candidate in arbiter.sessions.candidates { ask(.read, candidate) }
        }
        for kind in wantedRequests(ledger, isTick: event.isTick, at: now) {
            ask(kind, theirs)
        }
    }

    private mutating func ask(_ kind: WitnessRequest.Kind, _ receiver: SessionID) {
        arbiter.requests += 1
        let request = WitnessRequest(number: arbiter.requests, node: policy.node, kind: kind)
        if case .heartbeat = kind { lease.sentToWitness(request.number, at: moment) }
        order(.askWitness(request, .init(sender: session, receiver: receiver)))
    }

    /// Between two heartbeats, only a ledger of one's own that has just become durable is worth a request.
    private func isPressing(_ event: Event) -> Bool {
        if case .ledgerWritten = event { return ledger?.primary == policy.node }
        return false
    }

    private func wantedRequests(_ ledger: Ledger, isTick: Bool, at now: Instant) -> [WitnessRequest.Kind] {
        if case .halted = state { return [] }
        if arbiter.isEmpty, let empty = arbiter.session, flaw != .emptyWitnessGrants || ledger.primary == policy.node {
            return establishing(ledger, empty)
        }
        guard ledger.primary == policy.node else {
            if case .standby = state, mayClaim(at: now).isGo, let granted = grantWanted(at: now) {
                return [.claim(ledger, granted: granted)]
            }
            return isTick && (!peer.isHeard(within: policy.heartbeat * 2, at: now) || !isFresh(at: now)) ? [.read] : []
        }
        var kinds: [WitnessRequest.Kind] = []
        if asksLease(at: now) {
            // Also of an instance that recovers: what it holds was acknowledged once (4.6).
            kinds.append(.heartbeat(ledger, position: ownPosition))
        }
        if wantsRecordSole(at: now) { kinds.append(.sole(ledger)) }
        return kinds.isEmpty ? [.read] : kinds
    }

    /// Where this node's WAL ends, as far as is known: also of an instance that is down.
    var ownPosition: LSN? {
        postgres?.isOpen == true ? postgres?.flushed ?? lastFlushed : [postgres?.received, lastFlushed].compactMap { $0 }.max()
    }

    /// Something of the arbiter was heard not long ago.
    private func isFresh(at now: Instant) -> Bool { arbiter.isHeard(within: policy.heartbeat * 5, at: now) }

    /// A lost record: a `sole` primary in a term that it took since, or both nodes with equal ledgers (3.3).
    private func establishing(_ ledger: Ledger, _ empty: SessionID) -> [WitnessRequest.Kind] {
        guard writing == nil else { return [.read] }
        switch ledger.bond {
        case .paired: return [.establish(ledger, empty: empty)]
        case .sole:
            let isRenewed = arbiter.renewedFor == empty || flaw == .recordRewrittenInSameTerm
            return ledger.primary == policy.node && isRenewed ? [.establish(ledger, empty: empty)] : [.read]
        }
    }

    /// Half the rule of a lost record is the primary's: first its own next term (3.3, mistake 22).
    mutating func renewForEmptyArbiter(_ ledger: Ledger) {
        guard ledger.arbiter == .witness, ledger.bond == .sole, arbiter.isEmpty, let empty = arbiter.session,
            arbiter.renewedFor != empty, arbiter.renewing == nil, writing == nil, flaw != .recordRewrittenInSameTerm
        else { return }
        let next = ledger.renewed(above: ledger.term, besides: policy.peer)
        notice(.warning, "the witness has no record of this pair: it is written anew, in the next term")
        arbiter.renewing = next
        write(next)
    }

    mutating func noteRenewed(_ written: Ledger) {
        guard arbiter.renewing == written else { return }
        arbiter.renewing = nil
        arbiter.renewedFor = arbiter.isEmpty ? arbiter.session : nil
    }

    /// 4.1: the record's `sole` is wanted when the standby is lost, or not fit, and its consent may not come.
    private func wantsRecordSole(at now: Instant) -> Bool {
        guard let ledger, ledger.bond == .paired, writing == nil else { return false }
        switch state {
        case .primary(let primary): return primary.parting.map { $0.ledger.paused == nil } ?? false
        case .promoting(let promoting): return promoting.failures > 0 && !peer.isHeard(within: policy.silence, at: now)
        case .waiting, .standby, .handingOver, .stopping, .halted: return false
        }
    }
}
