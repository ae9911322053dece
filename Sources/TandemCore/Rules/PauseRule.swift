// 4.7: `pause` is 4.1 by consent, with the mark `paused`: no automatic failover while somebody works. Commits go on waiting for the
// standby, and the addresses stay, until it has been away for `pausePatience`.

extension Node {
    mutating func pause(_ maintenance: Bool, _ id: RequestID, at now: Instant) {
        if request != nil {
            return refuse(id, [.busy("another command is under way here: wait for it, or look at `pgtandem status`")])
        }
        switch state {
        case .primary(let primary):
            if let refusals = beginPause(primary, maintenance, at: now) { return refuse(id, refusals) }
            request = PendingRequest(id: id, number: 0, since: now)
            if case .primary(let now) = state, now.parting == nil, writing == nil { finishRequest(.done(pausedText)) }
        case .standby:
            guard peer.isHeard(within: policy.silence, at: now) else { return refuse(id, [.peerSilent(peer.silence(at: now))]) }
            passOn(id, at: now) { .pause(request: $0, maintenance: maintenance) }
        case .waiting, .promoting, .handingOver, .stopping, .halted:
            refuse(id, [.busy("this node is \(state.name): a pause needs a primary")])
        }
    }

    mutating func pauseAskedThere(_ maintenance: Bool, _ number: UInt64, at now: Instant) {
        guard case .primary(let primary) = state else { return }
        if let refusals = beginPause(primary, maintenance, at: now) {
            answerThere = .requestRefused(request: number, refusals.map(\.note))
        } else {
            answerThere = .requestDone(request: number, pausedText)
        }
    }

    var pausedText: String {
        "paused: nothing fails over until `pgtandem resume`"
    }

    /// nil: it is paused, or will be when the standby has consented.
    private mutating func beginPause(_ primary: Primary, _ maintenance: Bool, at now: Instant) -> [Refusal]? {
        guard let ledger else { return [.noLedger] }
        var next = primary
        next.resumingSince = nil
        if flaw == .pauseBesideTheStep {
            // A flag beside (term, step): the very step that everything else may write too.
            var beside = ledger.sole()
            beside.paused = Pause(standby: ledger.standbyCopy, isAwaited: true)
            next.parting = .init(ledger: beside, reason: .pauseRequested, since: now)
            state = .primary(next)
            return nil
        }
        switch ledger.bond {
        case .paired:
            guard peer.isHeard(within: policy.silence, at: now) else { return [.peerSilent(peer.silence(at: now))] }
            guard primary.parting == nil, writing == nil else {
                return [.busy("the standby is being asked to step out of the bond already: wait, then pause again")]
            }
            next.parting = .init(
                ledger: ledger.pausing(isAwaited: !maintenance), reason: .pauseRequested, since: now)
            state = .primary(next)
        case .sole:
            let wanted = ledger.pausing(isAwaited: !maintenance && ledger.paused?.isAwaited ?? false)
            if ledger.paused == wanted.paused { return nil }
            guard writing == nil, primary.pairing == .idle || isRetrying(primary.pairing) else {
                return [.busy("the pair is just being made whole: wait, then pause again")]
            }
            state = .primary(next)
            write(wanted)
        }
        return nil
    }

    private func isRetrying(_ pairing: Primary.Pairing) -> Bool {
        if case .retrying = pairing { return true }
        return false
    }

    mutating func resume(_ id: RequestID, at now: Instant) {
        if request != nil {
            return refuse(id, [.busy("another command is under way here: wait for it, or look at `pgtandem status`")])
        }
        switch state {
        case .primary:
            guard ledger?.paused != nil else { return order(.answer(id, .done("the pair is not paused"))) }
            request = PendingRequest(id: id, number: 0, since: now)
            beginResuming(at: now)
        case .standby:
            guard peer.isHeard(within: policy.silence, at: now) else { return refuse(id, [.peerSilent(peer.silence(at: now))]) }
            passOn(id, at: now) { .resume(request: $0) }
        case .waiting, .promoting, .handingOver, .stopping, .halted:
            refuse(id, [.busy("this node is \(state.name): resuming needs a primary")])
        }
    }

    mutating func resumeAskedThere(_ number: UInt64, at now: Instant) {
        guard ledger?.paused != nil else {
            answerThere = .requestDone(request: number, "the pair is not paused")
            return
        }
        beginResuming(at: now)
        answerThere = .requestDone(request: number, "the pause ends: the pair is made whole again")
    }

    private mutating func beginResuming(at now: Instant) {
        guard case .primary(var primary) = state else { return }
        primary.resumingSince = primary.resumingSince ?? now
        state = .primary(primary)
    }

    /// 4.7: its end is 4.2, which clears the mark, or step 3 of 4.1, if the standby is gone.
    mutating func keepPause(_ primary: inout Primary, _ ledger: Ledger, at now: Instant) {
        guard let pause = ledger.paused, writing == nil else { return }
        if let since = primary.resumingSince {
            let isBusy =
                switch primary.pairing {
                case .idle, .retrying: false
                case .configuring, .confirming, .arming, .writing: true
                }
            if !isBusy, now - since > policy.preparePatience, !mayPair(at: now).verdict.isGo {
                notice(.warning, "the pause ends without the standby: commits wait for nobody until it is back")
                primary.resumingSince = nil
                write(ledger.sole())
            }
        } else if pause.awaited != nil, let since = primary.streamLostSince, now - since > policy.pausePatience {
            notice(.warning, "the standby has been away for \(policy.pausePatience.text) of the pause: commits wait for it no longer")
            write(ledger.pausing(isAwaited: false))
        }
    }
}
