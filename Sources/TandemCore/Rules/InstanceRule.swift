/// Keeps a node's PostgreSQL running as a standby wherever it has no right to be more. One operation at a time, with a pause
/// after a failure.
struct InstanceKeeper: Hashable, Sendable, Codable {
    var operation: OperationID?
    var notBefore: Instant?
    /// The operation is a start.
    var isStarting = false
    /// It was started last so that it connects to nobody.
    var isIsolated = false
    /// Nothing was observed since the last operation ended: what is known of the instance is older than what was done to it.
    var isStale = false
    /// When a start was ordered last; nil: none since it was ended on purpose.
    var startedAt: Instant?
    /// Why the last operation failed; nil: it did not.
    var failure: String?

    mutating func observed(_ observation: LocalPostgres) { isStale = false }

    mutating func completed(_ ended: OperationID, _ outcome: Outcome, at retry: Instant) -> Bool {
        guard operation == ended else { return false }
        operation = nil
        isStale = true
        if case .failed(let why) = outcome {
            notBefore = retry
            failure = why
        } else {
            notBefore = nil
            failure = nil
        }
        return true
    }
}

extension Node {
    /// Section 5.1: what must be started without authority is started as a standby; section 9: what runs without the right to
    /// write is ended, whoever started or promoted it.
    mutating func keepInstanceRecovering(at now: Instant) {
        guard let postgres, instance.operation == nil, rejoin.operation == nil, !instance.isStale,
            now >= instance.notBefore ?? now
        else { return }
        switch postgres.condition {
        case .stopped:
            guard !storageForbidsStart(at: now) else { return }
            // A mark that names the other node is an unfinished copy, none at all perhaps one, too (section 1): never started as it is.
            guard isTimeForStart(at: now), let mode = wayToStart(isOurs: postgres.copy?.node == policy.node, at: now) else {
                return
            }
            let operation = nextOperation()
            instance.operation = operation
            instance.isStarting = true
            instance.startedAt = now
            instance.isIsolated = mode == .isolated
            order(.start(mode, operation))
        case .orphaned(let processes):
            notice(.warning, "ending \(processes) processes that a dead postmaster left: they could still acknowledge commits")
            endInstance()
        case .running(isInRecovery: false):
            notice(
                .error,
                "PostgreSQL accepts writes here without the right to: it is ended at once and started again as a standby; who promoted it?"
            )
            isForeign = true
            endInstance()
        case .silent(let span) where span > policy.hangPatience:
            notice(.warning, "PostgreSQL has answered nothing for \(span.text): it is ended and started again")
            endInstance()
        case .running(isInRecovery: true) where mustStopToRejoin(at: now), .starting where mustStopToRejoin(at: now):
            notice(.info, "this instance is stopped, to come back as a person asked")
            endInstance()
        case .running(isInRecovery: true) where isStuck(at: now):
            if instance.isIsolated {
                notice(
                    .info,
                    "the primary serves: this instance, which was started connected to nobody, is stopped to be compared with it")
            } else {
                notice(.warning, "the primary serves, and no WAL comes from it: this instance is stopped to find out why")
            }
            rejoin.failures += 1
            rejoin.idle = nil
            endInstance(instance.isIsolated ? .fast : .immediate)
        case .unusable:
            // There is nothing to start; whether a new copy may take its place is found out as for a stopped instance.
            if case .standby = state, !storageForbidsStart(at: now) { _ = wayToStart(isOurs: false, at: now) }
        case .running(isInRecovery: true), .starting, .silent:
            return
        }
    }

    /// A server that comes up and ends again at once is not started in a loop: only its own log knows what it lacks.
    private mutating func isTimeForStart(at now: Instant) -> Bool {
        guard let started = instance.startedAt, now - started < policy.retry else { return true }
        instance.notBefore = started + policy.retry
        notice(
            .warning,
            "PostgreSQL has ended soon after its start as a standby; it is started again. If that goes on, its own log says why")
        return false
    }

    /// 3.1: open, and the lease is over. The guard does the same; twice is harmless.
    mutating func endWithoutAuthority(at now: Instant) {
        guard instance.operation == nil, !instance.isStale, now >= instance.notBefore ?? now else { return }
        notice(.warning, "PostgreSQL accepts writes here without a lease: it is ended, and started again as a standby")
        endInstance()
    }

    /// - Parameter mode: `.fast` keeps what a long recovery has done.
    private mutating func endInstance(_ mode: Effect.StopMode = .immediate) {
        let operation = nextOperation()
        instance.operation = operation
        instance.isStarting = false
        instance.startedAt = nil
        order(.stop(mode, operation))
    }
}
