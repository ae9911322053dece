// What the peer says: its ledger first, then what it asks.

extension Node {
    mutating func hear(_ heartbeat: Heartbeat, _ header: Heartbeat.Header, at now: Instant) {
        // A message for another session of ours was meant for a node that knew other things (section 1).
        guard header.receiver == session || flaw == .acknowledgementFromBeforeReboot else { return }
        let before = peer.session
        guard peer.accepts(heartbeat, from: header.sender) else { return }
        // Numbers of requests begin anew with each session.
        if peer.session != before {
            lastAsked = nil
            lastWeight = nil
            answeredAt = nil
            answerThere = nil
            promised = nil
        }
        peer.isLinked = true
        peer.note(heartbeat, at: now)
        heedAcknowledgement(heartbeat)
        // An agent that has only just started, or gives the role away, has no order to give: the last one stands (7).
        if heartbeat.report.role == .primary || heartbeat.report.role == .primaryStandby
            || heartbeat.report.standbyAddressHolder != nil
        {
            peer.standbyAddressOrder = heartbeat.report.standbyAddressHolder
        }
        if let answered = answerThere?.request, heartbeat.ask?.request != answered { answerThere = nil }
        if heartbeat.report.postgres.isOpen, let flushed = heartbeat.report.postgres.flushed {
            freshness.primaryWas(at: flushed, beat: heartbeat.report.postgres.row?.beat, now)
        }
        // 5.8: another database: refuse, say so, touch nothing.
        if let foreign = incompatibilities(with: heartbeat.report).first { return refuseOnce(foreign) }
        if let theirs = heartbeat.ledger {
            if peer.newestLedger.map({ theirs.isNewer(than: $0) }) ?? true { peer.newestLedger = theirs }
            meet(theirs, at: now)
        }
        promiseIfAsked(heartbeat)
        notePeerHeard(at: now)
        if let ask = heartbeat.ask { consider(ask, at: now) }
        if let answer = heartbeat.answer { heed(answer, at: now) }
    }

    /// Two ledgers met: the newer wins (5.6).
    mutating func meet(_ theirs: Ledger, at now: Instant) {
        // No ledger: this node cannot know what it has forgotten; only `join` gives it one (5.5).
        guard let mine = newest else {
            if flaw == .otherCopyAdopts, case .waiting = state { write(theirs) }
            return
        }
        guard theirs.cluster == policy.cluster, theirs.primary == policy.node || theirs.primary == policy.peer,
            postgres?.systemIdentifier != nil
        else { return }
        if theirs.contradicts(mine) { return halt(.contradiction(mine, theirs), at: now) }
        if isGivenBack(theirs, mine) {
            notice(
                .warning,
                "the grant for \(policy.peer) in the record is dead, as it had consented to \(theirs): this node takes its next term"
            )
            return write(theirs.renewed(above: mine.term, besides: policy.peer))
        }
        let isTurnedBack = flaw == .noStep && theirs.term == mine.term && theirs != mine && theirs.primary != policy.node
        guard theirs.isNewer(than: mine) || isTurnedBack else { return }
        if theirs.primary == policy.node { return adoptOwn(theirs, at: now) }
        switch state {
        case .halted: return
        case .waiting, .standby:
            // Before the first look at the data directory, nothing can be said about the copy; the next heartbeat says it again.
            if postgres != nil { take(theirs) }
        case .primary, .promoting, .handingOver:
            // 6.1: somebody else was made primary. The instance stops and the address goes, as in every standby.
            notice(.warning, "the other node is primary by a newer ledger \(theirs): this node gives the role up")
            take(theirs)
            enter(.standby(Standby(since: now, prepared: nil)), because: .newerLedger)
        case .stopping:
            take(theirs)
        }
    }

    /// This node gave its role up for a grant that it found in the record, and the other one says, durably, that it had consented to `sole`
    /// before: it cannot use the grant, and this node is the one that has every commit (5.6).
    private func isGivenBack(_ theirs: Ledger, _ mine: Ledger) -> Bool {
        switch state {
        case .standby, .waiting: break
        case .promoting, .primary, .handingOver, .stopping, .halted: return false
        }
        return mine.arbiter == .witness && mine.primary == policy.peer && mine.bond == .sole && mine.step == 1 && !mine.forced
            && mine.began == nil
            && theirs.primary == policy.node && theirs.bond == .sole && mine.isNewer(than: theirs)
            && postgres?.copy?.copy == theirs.primaryCopy && postgres?.copy?.node == policy.node
            // A word from before it took the role, long on its way, looks the same.
            && !(peer.newestLedger?.isNewer(than: theirs) ?? false)
    }

    /// A newer ledger by which the other node is primary. 4.2, step 3: one that pairs with another copy than the one here is
    /// answered with `(T, n+2, A, sole)`, which is consent: this node's directory is not what the primary believes.
    private mutating func take(_ theirs: Ledger) {
        let mine = postgres?.copy.flatMap { $0.node == policy.node ? $0.copy : nil }
        let isOther = theirs.bond == .paired && theirs.standbyCopy != mine && flaw != .otherCopyAdopts
        write(isOther ? theirs.sole() : theirs)
    }

    /// A newer ledger by which this node is primary: the peer's consent, a handover, or news that this disk has forgotten.
    private mutating func adoptOwn(_ theirs: Ledger, at now: Instant) {
        switch state {
        case .primary, .promoting:
            // Consent (4.1): the peer has given its right up, durably, before this could be heard.
            if theirs.bond == .sole { write(theirs) }
        case .standby where theirs.handoverEnd != nil && theirs.bond == .paired:
            takeOver(theirs, at: now)
        case .waiting where theirs.handoverEnd != nil && theirs.bond == .paired && ledger?.primary == policy.peer:
            // First the WAL, then the ledger (4.4, step 4): as a standby, at the next heartbeat.
            break
        case .waiting, .standby:
            // A grant that the record holds for this node, and that it gave its right away before: dead, whoever repeats it.
            if let mine = newest, mine.primary == policy.peer, mine.bond == .sole { return }
            // What this node promised it keeps, also when the other one has given up already: its instance may be open for as long as
            // its lease lasts (3.1). The next heartbeat says it again.
            if newest?.primary == policy.peer, !promiseIsOver { return }
            // The ledger here is older than what the peer knows of this node: a restored disk (5.2). Taken, then looked at anew.
            write(theirs)
            enter(.waiting(Waiting(since: now)), because: .ownNewerLedger)
        case .stopping where theirs.handoverEnd != nil && theirs.bond == .paired:
            // Handed over to a node that is on its way out, and never opened: the role goes back at once (4.4).
            guard let end = theirs.handoverEnd, let standby = theirs.standbyCopy else { return }
            write(handoverLedger(from: theirs, standby: standby, end: end))
        case .handingOver, .stopping, .halted: break
        }
    }

    private mutating func consider(_ ask: Heartbeat.Ask, at now: Instant) {
        switch ask {
        case .consent(let sole):
            // 4.1: only a standby has a right to give up, and only to the primary of this very term.
            guard let mine = newest, sole.isNewer(than: mine), sole.bond == .sole, sole.primary == policy.peer,
                mine.term == sole.term, mine.primary == policy.peer
            else { return }
            switch state {
            case .waiting, .standby, .stopping: write(sole)
            case .promoting, .primary, .handingOver, .halted: return
            }
        case .prepare(let handover):
            if case .standby(var standby) = state {
                standby.prepared = handover
                state = .standby(standby)
            }
        case .switchover, .pause, .resume, .cancelFailback:
            askedByPeer(ask, at: now)
        }
    }

    private mutating func heed(_ answer: Heartbeat.Answer, at now: Instant) {
        switch answer {
        case .prepared(let id, let replayed):
            if case .handingOver(var handing) = state, handing.id == id, handing.replayed == nil {
                handing.replayed = replayed
                state = .handingOver(handing)
            }
        case .notPrepared(let id, let notes):
            if case .handingOver(let handing) = state, handing.id == id {
                handoverRefused(handing, notes.map(Refusal.peerSays), at: now)
            }
        case .requestRefused(let number, let notes):
            if request?.ask?.request == number { finishRequest(.refused(notes)) }
        case .requestDone(let number, let text):
            if request?.ask?.request == number { finishRequest(.done(text)) }
        }
    }

    mutating func halt(_ reason: Refusal, at now: Instant) {
        if case .halted = state { return }
        notice(.error, "this node serves nothing until a person decides: \(reason.text)")
        enter(
            .halted(Halted(since: now, reason: reason)),
            because: { if case .contradiction = reason { .contradiction } else { .otherCopy } }())
    }
}
