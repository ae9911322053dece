/// One node's decisions: values in, effects out. No clock, no chance, no input or output of its own; the agent and the
/// simulator run the very same code.
public struct Node: Sendable, Codable {
    public let policy: Policy
    public internal(set) var state: State
    /// What is on disk; never what is only being written.
    public internal(set) var ledger: Ledger?
    /// This node's own notes beside it.
    public internal(set) var notes = Notes()
    public internal(set) var postgres: LocalPostgres?
    public internal(set) var peer = Peer()
    public internal(set) var arbiter = Arbiter()
    public internal(set) var held = Event.Held(primary: .none, standby: .none)
    public internal(set) var configuration = ConfigurationAgreement.unknown
    public internal(set) var session = SessionID(0)
    public internal(set) var boot = BootID("")
    /// Since when the agent is told to stop.
    public internal(set) var leavingSince: Instant?
    public var isLeaving: Bool { leavingSince != nil }

    /// The newest ledger whose writing is under way.
    var writing: Ledger?
    var instance = InstanceKeeper()
    var addresses = AddressKeeper()
    var settings = SettingsKeeper()
    var freshness = Freshness()
    var lease = LeaseKeeper()
    var guardian = GuardKeeper()
    /// No other primary is supported before this; and the heartbeat it was last given for (3.1).
    var promise: Moment?
    var promised: UInt64?
    /// The present moment on both clocks.
    var moment = Moment(boot: Instant(nanoseconds: 0), raw: Instant(nanoseconds: 0))
    var seesGateway: Bool?
    var gatewayLostAt: Instant?
    var request: PendingRequest?
    var joining: Joining?
    /// The copy that joined last and is not paired yet: its slot keeps the WAL that it will ask for.
    var joined: CopyID?
    /// The peer's switchover request that was looked at last, and the answer if it was no.
    var lastAsked: UInt64?
    var answerThere: Heartbeat.Answer?
    var heartbeats: UInt64 = 0
    /// What was told last, as far as it is worth a message.
    var lastWeight: Weight?
    var operations: UInt64 = 0
    var lastRefusal: Refusal?
    var effects: [Effect] = []
    /// What the last step changed, with the reasons.
    public internal(set) var transitions: [Transition] = []
    /// A mistake put back on purpose; only the simulator's tests set it.
    package var flaw: Flaw?

    public init(policy: Policy) {
        self.policy = policy
        state = .waiting(Waiting(since: Instant(nanoseconds: 0)))
    }

    public enum ConfigurationAgreement: Hashable, Sendable, Codable {
        case unknown
        case agreed
        case differs([String], since: Instant)
    }

    /// A person's command that is under way here, or was passed on to the primary.
    struct PendingRequest: Hashable, Sendable, Codable {
        var id: RequestID
        var number: UInt64
        var since: Instant
        /// What the primary is asked for; nil: this node decides itself.
        var ask: Heartbeat.Ask?
    }

    /// A copy that the peer's `join` made; its first ledger is on its way to the disk here.
    struct Joining: Hashable, Sendable, Codable {
        var id: RequestID
        var copy: CopyID
        var ledger: Ledger
    }

    /// The one entry: a fact, and the time. The order of the effects is to be kept.
    public mutating func step(_ event: Event, at moment: Moment) -> [Effect] {
        effects.removeAll(keepingCapacity: true)
        transitions.removeAll(keepingCapacity: true)
        self.moment = moment
        let now = moment.boot
        take(event, at: now)
        noteServing(at: now)
        decide(at: now)
        keepGuard(at: now)
        keepSettings(at: now)
        keepAddresses(at: now)
        speak(event, at: now)
        askArbiter(event, at: now)
        return effects
    }

    // MARK: - facts

    private mutating func take(_ event: Event, at now: Instant) {
        switch event {
        case .started(let start):
            session = start.session
            boot = start.boot
            ledger = start.ledger
            notes = start.notes
            state = .waiting(Waiting(since: now))
            lease.servedAt = now
            // What was promised before is not known here: bound by the longest that it can have been (3.1, mistake 13).
            if flaw != .promiseForgotten { promise = moment + max(start.ledger?.lease ?? .zero, policy.lease) }
            if let held = start.guardUntil {
                lease.until = held
                guardian.isArmed = true
            }
        case .tick:
            break
        case .postgres(let observation):
            postgres = observation
            instance.observed(observation)
        case .hello(let session):
            peer.begin(session)
        case .linkLost:
            peer.isLinked = false
        case .heartbeat(let heartbeat, let header):
            hear(heartbeat, header, at: now)
        case .witnessHello(let session):
            arbiter.sessions.begin(session)
        case .witness(let answer, let header):
            hear(answer, header, at: now)
        case .guardEnded:
            guardian.isArmed = false
            guardian.lostAt = now
        case .gateway(let isSeen):
            seesGateway = isSeen
            gatewayLostAt = isSeen ? nil : gatewayLostAt ?? now
        case .ledgerWritten(let written):
            if writing == written { writing = nil }
            noteRenewed(written)
            if ledger.map({ written.isNewer(than: $0) }) ?? true { ledger = written }
            notePeerHeard(at: now)
            ledgerIsDurable(written, at: now)
        case .ledgerNotWritten(let wanted, let why):
            if writing == wanted { writing = nil }
            if arbiter.renewing == wanted { arbiter.renewing = nil }
            notice(.error, "the ledger could not be written; this node keeps the old one and the old rights: \(why)")
            ledgerFailed(wanted, at: now)
        case .completed(let operation, let outcome):
            complete(operation, outcome, at: now)
        case .addresses(let seen):
            held = seen
            addresses.areKnown = true
        case .configurationsCompared(let keys):
            if keys.isEmpty {
                configuration = .agreed
            } else if case .differs(_, let since) = configuration {
                configuration = .differs(keys, since: since)
            } else {
                configuration = .differs(keys, since: now)
            }
        case .command(let command, let id):
            obey(command, id, at: now)
        case .stopRequested:
            leavingSince = leavingSince ?? now
        }
    }

    /// An operation's end goes to whoever waits for it; the keepers first, then the state.
    private mutating func complete(_ operation: OperationID, _ outcome: Outcome, at now: Instant) {
        // What fails again and again for the same reason is told once.
        if case .failed(let why) = outcome, ![instance.failure, addresses.primaryFailure, addresses.standbyFailure].contains(why)
        {
            notice(.warning, why, [.init("operation", operation)])
        }
        if instance.completed(operation, outcome, at: now + policy.retry) {
            // From its first start as follower on, its WAL goes on behind the fork.
            if outcome == .done, instance.isStarting, notes.follows != nil {
                notes.follows = nil
                rewriteNotes()
            }
            return
        }
        if addresses.completed(operation, outcome, at: now + policy.retry) { return }
        if guardian.completed(operation, outcome, at: now, retry: policy.retry) { return }
        if settings.completed(operation, outcome, at: now + policy.retry) { return }
        switch state {
        case .promoting(let promoting): completed(promoting, operation, outcome, at: now)
        case .primary(let primary): completed(primary, operation, outcome, at: now)
        case .handingOver(let handing): completed(handing, operation, outcome, at: now)
        case .stopping(let stopping): completed(stopping, operation, outcome, at: now)
        // No operation of their own: an outcome here belongs to a state that was left.
        case .waiting, .standby, .halted: break
        }
    }

    private mutating func ledgerIsDurable(_ written: Ledger, at now: Instant) {
        switch state {
        case .promoting(let promoting): ledgerWritten(promoting, written, at: now)
        case .primary(let primary): ledgerWritten(primary, written, at: now)
        case .handingOver(let handing): ledgerWritten(handing, written, at: now)
        // Nothing waits there: a ledger that was taken from the peer has no follower but the next decision.
        case .waiting, .standby, .stopping, .halted: break
        }
    }

    private mutating func ledgerFailed(_ wanted: Ledger, at now: Instant) {
        switch state {
        case .promoting(var promoting):
            if promoting.rung == .writing(wanted) {
                promoting.rung = .retrying(now + policy.retry)
                state = .promoting(promoting)
            }
        case .primary(var primary):
            if primary.pairing == .writing(wanted) {
                primary.pairing = .retrying(now + policy.retry)
                state = .primary(primary)
            }
            if let request, wanted.bond == .sole {
                refuse(request.id, [.busy("the ledger could not be written: nothing was changed")])
                self.request = nil
            }
        case .handingOver(var handing):
            if handing.phase == .writing(wanted) {
                handing.phase = .measuring(nil)
                handing.notBefore = now + policy.retry
                state = .handingOver(handing)
            }
        // What came from the peer comes again with its next heartbeat.
        case .waiting, .standby, .stopping, .halted: break
        }
        if let joining, joining.ledger == wanted {
            order(.answer(joining.id, .refused([Refusal.busy("the primary could not write its ledger").note])))
            self.joining = nil
        }
    }

    // MARK: - decisions

    /// What the present facts lead to. Run after every event, so that it does not matter which one brought the last missing fact.
    private mutating func decide(at now: Instant) {
        for _ in 0..<4 {
            let before = state
            switch state {
            case .waiting(let waiting): decide(waiting, at: now)
            case .standby(let standby): decide(standby, at: now)
            case .promoting(let promoting): decide(promoting, at: now)
            case .primary(let primary): decide(primary, at: now)
            case .handingOver(let handing): decide(handing, at: now)
            case .stopping(let stopping): decide(stopping, at: now)
            case .halted(let halted): decide(halted, at: now)
            }
            if state == before { return }
        }
    }
}
