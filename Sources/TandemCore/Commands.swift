// What a person asks for at this host.

extension Node {
    mutating func obey(_ command: Command, _ id: RequestID, at now: Instant) {
        switch command {
        case .switchover(let target, let dryRun): switchover(to: target, dryRun: dryRun, id, at: now)
        case .failover(let acceptDataLoss): failover(acceptDataLoss, id, at: now)
        case .pause(let maintenance): pause(maintenance, .here(id), at: now)
        case .resume: resume(.here(id), at: now)
        case .join(let copy): join(copy, id, at: now)
        case .cancelFailback: cancelFailback(.here(id), at: now)
        case .rejoin(let fresh): askRejoin(fresh, id, at: now)
        }
    }

    private mutating func switchover(to target: NodeName?, dryRun: Bool, _ id: RequestID, at now: Instant) {
        if request != nil {
            return refuse(id, [.busy("another command is under way here: wait for it, or look at `pgtandem status`")])
        }
        switch state {
        case .primary:
            if target == policy.node { return order(.answer(id, .done("\(policy.node) is primary already"))) }
            switch mayHandOver(crashed: false, at: now) {
            case .no(let refusals): refuse(id, refusals)
            case .go where dryRun: order(.answer(id, .done("\(policy.peer) could take over now, without losing a commit")))
            case .go: beginHandover(.planned(id), at: now)
            }
        case .standby:
            if target == policy.peer { return order(.answer(id, .done("\(policy.peer) is primary already"))) }
            var refusals = eligibility(at: now)
            if !peer.isHeard(within: policy.silence, at: now) { refusals.append(.peerSilent(peer.silence(at: now))) }
            if !refusals.isEmpty { return refuse(id, refusals) }
            if dryRun { return order(.answer(id, .done("\(policy.node) could take over now, without losing a commit"))) }
            passOn(.switchover, id, at: now) { .switchover(request: $0) }
        case .waiting, .promoting, .handingOver, .stopping, .halted:
            refuse(id, [.busy("this node is \(state.name): a switchover needs a primary and a standby")])
        }
    }

    /// The primary carries it out; its answer comes with a heartbeat.
    mutating func passOn(_ kind: PendingRequest.Kind, _ id: RequestID, at now: Instant, _ ask: (UInt64) -> Heartbeat.Ask) {
        let number = nextOperation().number
        request = PendingRequest(origin: .here(id), kind: kind, since: now, ask: ask(number))
        order(.answer(id, .progress("asked the primary \(policy.peer)")))
    }

    /// The person asked at the standby; the primary's rules decide.
    mutating func askedByPeer(_ ask: Heartbeat.Ask, at now: Instant) {
        guard case .primary = state, let number = ask.request, lastAsked != number else { return }
        lastAsked = number
        switch ask {
        case .switchover where request != nil:
            answerThere = .requestRefused(
                request: number, [Refusal.busy("another command is under way at the primary: wait for it").note])
        case .switchover:
            switch mayHandOver(crashed: false, at: now) {
            case .go: beginHandover(.plannedThere(request: number), at: now)
            case .no(let refusals): answerThere = .requestRefused(request: number, refusals.map(\.note))
            }
        case .pause(_, let maintenance): pause(maintenance, .there(number), at: now)
        case .resume: resume(.there(number), at: now)
        case .cancelFailback: cancelFailback(.there(number), at: now)
        case .consent, .prepare: break
        }
    }

    /// 5.5: the copy that the peer's `join` made gets `(T, n+1, other, sole)` from a primary that is open without its help.
    private mutating func join(_ copy: CopyID, _ id: RequestID, at now: Instant) {
        guard case .primary(let primary) = state, let ledger else { return refuse(id, [.notPrimary(role)]) }
        if ledger.paused != nil {
            return refuse(id, [.busy("the pair is paused, and a join would end that: `pgtandem resume` first")])
        }
        guard ledger.bond == .sole, primary.pairing == .idle, writing == nil, joining == nil else {
            return refuse(
                id,
                [
                    .busy(
                        "the other host is a standby already: stop its agent first (`systemctl stop pgtandem` there), then join again"
                    )
                ])
        }
        // One step more: a pause that the other node had consented to, unheard, may carry the next one.
        var next = ledger.sole()
        next.step += 1
        joining = Joining(id: id, copy: copy, ledger: next)
        write(next)
    }

    mutating func refuse(_ id: RequestID, _ refusals: [Refusal]) { order(.answer(id, .refused(refusals.map(\.note)))) }

    mutating func finishRequest(_ answer: CommandAnswer) {
        guard let request else { return }
        self.request = nil
        switch (request.origin, answer) {
        case (.here(let id), _): order(.answer(id, answer))
        case (.there(let number), .done(let text)): answerThere = .requestDone(request: number, text)
        case (.there(let number), .refused(let notes)): answerThere = .requestRefused(request: number, notes)
        case (.there, .progress): break
        }
    }

    /// Whoever waits is told before long, whatever happens.
    mutating func expireRequest(at now: Instant) {
        guard let request, now - request.since > .seconds(60) else { return }
        finishRequest(.refused([Refusal.busy("no result within a minute: look at `pgtandem status` on both hosts").note]))
    }
}
