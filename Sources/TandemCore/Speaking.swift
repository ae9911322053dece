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
        guard let theirs = peer.session, !wordIsUnderWay else { return }
        let content = compose(at: now)
        let isDue = event == .tick || lastSentAt == nil
        guard isDue || weight(content) != lastSent.map(weight) else { return }
        heartbeats += 1
        var heartbeat = content
        heartbeat.number = heartbeats
        lastSent = content
        lastSentAt = now
        order(.send(heartbeat, .init(sender: session, receiver: theirs)))
    }

    /// A person vouched that the other host is off, and what follows is not durable yet: nobody is told the old bond (3.1, mistake 7).
    private var wordIsUnderWay: Bool {
        switch state {
        case .promoting(let promoting):
            if case .failover(_, let mine) = promoting.reason { return ledger.map { mine.isNewer(than: $0) } ?? true }
            return false
        case .primary: return request != nil && writing?.bond == .sole
        case .waiting: return writing.map { $0.bond == .sole && $0.primary == policy.node } ?? false
        case .standby, .handingOver, .stopping, .halted: return false
        }
    }

    private func compose(at now: Instant) -> Heartbeat {
        var report = PeerReport(
            role: role, boot: boot, postgres: postgres ?? LocalPostgres(condition: .unusable("not looked at yet")))
        report.dataAge = dataAge(at: now)
        report.holdsPrimaryAddress = held.primary != .none
        report.holdsStandbyAddress = held.standby != .none || addresses.standby != nil
        report.standbyAddressHolder = standbyOrder
        if case .stopping = state { report.isLeaving = true }
        if isLeaving, case .standby = state { report.isLeaving = true }
        if case .standby = state { report.refusals = eligibility(at: now).map(\.note) }
        return Heartbeat(
            number: 0, ledger: ledger, report: report, acknowledged: acknowledgement, ask: ask, answer: answer(at: now))
    }

    /// 7: the standby may take the address only when it is free here.
    private var standbyOrder: NodeName? {
        // While the role is on its way, readers stay where they are.
        if case .handingOver = state { return held.standby == .none ? policy.peer : nil }
        guard case .primary(let primary) = state else { return nil }
        if primary.ordered.holder == policy.peer, held.standby != .none || addresses.standby != nil { return nil }
        return primary.ordered.holder
    }

    /// 3.1 and 5.5: whoever is about to act against the sender, or has no ledger, acknowledges nothing.
    private var acknowledgement: UInt64? {
        guard let last = peer.last, let theirs = last.ledger, let mine = newest else { return nil }
        switch state {
        case .standby, .stopping:
            return theirs.primary == policy.peer && !mine.isNewer(than: theirs) ? last.number : nil
        case .primary, .handingOver:
            return mine.isNewer(than: theirs) ? nil : last.number
        case .waiting, .promoting, .halted:
            return nil
        }
    }

    private var ask: Heartbeat.Ask? {
        switch state {
        case .primary(let primary): primary.parting.map { .consent($0.ledger) }
        // Meanwhile the new primary makes itself `sole`: one message, unless the old one streams at once (4.4, step 4).
        case .promoting(let promoting): askWhilePromoting(promoting)
        case .handingOver(let handing): handing.replayed == nil ? .prepare(handover: handing.id) : nil
        case .standby: request.flatMap { $0.number > 0 ? .switchover(request: $0.number) : nil }
        case .waiting, .stopping, .halted: nil
        }
    }

    private func askWhilePromoting(_ promoting: Promoting) -> Heartbeat.Ask? {
        guard let ledger, ledger.bond == .paired, ledger.primary == policy.node, let postgres else { return nil }
        guard ledger.handoverEnd != nil else { return promoting.failures > 0 ? .consent(ledger.sole()) : nil }
        // `sole` forgets the end of the handover: asked for only once nothing is missing.
        switch promoting.rung {
        case .promoting, .confirming: return .consent(ledger.sole())
        case .starting, .receiving, .writing, .retrying: return postgres.isOpen ? .consent(ledger.sole()) : nil
        }
    }

    private func answer(at now: Instant) -> Heartbeat.Answer? {
        if let refusedThere { return refusedThere }
        guard case .standby(let standby) = state, let handover = standby.prepared else { return nil }
        let refusals = eligibility(at: now)
        if refusals.isEmpty, let replayed = postgres?.replayed { return .prepared(handover: handover, replayed: replayed) }
        return .notPrepared(handover: handover, (refusals.isEmpty ? [.lagUnknown] : refusals).map(\.note))
    }

    /// What is worth a message at once: everything but positions, ages and numbers, which the next heartbeat carries.
    private func weight(_ heartbeat: Heartbeat) -> Heartbeat {
        var light = heartbeat
        light.acknowledged = nil
        light.report.dataAge = nil
        light.report.postgres.flushed = nil
        light.report.postgres.received = nil
        light.report.postgres.replayed = nil
        light.report.postgres.replicas = []
        if case .silent = light.report.postgres.condition { light.report.postgres.condition = .silent(.zero) }
        if case .starting = light.report.postgres.condition { light.report.postgres.condition = .starting("") }
        light.report.refusals = []
        if case .prepared(let handover, _) = light.answer { light.answer = .prepared(handover: handover, replayed: LSN(0)) }
        return light
    }
}
