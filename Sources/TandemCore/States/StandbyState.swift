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

    /// 4.4, step 4: the primary has handed over to this node, durably.
    mutating func takeOver(_ handover: Ledger, at now: Instant) {
        guard case .standby = state, let end = handover.handoverEnd else { return }
        guard let mark = postgres?.copy, mark.node == policy.node, mark.copy == handover.primaryCopy else {
            return refuseOnce(.otherCopy(ledger: handover.primaryCopy, here: postgres?.copy?.copy))
        }
        notice(.info, "the primary hands over: WAL up to \(end) is to be received", [.init("handover", handover)])
        if flaw == .handoverEndForgotten || flaw == .promotedBeforeWAL {
            return enter(
                .promoting(Promoting(since: now, reason: .handover(handover), rung: .arming(handover))), because: .handoverTaken)
        }
        let operation = nextOperation()
        enter(
            .promoting(Promoting(since: now, reason: .handover(handover), rung: .receiving(operation))), because: .handoverTaken)
        order(.receiveWAL(upTo: end, operation))
    }
}
