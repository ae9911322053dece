// What this node tells the other one.

extension Node {
    /// Section 1, "role": what is served, not what is wished.
    public var role: Role {
        switch state {
        case .primary(let primary):
            guard postgres?.isOpen == true else { return .none }
            return primary.ordered.holder == policy.node ? .primaryStandby : .primary
        case .standby: return postgres?.isRecovering == true ? .standby : .none
        case .handingOver(let handing):
            if case .preparing = handing.phase { return .primary }
            return .none
        case .waiting, .promoting, .stopping, .halted: return .none
        }
    }

    mutating func speak(_ event: Event, at now: Instant) {
        // Before the first look at the data directory there is nothing to say: "not known" would be heard as "not there".
        guard let theirs = peer.session, let postgres, !wordIsUnderWay else { return }
        let weight = weight(postgres, at: now)
        let isAsked = isAskedForLease(event)
        // Who has answered within a heartbeat has said what this beat would say.
        let hasAnswered = answeredAt.map { now - $0 < policy.heartbeat } ?? false && peer.sessions.candidates.isEmpty
        guard event.isTick && !hasAnswered || isAsked || weight != lastWeight else { return }
        if isAsked { answeredAt = now }
        lastWeight = weight
        heartbeats += 1
        let heartbeat = compose(postgres, weight, at: now)
        lease.sentToPeer(heartbeats, at: moment)
        order(.send(heartbeat, .init(sender: session, receiver: theirs)))
        // Runs that greeted and were not heard: one of them may be the one that lives. What was said by the run before means nothing to it:
        // its heartbeats and its people's requests are numbered anew.
        for candidate in peer.sessions.candidates where event.isTick {
            var greeting = heartbeat
            if flaw != .acknowledgementFromBeforeReboot {
                (greeting.acknowledged, greeting.promised, greeting.answer) = (nil, nil, nil)
            }
            order(.send(greeting, .init(sender: session, receiver: candidate)))
        }
    }

    /// A lease that is waited for is not held up until the next beat.
    private func isAskedForLease(_ event: Event) -> Bool {
        guard case .heartbeat(let heartbeat, _) = event else { return false }
        return heartbeat.asksLease && heartbeat.number == promised && peer.last?.number == promised
    }

    /// A person vouched that the other host is off, and what follows is not durable yet: nobody is told the old bond (3.1, mistake 7).
    private var wordIsUnderWay: Bool {
        switch state {
        case .promoting(let promoting):
            switch promoting.reason {
            case .failover(_, let mine), .grant(let mine): return ledger.map { mine.isNewer(than: $0) } ?? true
            case .start, .handover: return false
            }
        case .primary: return request?.kind == .failover && writing?.bond == .sole
        case .waiting: return writing.map { $0.bond == .sole && $0.primary == policy.node } ?? false
        case .standby, .handingOver, .stopping, .halted: return false
        }
    }

    private func compose(_ postgres: LocalPostgres, _ weight: Weight, at now: Instant) -> Heartbeat {
        var report = PeerReport(role: weight.role, boot: boot, postgres: postgres)
        report.dataAge = dataAge(at: now)
        report.holdsPrimaryAddress = weight.holdsPrimary
        report.holdsStandbyAddress = weight.holdsStandby
        report.standbyAddressHolder = weight.standbyOrder
        report.isLeaving = weight.isLeaving
        if case .standby = state { report.refusals = standbyRefusals(at: now).map(\.note) }
        report.seesGateway = seesGateway
        report.storage = storageNote(at: now)
        let supported = supportedHeartbeat
        return Heartbeat(
            number: heartbeats, ledger: ledger, report: report, acknowledged: supported,
            promised: supported != nil && supported == promised ? peer.last?.ledger?.lease : nil, asksLease: weight.asksLease,
            ask: weight.ask, answer: answer(at: now))
    }

    /// 7: the standby may take the address only when it is free here.
    private var standbyOrder: NodeName? {
        // While the role is on its way, readers stay where they are.
        if case .handingOver = state { return held.standby == .none ? policy.peer : nil }
        guard case .primary(let primary) = state else { return nil }
        if primary.ordered.holder == policy.peer, held.standby != .none || addresses.standby != nil { return nil }
        return primary.ordered.holder
    }

    private var supportedHeartbeat: UInt64? {
        guard let last = peer.last, let theirs = last.ledger, supports(theirs) else { return nil }
        return last.number
    }

    private var ask: Heartbeat.Ask? {
        switch state {
        case .primary(let primary): primary.parting.map { .consent($0.ledger) }
        // Meanwhile the new primary makes itself `sole`: one message, unless the old one streams at once (4.4, step 4).
        case .promoting(let promoting): askWhilePromoting(promoting)
        case .handingOver(let handing): handing.replayed == nil ? .prepare(handover: handing.id) : nil
        case .standby: request?.ask
        case .waiting, .stopping, .halted: nil
        }
    }

    private func askWhilePromoting(_ promoting: Promoting) -> Heartbeat.Ask? {
        guard let ledger, ledger.bond == .paired, ledger.primary == policy.node, let postgres else { return nil }
        guard ledger.handoverEnd != nil else { return promoting.failures > 0 ? .consent(ledger.sole()) : nil }
        // `sole` forgets the end of the handover: asked for only once nothing is missing.
        switch promoting.rung {
        case .promoting, .confirming: return .consent(ledger.sole())
        case .starting, .receiving, .arming, .writing, .retrying: return postgres.isOpen ? .consent(ledger.sole()) : nil
        }
    }

    private func answer(at now: Instant) -> Heartbeat.Answer? {
        if let answerThere { return answerThere }
        guard case .standby(let standby) = state, let handover = standby.prepared else { return nil }
        let refusals = eligibility(at: now)
        if refusals.isEmpty, let replayed = postgres?.replayed { return .prepared(handover: handover, replayed: replayed) }
        return .notPrepared(handover: handover, (refusals.isEmpty ? [.lagUnknown] : refusals).map(\.note))
    }

    private func weight(_ postgres: LocalPostgres, at now: Instant) -> Weight {
        let isAway: Bool
        switch state {
        case .stopping: isAway = ledger?.paused == nil
        case .standby: isAway = isLeaving && ledger?.paused == nil
        case .waiting, .promoting, .primary, .handingOver, .halted: isAway = false
        }
        return Weight(
            ledger: ledger, role: role, condition: Weight.Condition(postgres.condition), isStreaming: postgres.isStreaming,
            copy: postgres.copy, holdsPrimary: held.primary != .none,
            holdsStandby: held.standby != .none || addresses.standby != nil,
            standbyOrder: standbyOrder, isLeaving: isAway, asksLease: asksLease(at: now), seesGateway: seesGateway,
            hasStorageTrouble: storageTrouble(at: now) != nil, ask: ask,
            answers: Weight.Answers(answer(at: now)))
    }
}

/// What is worth a message at once: everything but positions, ages and numbers, which the next heartbeat carries.
struct Weight: Hashable, Sendable, Codable {
    var ledger: Ledger?
    var role: Role
    var condition: Condition
    var isStreaming: Bool
    var copy: LocalPostgres.CopyMark?
    var holdsPrimary: Bool
    var holdsStandby: Bool
    var standbyOrder: NodeName?
    var isLeaving: Bool
    var asksLease: Bool
    var seesGateway: Bool?
    var hasStorageTrouble: Bool
    var ask: Heartbeat.Ask?
    var answers: Answers

    enum Condition: Hashable, Sendable, Codable {
        case stopped, starting, orphaned, recovering, open, silent, unusable
        init(_ condition: LocalPostgres.Condition) {
            self =
                switch condition {
                case .stopped: .stopped
                case .starting: .starting
                case .orphaned: .orphaned
                case .running(let isInRecovery): isInRecovery ? .recovering : .open
                case .silent: .silent
                case .unusable: .unusable
                }
        }
    }

    enum Answers: Hashable, Sendable, Codable {
        case nothing
        case prepared(UInt64)
        case notPrepared(UInt64)
        case request(UInt64)
        init(_ answer: Heartbeat.Answer?) {
            self =
                switch answer {
                case nil: .nothing
                case .prepared(let handover, _): .prepared(handover)
                case .notPrepared(let handover, _): .notPrepared(handover)
                case .requestRefused(let number, _), .requestDone(let number, _): .request(number)
                }
        }
    }
}
