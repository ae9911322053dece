// What a person asks for at this host.

extension Node {
    mutating func obey(_ command: Command, _ id: RequestID, at now: Instant) {
        switch command {
        case .switchover(let target, let dryRun): switchover(to: target, dryRun: dryRun, id, at: now)
        case .failover: failover(id, at: now)
        case .join(let copy): join(copy, id, at: now)
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
            request = PendingRequest(id: id, number: nextOperation().number, since: now)
            order(.answer(id, .progress("asked the primary \(policy.peer)")))
        case .waiting, .promoting, .handingOver, .stopping, .halted:
            refuse(id, [.busy("this node is \(state.name): a switchover needs a primary and a standby")])
        }
    }

    /// The person asked at the standby; the primary's rules decide.
    mutating func switchoverAskedByPeer(_ number: UInt64, at now: Instant) {
        guard case .primary = state, lastAsked != number else { return }
        lastAsked = number
        switch mayHandOver(crashed: false, at: now) {
        case .go: beginHandover(.plannedThere(request: number), at: now)
        case .no(let refusals): refusedThere = .switchoverRefused(request: number, refusals.map(\.note))
        }
    }

    /// 4.3 and 4.1, arbiter `manual`: a person vouches that the other host is off and stays off.
    private mutating func failover(_ id: RequestID, at now: Instant) {
        guard writing == nil, request == nil else {
            return refuse(id, [.busy("another change is under way: look at `pgtandem status`")])
        }
        switch state {
        case .standby:
            if case .no(let refusals) = mayPromoteByWord(at: now) { return refuse(id, refusals) }
            guard let ledger, let copy = postgres?.copy?.copy else { return refuse(id, [.noLedger]) }
            let mine = promotedLedger(from: ledger, copy: copy)
            notice(.warning, "a person vouches that \(policy.peer) is off: this node is promoted", [.init("ledger", mine)])
            order(.answer(id, .progress("promoting \(policy.node)")))
            state = .promoting(Promoting(since: now, reason: .failover(id, mine), rung: .writing(mine)))
            write(mine)
        case .primary:
            if case .no(let refusals) = mayPartByWord(at: now) { return refuse(id, refusals) }
            guard let ledger else { return refuse(id, [.noLedger]) }
            notice(.warning, "a person vouches that \(policy.peer) is off: this node goes on alone")
            request = PendingRequest(id: id, number: 0, since: now)
            write(ledger.sole())
        case .waiting:
            wordAtStart(id, at: now)
        case .promoting(let promoting) where promoting.reason == .start:
            wordAtStart(id, at: now)
        case .promoting, .handingOver, .stopping, .halted:
            refuse(id, [.busy("this node is \(state.name): wait until it is primary or standby")])
        }
    }

    /// A paired primary that has booted and hears nobody waits (5.3). A person's word cannot help it here: the standby may have
    /// been promoted since, and only the boot rule of 4.3 could exclude that.
    private mutating func wordAtStart(_ id: RequestID, at now: Instant) {
        guard let ledger, ledger.primary == policy.node, ledger.bond == .paired, peerHeardIn == boot,
            !peer.isHeard(within: policy.silence, at: now)
        else { return refuse(id, [ledger == nil ? .noLedger : .notToldPairedSinceBoot]) }
        notice(.warning, "a person vouches that \(policy.peer) is off: this node goes on alone")
        request = PendingRequest(id: id, number: 0, since: now)
        write(ledger.sole())
    }

    /// 5.5: the copy that the peer's `join` made gets `(T, n+1, other, sole)` from a primary that is open without its help.
    private mutating func join(_ copy: CopyID, _ id: RequestID, at now: Instant) {
        guard case .primary(let primary) = state, let ledger else { return refuse(id, [.notPrimary(role)]) }
        guard ledger.bond == .sole, primary.pairing == .idle, writing == nil, joining == nil else {
            return refuse(
                id,
                [
                    .busy(
                        "the other host is a standby already: stop its agent first (`systemctl stop pgtandem` there), then join again"
                    )
                ])
        }
        let next = ledger.sole()
        joining = Joining(id: id, copy: copy, ledger: next)
        write(next)
    }

    mutating func refuse(_ id: RequestID, _ refusals: [Refusal]) { order(.answer(id, .refused(refusals.map(\.note)))) }

    mutating func finishRequest(_ answer: CommandAnswer) {
        guard let request else { return }
        order(.answer(request.id, answer))
        self.request = nil
    }

    mutating func expireRequest(at now: Instant) {
        guard let request, now - request.since > .seconds(60) else { return }
        refuse(request.id, [.busy("no result within a minute: look at `pgtandem status` on both hosts")])
        self.request = nil
    }
}
