// The ladder to accepting writes. Each rung rests on the one before; the address comes after the last, in `primary`.

extension Node {
    mutating func decide(_ promoting: Promoting, at now: Instant) {
        if isLeaving {
            switch promoting.rung {
            case .starting, .retrying, .confirming, .arming: return beginStopping(at: now)
            case .receiving, .writing, .promoting: break
            }
        }
        if handsForeignBack(promoting, at: now) { return }
        switch promoting.rung {
        case .starting:
            guard let postgres, !haltIfCopyIsAnother(at: now) else { return }
            if postgres.isOpen, ledgerIsOwn(promoting), leaseIsMissing(at: now) {
                return enter(.waiting(Waiting(since: now)), because: .leaseEnded)
            }
            if postgres.isOpen, ledgerIsOwn(promoting) {
                confirm(promoting, at: now)
            } else if postgres.isRecovering {
                // 5.3: `synchronous_standby_names` is set before the promotion.
                if settingsAreInPlace(at: now) { climb(promoting, at: now) }
            } else {
                keepInstanceRecovering(at: now)
            }
        case .retrying(let due):
            guard now >= due else { return }
            if promoting.failures >= 3, isOrphaned(promoting, at: now) {
                return enter(.standby(Standby(since: now, prepared: nil)), because: .handoverLost)
            }
            var again = promoting
            again.rung = .starting
            state = .promoting(again)
        case .confirming:
            // 5.3: or `sole` has been reached.
            if leaseIsMissing(at: now) { return enter(.waiting(Waiting(since: now)), because: .leaseEnded) }
            if ledger?.bond == .sole, postgres?.isOpen == true { becomePrimary(because: .promoted, at: now) }
        case .arming(let handover):
            armed(promoting, handover)
        case .receiving, .writing, .promoting:
            break
        }
    }

    private func endToReach(_ promoting: Promoting) -> LSN? {
        if flaw == .promotedBeforeWAL { return nil }
        if flaw == .handoverEndForgotten {
            if case .handover(let handover) = promoting.reason { return handover.handoverEnd }
            return nil
        }
        return ledger?.handoverEnd
    }

    /// 3: `paired`, and the arbiter lends: nothing opens, or stays open, without a lease.
    func leaseIsMissing(at now: Instant) -> Bool { ledgerNeedsLease && !mayWrite(at: now) }
    private var ledgerNeedsLease: Bool { ledger?.bond == .paired && ledger?.primary == policy.node && lends }

    /// 3.2: the guard is armed before a ledger `paired` is written by which this node is primary.
    private mutating func armed(_ promoting: Promoting, _ handover: Ledger) {
        guard guardian.isArmed && guardian.operation == nil || flaw == .guardArmedAfterPaired || !handover.arbiter.lends else {
            return
        }
        var next = promoting
        let isNewer = newest.map { handover.isNewer(than: $0) } ?? true
        // Something newer came in its place: the ladder is looked at from the top.
        next.rung = isNewer ? .writing(handover) : .starting
        state = .promoting(next)
        if isNewer { write(handover) }
    }

    /// The next rung for an instance that recovers.
    private mutating func climb(_ promoting: Promoting, at now: Instant) {
        // Nobody reaches what is not confirmed yet (5.3), and the settings of the ledger are in the file first (4.4, step 4).
        guard held.primary == .none, addresses.primary == nil, writing == nil else { return }
        var next = promoting
        switch promoting.reason {
        case .handover(let handover) where newest != handover && handover.isNewer(than: newest ?? handover):
            // First all WAL, then the ledger, then the promotion (4.4, step 4).
            guard let end = handover.handoverEnd else { return }
            next.rung = receive(upTo: end)
        case .failover(_, let mine) where ledger != mine && mine.isNewer(than: ledger ?? mine):
            next.rung = .writing(mine)
            write(mine)
        case .grant(let mine) where ledger != mine && mine.isNewer(than: ledger ?? mine):
            next.rung = .writing(mine)
            write(mine)
        case .start, .handover, .failover, .grant:
            guard ledger?.primary == policy.node, !leaseIsMissing(at: now) else { return }
            // A handover that a crash interrupted: its end of WAL stands in the ledger (mistake 18).
            if let end = endToReach(promoting), postgres?.received.map({ $0 < end }) ?? true {
                next.rung = receive(upTo: end)
            } else {
                next.isOwnBranch = true
                next.rung = promoteNow()
            }
        }
        state = .promoting(next)
    }

    /// The ledger that gives the right is durable here.
    private func ledgerIsOwn(_ promoting: Promoting) -> Bool { ledger?.primary == policy.node }

    /// Up to where WAL was fetched, on the rung `receiving`.
    private func received(_ promoting: Promoting) -> LSN? {
        if case .handover(let handover) = promoting.reason, newest.map({ handover.isNewer(than: $0) }) ?? true {
            return handover.handoverEnd
        }
        return ledger?.handoverEnd
    }

    private mutating func receive(upTo end: LSN) -> Promoting.Rung {
        let operation = nextOperation()
        order(.receiveWAL(upTo: end, operation))
        return .receiving(operation)
    }

    mutating func promoteNow() -> Promoting.Rung {
        let operation = nextOperation()
        opening = operation
        order(.promote(operation))
        return .promoting(operation)
    }

    mutating func completed(_ promoting: Promoting, _ operation: OperationID, _ outcome: Outcome, at now: Instant) {
        var next = promoting
        switch (promoting.rung, outcome) {
        case (.receiving(operation), .failed), (.promoting(operation), .failed), (.confirming(operation), .failed):
            next.failures += 1
            next.rung = .retrying(now + policy.retry)
            state = .promoting(next)
            guard next.failures >= 3, case .handover(let handover) = promoting.reason else { return }
            // It may have happened all the same, after the last look.
            if case .promoting = promoting.rung { isForeign = true }
            handBack(handover, at: now)
        case (.receiving(operation), _):
            // It says so itself; until the next look, the last one would have it fetched again and again.
            if let end = received(promoting) {
                let seen = postgres?.received ?? end
                postgres?.received = max(seen, end)
            }
            if case .handover(let handover) = promoting.reason, handover.isNewer(than: newest ?? handover) || newest == nil {
                next.rung = .arming(flaw == .claimAfterHandover ? handover.sole() : handover)
                state = .promoting(next)
                if !handover.arbiter.lends || flaw == .claimAfterHandover {
                    guard case .arming(let mine) = next.rung else { return }
                    next.rung = .writing(mine)
                    state = .promoting(next)
                    write(mine)
                }
            } else {
                next.rung = .starting
                state = .promoting(next)
            }
        case (.promoting(operation), .promoted(let timeline, let fork)):
            // It says so itself; the next look only repeats it.
            postgres?.condition = .running(isInRecovery: false)
            postgres?.timeline = timeline
            if let ledger {
                notice(.info, "promoted", [.init("timeline", timeline), .init("fork", fork)])
                order(
                    .recordLineage(
                        term: ledger.term, copy: ledger.primaryCopy, parent: parentTerm(promoting), fork: fork, timeline: timeline
                    ))
            }
            confirm(promoting, at: now)
        case (.promoting(operation), _):
            confirm(promoting, at: now)
        case (.confirming(operation), _):
            becomePrimary(because: .promoted, at: now)
        // An outcome that nobody waits for any more.
        case (.starting, _), (.receiving, _), (.arming, _), (.writing, _), (.promoting, _), (.confirming, _), (.retrying, _):
            break
        }
    }

    /// 4.4: this node cannot be promoted and never opened, so the old primary holds everything: the role goes back.
    private mutating func handBack(_ handover: Ledger, at now: Instant) {
        guard postgres?.isOpen != true || isForeign, peer.isHeard(within: policy.silence, at: now) else { return }
        notice(.error, "this node cannot be promoted: the role goes back to \(policy.peer)")
        beginHandover(.returned(handover), at: now)
    }

    /// 4.4: who handed over is gone, with WAL that was to be received first, and the handover's ledger was not written here. The one before it
    /// stands, by which this node holds every acknowledged commit: 4.3 decides.
    private func isOrphaned(_ promoting: Promoting, at now: Instant) -> Bool {
        guard case .handover(let handover) = promoting.reason, let newest, handover.isNewer(than: newest) else { return false }
        return !peer.isHeard(within: policy.silence, at: now)
    }

    /// 4.4, 9: somebody has promoted the instance before this node did. While the old primary is not heard, it is only ended.
    private mutating func handsForeignBack(_ promoting: Promoting, at now: Instant) -> Bool {
        guard case .handover(let handover) = promoting.reason, promoting.isOwnBranch != true, flaw != .foreignTakesOver else {
            return false
        }
        if postgres?.isOpen == true, !isForeign {
            isForeign = true
            notice(.error, Node.foreign, [.init("handover", handover)])
        }
        guard isForeign else { return false }
        handBack(handover, at: now)
        guard case .promoting = state else { return true }
        keepInstanceRecovering(at: now)
        if isOrphaned(promoting, at: now) { enter(.standby(Standby(since: now, prepared: nil)), because: .handoverLost) }
        return true
    }

    mutating func ledgerWritten(_ promoting: Promoting, _ written: Ledger, at now: Instant) {
        guard promoting.rung == .writing(written) else { return }
        // The ladder goes on from the top: with the ledger in place, what is left is the promotion.
        var next = promoting
        next.rung = .starting
        state = .promoting(next)
    }

    /// After the promotion: may clients come? Only where this node's own instance had to be started under `paired` is there a
    /// question: recovery may have brought commits to light that were never acknowledged and that the standby never got (5.3).
    private mutating func confirm(_ promoting: Promoting, at now: Instant) {
        guard case .start = promoting.reason, let ledger, ledger.bond == .paired,
            policy.mode == .synchronous, let copy = ledger.standbyCopy, flaw != .openedBeforeConfirmed
        else { return becomePrimary(because: .promoted, at: now) }
        var next = promoting
        let operation = nextOperation()
        next.rung = .confirming(operation)
        state = .promoting(next)
        order(.confirmPosition(copy, operation))
    }

    /// The term from which this one descends, for the lineage (section 9).
    private func parentTerm(_ promoting: Promoting) -> Term {
        if let parent = promoting.parent { return parent }
        return switch promoting.reason {
        case .start: ledger?.term ?? Term(0)
        case .handover, .failover, .grant: Term((ledger?.term.number ?? 1) - 1)
        }
    }
}
