/// The preferred primary gets its role back, and a barred one gives it away, by the handover of a planned change (4.4): nothing is lost, and
/// nobody has to be awake.
struct FailbackKeeper: Hashable, Sendable, Codable {
    /// Since when nothing has been in the way.
    var readySince: Instant?
    /// A person wants a barred node to take over all the same, as there is no other one.
    var isBarLifted = false
    /// A person has been told once, in this turn as primary.
    var isAnnounced = false
    /// When this node gave the role away for this reason, and how often in a row it soon came back.
    var given: Instant?
    var returns = 0

    /// This node is primary. A host that gives the role up each time that it gets it is not well: it gets it later and later.
    mutating func begin(at now: Instant, memory: Duration) {
        returns = given.map { now - $0 < memory } ?? false ? returns + 1 : 0
        given = nil
        isBarLifted = false
        readySince = nil
        isAnnounced = false
    }
}

extension Node {
    private var isBarred: Bool { policy.barredPrimary == policy.node }
    private var shallGiveRoleAway: Bool { isBarred || policy.preferredPrimary == policy.peer }

    /// How long everything must have been well: a barred node waits for nobody's objection.
    private var failbackWait: Duration { (isBarred ? policy.retry : policy.failbackNotice) * (1 << min(failback.returns, 7)) }

    /// What keeps the role here.
    private func failbackRefusals(at now: Instant) -> [Refusal] {
        if !isBarred, let kept = notes.roleKeptIn, kept == ledger?.term { return [.busy("a person keeps the role here")] }
        if !isBarred, !windows.failback { return [.busy("the window of `failback:` is closed")] }
        if request != nil { return [.busy("another command is under way here")] }
        // What both shall do stands in both configurations.
        guard configuration == .agreed else { return [.busy("the configurations of the hosts have not been found to agree")] }
        return mayHandOver(crashed: false, at: now).refusals
    }

    /// Of an open primary, after every event.
    mutating func failbackIsDue(at now: Instant) -> Bool {
        guard shallGiveRoleAway, failbackRefusals(at: now).isEmpty else {
            failback.readySince = nil
            return false
        }
        let since = failback.readySince ?? now
        failback.readySince = since
        if !failback.isAnnounced {
            failback.isAnnounced = true
            notice(
                .info, "\(failbackReason), and \(policy.peer) is ready: it gets the role in \(failbackWait.text)\(failbackAdvice)"
            )
        }
        return now - since >= failbackWait
    }

    mutating func giveRoleBack(at now: Instant) {
        failback.readySince = nil
        failback.given = now
        notice(.info, "\(failbackReason): \(policy.peer) gets the role now")
        beginHandover(.preference, at: now)
    }

    private var failbackReason: String {
        isBarred ? "this node is barred from being primary" : "\(policy.peer) is the preferred primary"
    }
    private var failbackAdvice: String { isBarred ? "" : " (`pgtandem switchover --cancel` keeps it here)" }

    /// What is going to happen by itself, and when; nil: nothing.
    func failbackRemark(at now: Instant) -> String? {
        guard case .primary = state, shallGiveRoleAway else { return nil }
        guard let since = failback.readySince else {
            return
                "\(failbackReason); the role stays here for now: \(failbackRefusals(at: now).map(\.text).joined(separator: "; "))"
        }
        let left = max(.zero, failbackWait - (now - since))
        return "\(failbackReason), and \(policy.peer) is ready: it gets the role in \(left.text)\(failbackAdvice)"
    }

    /// A person says no to what was announced.
    mutating func cancelFailback(_ origin: PendingRequest.Origin, at now: Instant) {
        let answer: CommandAnswer
        switch state {
        case .standby:
            if case .here(let id) = origin, request == nil {
                return passOn(.cancelFailback, id, at: now) { .cancelFailback(request: $0) }
            }
            answer = .refused([Refusal.busy("another command is under way here: wait for it, or look at `pgtandem status`").note])
        case .primary where isBarred:
            answer = .refused([
                Refusal.busy("\(policy.node) is barred from being primary: change `barred_primary` on both hosts").note
            ])
        case .primary where !shallGiveRoleAway:
            answer = .refused([
                Refusal.busy("no failback is due: the configuration prefers \(policy.preferredPrimary?.text ?? "nobody")").note
            ])
        case .primary:
            // Durable: an agent that starts again keeps a person's word.
            notes.roleKeptIn = ledger?.term
            failback.readySince = nil
            answer = .done("\(policy.node) stays primary until the role changes for another reason")
        case .waiting, .promoting, .handingOver, .stopping, .halted:
            answer = .refused([Refusal.busy("this node is \(state.name): nothing can be cancelled now").note])
        }
        switch (origin, answer) {
        case (.here(let id), _): order(.answer(id, answer))
        case (.there(let number), .done(let text)): answerThere = .requestDone(request: number, text)
        case (.there(let number), .refused(let notes)): answerThere = .requestRefused(request: number, notes)
        case (.there, .progress): break
        }
    }
}
