// A ledger names the other node: recover, serve reads, be ready, and take over only by 4.3 or 4.4.

extension Node {
    mutating func decide(_ standby: Standby, at now: Instant) {
        if isLeaving { return beginStopping(at: now) }
        if let ledger, ledger.primary == policy.node, writing == nil {
            // The ledger that was on its way names this node after all: looked at as after a start.
            return enter(.waiting(Waiting(since: now)), because: .ownNewerLedger)
        }
        keepInstanceRecovering(at: now)
        takeGrantUp(at: now)
        guard case .standby = state else { return }
        if let request, request.kind == .switchover, request.ask == nil,
            peer.report?.role == .primary || peer.report?.role == .primaryStandby, role == .standby,
            ledger?.primary == policy.peer
        {
            // This node gave the role away; the other one serves.
            finishRequest(.done("\(policy.peer) is primary"))
        }
    }

    /// 9: positions say nothing of what such a branch holds: with the role, what the primary acknowledged would be given up for it (4.4).
    static let foreign =
        "PostgreSQL was promoted here by somebody while the primary handed over, so its WAL has left the primary's"

    /// 4.4, step 4: the primary has handed over to this node, durably.
    mutating func takeOver(_ handover: Ledger, at now: Instant) {
        guard case .standby = state, let end = handover.handoverEnd else { return }
        guard let mark = postgres?.copy, mark.node == policy.node, mark.copy == handover.primaryCopy else {
            return refuseOnce(.otherCopy(ledger: handover.primaryCopy, here: postgres?.copy?.copy))
        }
        // It comes back unused: up to there everything is this node's own, whatever a late look says of its instance.
        let isReturned = newest?.primary == policy.peer && newest?.began == end && notes.follows == end
        if isReturned { isForeign = false }
        if !isReturned, flaw != .foreignTakesOver, isForeign || postgres?.isOpen == true {
            // It is ended first, and then the role goes back.
            isForeign = true
            notice(.error, Node.foreign, [.init("handover", handover)])
            return enter(
                .promoting(Promoting(since: now, reason: .handover(handover), rung: .starting)), because: .handoverTaken)
        }
        notice(.info, "the primary hands over: WAL up to \(end) is to be received", [.init("handover", handover)])
        if flaw == .handoverEndForgotten || flaw == .promotedBeforeWAL {
            return enter(
                .promoting(Promoting(since: now, reason: .handover(handover), rung: .arming(handover))), because: .handoverTaken)
        }
        let operation = nextOperation()
        var promoting = Promoting(since: now, reason: .handover(handover), rung: .receiving(operation))
        promoting.isOwnBranch = isReturned ? true : nil
        enter(.promoting(promoting), because: .handoverTaken)
        order(.receiveWAL(upTo: end, operation))
    }
}
