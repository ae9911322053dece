/// How a stopped instance comes back as the standby of the other one (section 6), as the shell found when it compared both.
public enum Survey: Hashable, Sendable, Codable {
    /// Its WAL ends on the other one's history.
    case plain
    /// It has a branch of its own, which `pg_rewind` can take back; so many bytes of WAL are on it.
    case rewind(fork: LSN, lost: UInt64)
    /// Only a new base copy helps: the reason.
    case copy(String)
    /// Neither, and nothing is touched: what a person has to know.
    case refuse(String)
}

public enum RejoinWay: String, Hashable, Sendable, Codable {
    case rewind, copy

    var text: String { self == .rewind ? "a rewind" : "a new copy" }
}

/// Brings an instance back that cannot simply follow. One operation at a time, with a longer pause after each failure.
struct RejoinKeeper: Hashable, Sendable, Codable {
    var operation: OperationID?
    /// What is under way changes the directory; nil: it only looks.
    var way: RejoinWay?
    /// Of the instance as it is stopped now.
    var survey: Survey?
    var notBefore: Instant?
    var failures = 0
    /// Looks in a row that found nothing out.
    var unanswered = 0
    var failure: String?
    /// What only a person can put right.
    var refusal: String?
    /// A person asked for it: neither the window nor a pause after a failure holds it up.
    var asked: Asked?
    /// The term in which it was seen streaming from the other one, and has not been open since: it is the same branch.
    var streamedIn: Term?
    /// Since when what was found waits for the other one to be confirmed.
    var waitsSince: Instant?
    /// When it consented to `sole` for that.
    var consentedAt: Instant?
    /// While the pair is paused: it was compared, and cannot follow as it is.
    var isSetAside = false
    /// Since when the instance recovers without a stream and without getting on, although the other one serves; and where it was.
    var idle: Idle?

    enum Asked: Hashable, Sendable, Codable {
        /// However it works best.
        case anyWay
        /// By a new copy, whatever the directory is like.
        case fresh
    }

    struct Idle: Hashable, Sendable, Codable {
        var since: Instant
        var at: LSN?
        /// A receiver that begins to stream and is refused at once, again and again, is none.
        var streamsSince: Instant?
    }

    mutating func completed(_ ended: OperationID, _ outcome: Outcome, at now: Instant, retry: Duration) -> Bool {
        guard operation == ended else { return false }
        operation = nil
        let changed = way
        way = nil
        survey = nil
        switch outcome {
        case .surveyed(let found):
            survey = found
            unanswered = 0
            refusal = nil
        case .failed(let why):
            failure = why
            guard changed != nil else {
                unanswered += 1
                notBefore = now + retry
                return true
            }
            // What is there can still be looked at for what it is.
            asked = nil
            failures += 1
            // A copy that fails again and again must not eat the primary's network (hazards.md H117).
            notBefore = now + retry * (1 << min(failures, 8))
        case .done, .position, .promoted:
            asked = nil
            failures = 0
            failure = nil
            notBefore = nil
        }
        return true
    }
}

extension Node {
    /// It was open without the right to, so only a survey tells whether it may follow. Durable: who forgot it would take its positions for ones
    /// on the primary's branch.
    var isForeign: Bool {
        get { notes.isForeign == true }
        set { notes.isForeign = newValue ? true : nil }
    }

    /// The other node leads, by a ledger that both have, and its instance is open: there is something to follow.
    func peerServes(at now: Instant) -> Bool {
        guard peerIsOpen(at: now), let role = peer.report?.role else { return false }
        return role == .primary || role == .primaryStandby
    }

    /// The same, and it may still wait until this instance confirms what it is asked (5.3).
    func peerIsOpen(at now: Instant) -> Bool {
        guard peer.isHeard(within: policy.silence, at: now), let report = peer.report, report.postgres.isOpen, let ledger,
            // Another directory in its place is nobody's primary (5.7).
            report.postgres.copy?.copy == ledger.primaryCopy
        else { return false }
        return ledger.primary == policy.peer && peer.agrees(with: ledger)
    }

    /// Section 6, step 2, of a stopped instance: how it is started; nil: not now. Only who gave its role away in order, or was compared with
    /// the instance that serves, connects to it: one number may be that of two branches' timelines, and a stream would mix them (9).
    mutating func wayToStart(isOurs: Bool, at now: Instant) -> Effect.StartMode? {
        guard case .standby(let standby) = state, let ledger else {
            rejoin.survey = nil
            // Who is heard has said by now if its ledger is a newer one.
            if case .waiting(let waiting) = state, !peer.isHeard(within: policy.silence, at: now),
                now - waiting.since < policy.streamPatience
            {
                return nil
            }
            return isOurs ? .isolated : nil
        }
        // Handed over: where this instance's WAL ends is known exactly, so nobody needs to be asked (4.4). But only once the other node has
        // taken it with this end: it may have claimed the role meanwhile, and opened without what it had not heard of.
        if let fork = notes.follows, ledger.primary == policy.peer, instance.failure == nil, isOurs, rejoin.asked != .fresh,
            !isForeign,
            peer.last?.ledger.map({ $0.primary == policy.peer && $0.began == fork }) == true || flaw == .followsUntaken
        {
            return .follower(fork: fork)
        }
        if ledger.paused == nil { rejoin.isSetAside = false }
        guard peerIsOpen(at: now) else {
            if awaitsTheOther(ledger, at: now) { return nil }
            rejoin.survey = nil
            rejoin.unanswered = 0
            guard isOurs, !isComing(since: standby.since, at: now) else { return nil }
            return flaw == .streamsUncompared ? .standby : .isolated
        }
        if let survey = rejoin.survey { return follow(survey, ledger, isOurs, at: now) }
        if rejoin.asked == .fresh, ledger.paused == nil, peerServes(at: now) {
            begin(.copy, ledger, nil, at: now)
            return nil
        }
        guard now >= rejoin.notBefore ?? now else { return nil }
        if rejoin.unanswered >= 3, isOurs {
            // The primary cannot be asked, for example as all its connections are taken: who streamed from it in this term goes on.
            rejoin.unanswered = 0
            return rejoin.streamedIn == ledger.term ? .standby : .isolated
        }
        let operation = nextOperation()
        rejoin.operation = operation
        order(.survey(operation))
        return nil
    }

    /// This node has just consented to `sole`, so that it may come back, and the other one's next heartbeat takes that up: until then what was
    /// found still counts, and no reader is served from a branch that is given up a moment later.
    private func awaitsTheOther(_ ledger: Ledger, at now: Instant) -> Bool {
        guard rejoin.survey != nil || rejoin.asked == .fresh, let since = rejoin.consentedAt, now - since <= policy.rejoinPatience
        else { return false }
        return ledger.bond == .sole && peer.isHeard(within: policy.silence, at: now)
            && peer.last?.ledger.map { ledger.isNewer(than: $0) } == true
    }

    /// Whoever is about to be heard, or to lead, is so within moments. After that, a host that is alone serves what it has.
    private func isComing(since: Instant, at now: Instant) -> Bool {
        now - since < (peer.isHeard(within: policy.silence, at: now) ? policy.rejoinPatience : policy.streamPatience)
    }

    /// What was found is for one start only: a later one may find other things.
    private mutating func follow(
        _ survey: Survey, _ ledger: Ledger, _ isOurs: Bool, at now: Instant
    ) -> Effect.StartMode? {
        switch survey {
        case .plain:
            rejoin.survey = nil
            if rejoin.asked == .anyWay { rejoin.asked = nil }
            isForeign = false
            return isOurs ? .standby : nil
        // A person works there (4.7): nothing is changed, and it serves what it has.
        case _ where ledger.paused != nil:
            rejoin.survey = nil
            rejoin.isSetAside = true
            rejoin.notBefore = now + policy.rejoinPatience * 2
            return isOurs ? .isolated : nil
        // Nothing is given up for an instance that is not confirmed.
        case .rewind where !peerServes(at: now), .copy where !peerServes(at: now):
            guard let since = rejoin.waitsSince else {
                rejoin.waitsSince = now
                return nil
            }
            guard now - since > policy.rejoinPatience else { return nil }
            rejoin.waitsSince = nil
            rejoin.survey = nil
            return isOurs ? .isolated : nil
        case .rewind(let fork, let lost):
            begin(.rewind, ledger, "its WAL has left the primary's at \(fork), with \(lost) bytes of its own", at: now)
        case .copy(let why):
            begin(.copy, ledger, why, at: now)
        case .refuse(let why):
            refuseOnce(.cannotRejoin(why))
            rejoin.refusal = why
            rejoin.asked = nil
            rejoin.survey = nil
            rejoin.notBefore = now + policy.rejoinPatience * 2
        }
        return nil
    }

    /// Section 6: a node whose ledger is `paired` consents to `sole` before its directory is rewound or copied anew.
    private mutating func begin(_ way: RejoinWay, _ ledger: Ledger, _ why: String?, at now: Instant) {
        guard now >= rejoin.notBefore ?? now, !waitsForWindow else { return }
        guard ledger.bond == .sole else {
            if writing == nil {
                rejoin.consentedAt = now
                write(ledger.sole())
            }
            return
        }
        guard writing == nil else { return }
        switch (way, why) {
        case (.rewind, let why):
            notice(.warning, "this instance cannot follow as it is: \(why ?? ""). It is rewound; that branch of its WAL is kept")
        case (.copy, let why?):
            notice(.warning, "this instance cannot follow as it is: \(why). A new copy is made beside it")
        case (.copy, nil):
            notice(.info, "a new copy of \(policy.peer)'s data is made beside this one, as a person asked")
        }
        let operation = nextOperation()
        rejoin.operation = operation
        rejoin.way = way
        rejoin.survey = nil
        order(.rejoin(way, operation))
    }
}
