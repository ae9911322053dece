// 4.7: `pause` is 4.1 by consent, with the mark `paused`: no automatic failover while somebody works. Commits go on waiting for the
// standby, and the addresses stay, until it has been away for `pausePatience`.

extension Node {
    mutating func pause(_ maintenance: Bool, _ origin: PendingRequest.Origin, at now: Instant) {
        guard isFree(for: origin, at: now) else { return }
        switch state {
        case .primary(let primary):
            request = PendingRequest(origin: origin, kind: .pause, since: now)
            if let refusals = beginPause(primary, maintenance, at: now) {
                finishRequest(.refused(refusals.map(\.note)))
            } else if case .primary(let next) = state, next.parting == nil, writing == nil {
                finishRequest(.done(pausedText))
            }
        case .standby:
            passOn(.pause, origin, at: now) { .pause(request: $0, maintenance: maintenance) }
        case .waiting, .promoting, .handingOver, .stopping, .halted:
            refuse(origin, .busy("this node is \(state.name): a pause needs a primary"))
        }
    }

    private mutating func isFree(for origin: PendingRequest.Origin, at now: Instant) -> Bool {
        if request == nil { return true }
        refuse(origin, .busy("another command is under way here: wait for it, or look at `pgtandem status`"))
        return false
    }

    private mutating func refuse(_ origin: PendingRequest.Origin, _ refusal: Refusal) {
        switch origin {
        case .here(let id): refuse(id, [refusal])
        case .there(let number): answerThere = .requestRefused(request: number, [refusal.note])
        }
    }

    /// To the primary, by a person at this host; a request that came from there does not go back.
    private mutating func passOn(
        _ kind: PendingRequest.Kind, _ origin: PendingRequest.Origin, at now: Instant, _ ask: (UInt64) -> Heartbeat.Ask
    ) {
        guard case .here(let id) = origin else { return }
        guard peer.isHeard(within: policy.silence, at: now) else { return refuse(id, [.peerSilent(peer.silence(at: now))]) }
        passOn(kind, id, at: now, ask)
    }

    var pausedText: String { "paused: nothing fails over until `pgtandem resume`" }

    /// nil: it is paused, or will be when the standby has consented.
    private mutating func beginPause(_ primary: Primary, _ maintenance: Bool, at now: Instant) -> [Refusal]? {
        guard let ledger else { return [.noLedger] }
        var next = primary
        next.resumingSince = nil
        if flaw == .pauseBesideTheStep {
            // A flag beside (term, step): the very step that everything else may write too.
            var beside = ledger.sole()
            beside.paused = Pause(standby: ledger.standbyCopy, isAwaited: true)
            next.parting = .init(ledger: beside, reason: .pause, since: now)
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
                ledger: ledger.pausing(isAwaited: !maintenance), reason: .pause, since: now)
            state = .primary(next)
        case .sole:
            let wanted = ledger.pausing(isAwaited: !maintenance && ledger.paused?.isAwaited ?? false)
            if ledger.paused == wanted.paused {
                if case .writing = primary.pairing { return [.busy("the pair has just been made whole: pause again")] }
                next.pairing = .idle
                state = .primary(next)
                return nil
            }
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

    mutating func resume(_ origin: PendingRequest.Origin, at now: Instant) {
        guard isFree(for: origin, at: now) else { return }
        switch state {
        case .primary:
            request = PendingRequest(origin: origin, kind: .resume, since: now)
            if ledger?.paused == nil { finishRequest(.done("the pair is not paused")) } else { beginResuming(at: now) }
        case .standby:
            passOn(.resume, origin, at: now) { .resume(request: $0) }
        case .waiting, .promoting, .handingOver, .stopping, .halted:
            refuse(origin, .busy("this node is \(state.name): resuming needs a primary"))
        }
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
            let patience = mayPair(at: now).verdict.isGo ? policy.leavePatience * 3 : policy.preparePatience
            if !isBusy, now - since > patience {
                notice(.warning, "the pause ends without the standby: commits wait for nobody until it is back")
                primary.resumingSince = nil
                write(ledger.sole())
            }
        } else if pause.awaited != nil, let since = primary.streamLostSince, now - since > policy.pausePatience {
            notice(
                .warning, "the standby has been away for \(policy.pausePatience.text) of the pause: commits wait for it no longer"
            )
            write(ledger.pausing(isAwaited: false))
        }
    }
}
