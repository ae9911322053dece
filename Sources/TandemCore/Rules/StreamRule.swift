// Does a standby that recovers get on? (Section 6.)

extension Node {
    /// A standby that recovers and cannot stream from a primary that serves has diverged, or lacks WAL: it is stopped, and looked at.
    mutating func noteStream(_ postgres: LocalPostgres, at now: Instant) {
        // A verdict is about the instance as it is stopped now.
        switch postgres.condition {
        case .stopped, .unusable: break
        case .running, .starting, .orphaned, .silent: (rejoin.survey, rejoin.waitsSince) = (nil, nil)
        }
        if postgres.isOpen { rejoin.streamedIn = nil }
        if postgres.isStreaming, ledger?.primary == policy.peer { rejoin.streamedIn = ledger?.term }
        guard case .standby = state, case .running(isInRecovery: true) = postgres.condition,
            ledger?.paused == nil || instance.isIsolated && !rejoin.isSetAside,
            instance.isIsolated ? peerIsOpen(at: now) : peerServes(at: now)
        else {
            rejoin.idle = nil
            return
        }
        var idle = rejoin.idle ?? .init(since: now, at: postgres.replayed)
        if idle.at != postgres.replayed { idle = .init(since: now, at: postgres.replayed, streamsSince: idle.streamsSince) }
        idle.streamsSince = postgres.isStreaming ? idle.streamsSince ?? now : nil
        if let since = idle.streamsSince, now - since > policy.streamPatience {
            idle.since = now
            rejoin.failures = 0
            rejoin.failure = nil
            rejoin.refusal = nil
        }
        rejoin.idle = idle
    }

    /// Longer with each time that looking has changed nothing.
    func isStuck(at now: Instant) -> Bool {
        guard let idle = rejoin.idle else { return false }
        let patience = instance.isIsolated ? policy.streamPatience : policy.rejoinPatience
        return now - idle.since > patience * (1 << min(rejoin.failures, 6))
    }
}
