// 4.4: the role is given away by consent. A right is given up, durably, before the other side can use it.

extension Node {
    mutating func beginHandover(_ reason: HandingOver.Reason, at now: Instant) {
        let id = nextOperation().number
        var handing = HandingOver(id: id, since: now, reason: reason, phase: .preparing(checkpoint: nil), replayed: nil, end: nil)
        switch reason {
        case .planned, .plannedThere, .preference, .leaving, .gatewayLost, .crashLoop:
            if postgres?.isOpen == true {
                // What the checkpoint writes now, the shutdown need not write while clients wait.
                let checkpoint = nextOperation()
                handing.phase = .preparing(checkpoint: checkpoint)
                order(.checkpoint(checkpoint))
            }
        case .crash, .hang, .storage, .returned:
            // Writes end first; the standby's word is fetched meanwhile.
            let operation = nextOperation()
            handing.phase = .ending(operation)
            if case .returned(let handover) = reason {
                // Nothing was written here: the old end is the end, and the other node has all of it.
                handing.end = handover.handoverEnd
                handing.replayed = handover.handoverEnd
            }
            order(.stop(.immediate, operation))
        }
        enter(.handingOver(handing), because: cause(of: reason))
    }

    private func cause(of reason: HandingOver.Reason) -> Cause {
        switch reason {
        case .planned: .planned
        case .plannedThere: .askedThere
        case .preference: .preference
        case .crash: .crash
        case .hang: .hang
        case .storage: .storage
        case .crashLoop: .crashLoop
        case .gatewayLost: .gatewayLost
        case .leaving: .leaving
        case .returned: .handedBack
        }
    }

    mutating func decide(_ handing: HandingOver, at now: Instant) {
        var next = handing
        switch handing.phase {
        case .preparing(let checkpoint):
            guard postgres?.isOpen == true else { return end(handing, by: .immediate) }
            if handing.replayed != nil, checkpoint == nil {
                // Looked at once more at the last moment at which turning back costs nothing.
                if case .no(let refusals) = mayHandOver(crashed: false, at: now) {
                    return handoverRefused(handing, refusals, at: now)
                }
                if flaw == .handoverBeforeEnd, let position = postgres?.flushed {
                    next.end = position
                    next.phase = .measuring(nil)
                    state = .handingOver(next)
                    return
                }
                return end(handing, by: .fast)
            }
            if !peer.isHeard(within: policy.silence, at: now)
                || (handing.replayed == nil && now - handing.since > policy.preparePatience)
            {
                handoverRefused(handing, [.peerSilent(peer.silence(at: now))], at: now)
            }
        case .ending(let operation):
            if operation == nil, now >= handing.notBefore ?? now { end(handing, by: .immediate) }
        case .measuring(let operation):
            if now < handing.notBefore ?? now { return }
            if peer.report?.isLeaving == true, !isReturned(handing) { return startHere(handing, [.peerLeaving], at: now) }
            guard let replayed = handing.replayed else {
                // A crash, and no word from the standby: this host recovers by itself.
                if now - handing.since > policy.preparePatience {
                    startHere(handing, [.peerSilent(peer.silence(at: now))], at: now)
                }
                return
            }
            if let end = handing.end {
                // Both before the ledger: no address here any more, and the end of WAL known (steps 2, 3).
                guard held.primary == .none, addresses.primary == nil, let from = givenFrom(handing),
                    let standby = from.standbyCopy
                else { return }
                let given = handoverLedger(from: from, standby: standby, end: end)
                next.phase = .writing(given)
                state = .handingOver(next)
                write(given)
            } else if operation == nil, case .hangs = storage.state {
                // A read may hang as the writes do. It is tried when that is over; before, the lease may end, and 4.3 decides.
                next.notBefore = now + policy.retry
                state = .handingOver(next)
            } else if operation == nil, let copy = ledger?.primaryCopy {
                let search = nextOperation()
                next.phase = .measuring(search)
                state = .handingOver(next)
                // A newer heartbeat may name a later boundary: less to read while clients wait.
                order(.findEndOfWAL(from: max(replayed, peer.report?.postgres.replayed ?? replayed), of: copy, search))
            }
        case .writing:
            break
        }
    }

    private func isReturned(_ handing: HandingOver) -> Bool {
        if case .returned = handing.reason { return true }
        return false
    }

    /// What is given: the ledger, or, when the role goes back, the handover by which it came, in the newest term.
    private func givenFrom(_ handing: HandingOver) -> Ledger? {
        guard case .returned(var handover) = handing.reason, let newest else { return ledger }
        handover.term = max(handover.term, newest.term)
        return handover
    }

    private mutating func end(_ handing: HandingOver, by mode: Effect.StopMode) {
        var next = handing
        let operation = nextOperation()
        next.phase = .ending(operation)
        state = .handingOver(next)
        order(.stop(mode, operation))
    }

    mutating func completed(_ handing: HandingOver, _ operation: OperationID, _ outcome: Outcome, at now: Instant) {
        var next = handing
        switch (handing.phase, outcome) {
        case (.preparing(checkpoint: operation), _):
            // A failed checkpoint costs time, not data.
            next.phase = .preparing(checkpoint: nil)
            state = .handingOver(next)
        case (.ending(operation), .failed):
            // Some process would not go: tried again, harder. Nothing is handed over while one is left (section 9).
            next.phase = .ending(nil)
            next.notBefore = now + policy.retry
            state = .handingOver(next)
        case (.ending(operation), _):
            postgres?.condition = .stopped
            next.phase = .measuring(nil)
            instance.isStale = true
            state = .handingOver(next)
        case (.measuring(operation), .position(let end)):
            next.end = end
            next.phase = .measuring(nil)
            state = .handingOver(next)
        case (.measuring(operation), .failed) where flaw == .handoverWithoutEnd:
            next.end = handing.replayed
            next.phase = .measuring(nil)
            state = .handingOver(next)
        case (.measuring(operation), .failed(let why)) where storageIsUnfit(at: now):
            // A role is given away only with the exact end of what was written here: a disk that has lost some of it may come back, and this
            // node with it. The read is tried again; when the lease is over, 4.3 decides.
            notice(.warning, "the end of WAL cannot be read from this disk: \(why)")
            next.notBefore = now + policy.retry
            next.phase = .measuring(nil)
            state = .handingOver(next)
        case (.measuring(operation), .failed(let why)):
            startHere(handing, [.busy(why)], at: now)
        case (.measuring(operation), _):
            next.phase = .measuring(nil)
            state = .handingOver(next)
        // An outcome that nobody waits for any more.
        case (.preparing, _), (.ending, _), (.measuring, _), (.writing, _): break
        }
    }

    mutating func ledgerWritten(_ handing: HandingOver, _ written: Ledger, at now: Instant) {
        guard handing.phase == .writing(written) else { return }
        // Consent is given: from now on this node is the standby.
        if !isForeign { notes.follows = written.handoverEnd }
        notice(.info, "handed over to \(policy.peer)", [.init("handover", written)])
        if case .planned(let id?) = handing.reason {
            request = PendingRequest(origin: .here(id), kind: .switchover, since: now)
            order(.answer(id, .progress("writes have ended here; \(policy.peer) is being promoted")))
        }
        enter(.standby(Standby(since: now, prepared: nil)), because: .handedOver)
    }

    /// Before anything was ended: the primary goes on as if nothing had been asked.
    mutating func handoverRefused(_ handing: HandingOver, _ refusals: [Refusal], at now: Instant) {
        guard case .preparing = handing.phase else {
            // Too late for that: this node's own instance is down.
            if case .measuring = handing.phase, handing.end == nil { startHere(handing, refusals, at: now) }
            return
        }
        notice(.warning, "no handover: \(refusals.map(\.text).joined(separator: "; "))")
        answerHandover(handing, refusals)
        becomePrimary(because: .handoverRefused, at: now)
        if isLeaving { beginStopping(at: now) }
    }

    /// The instance here is down and the standby cannot have the role: recover here, with the care of 5.3.
    private mutating func startHere(_ handing: HandingOver, _ refusals: [Refusal], at now: Instant) {
        notice(.warning, "no handover: \(refusals.map(\.text).joined(separator: "; ")); PostgreSQL is started here again")
        answerHandover(handing, refusals)
        if isLeaving { return beginStopping(at: now) }
        enter(.promoting(Promoting(since: now, reason: .start, rung: .starting)), because: .startedHere)
    }

    private mutating func answerHandover(_ handing: HandingOver, _ refusals: [Refusal]) {
        switch handing.reason {
        case .planned(let id?): order(.answer(id, .refused(refusals.map(\.note))))
        case .plannedThere(let request): answerThere = .requestRefused(request: request, refusals.map(\.note))
        case .planned(nil), .preference, .crash, .hang, .storage, .crashLoop, .gatewayLost, .leaving, .returned: break
        }
    }
}
