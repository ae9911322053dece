// The agent was told to stop: nobody is left waiting, sessions end, addresses go, then the process.

extension Node {
    mutating func beginStopping(at now: Instant) {
        if case .stopping = state { return }
        if ledger?.paused != nil {
            // Paused: PostgreSQL and addresses stay as they are (4.7).
            notice(.info, "this agent was told to stop, and the pair is paused: PostgreSQL and addresses stay as they are")
            return enter(.stopping(Stopping(since: now, phase: .leftAsItIs)), because: .stopRequested)
        }
        if case .standby = state, ledger?.bond == .paired, peer.isHeard(within: policy.silence, at: now) {
            notice(.info, "this agent was told to stop: the primary is asked to go on alone")
            enter(.stopping(Stopping(since: now, phase: .leaving)), because: .stopRequested)
            return
        }
        let stopping = Stopping(since: now, phase: .leaving)
        enter(.stopping(stopping), because: .stopRequested)
        endInstance(stopping)
    }

    mutating func decide(_ stopping: Stopping, at now: Instant) {
        switch stopping.phase {
        case .leaving:
            // Consent is durable here, and no reader is left on the address; or nobody answers.
            let isFree = ledger?.bond != .paired && held.standby == .none && addresses.standby == nil
            let isReplaced = ledger?.primary == policy.peer && postgres?.isOpen == true
            if isFree || isReplaced || now - stopping.since > policy.leavePatience { endInstance(stopping) }
        case .ending(let operation):
            if operation == nil, now >= stopping.notBefore ?? now { endInstance(stopping) }
        case .leftAsItIs:
            // Not before the guard has let go: it would end what is to stay.
            if writing == nil, !guardian.isArmed, guardian.operation == nil { order(.exit) }
        case .ended:
            if held == .init(primary: .none, standby: .none), addresses.primary == nil, addresses.standby == nil { order(.exit) }
        }
    }

    private mutating func endInstance(_ stopping: Stopping) {
        var next = stopping
        let operation = nextOperation()
        next.phase = .ending(operation)
        state = .stopping(next)
        order(.stop(.fast, operation))
    }

    mutating func completed(_ stopping: Stopping, _ operation: OperationID, _ outcome: Outcome, at now: Instant) {
        guard stopping.phase == .ending(operation) else { return }
        var next = stopping
        if case .failed = outcome {
            next.phase = .ending(nil)
            next.notBefore = now + policy.retry
        } else {
            next.phase = .ended
        }
        state = .stopping(next)
    }
}
