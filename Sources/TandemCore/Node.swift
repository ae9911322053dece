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
    /// The notes that were last on their way to the disk.
    var notesOrdered: Notes?
    var notesNotBefore: Instant?
    var instance = InstanceKeeper()
    var rejoin = RejoinKeeper()
    var addresses = AddressKeeper()
    var settings = SettingsKeeper()
    var freshness = Freshness()
    /// Since when the heartbeat row cannot be written or read here.
    var rowTroubleSince: Instant?
    var lease = LeaseKeeper()
    var guardian = GuardKeeper()
    /// An order to open the instance that is under way: it may still open, whatever has been decided since.
    var opening: OperationID?
    /// Where this node's WAL ended when it was open last.
    var lastFlushed: LSN?
    /// No other primary is supported before this; and the heartbeat it was last given for (3.1).
    var promise: Moment?
    var promised: UInt64?
    /// The present moment on both clocks.
    var moment = Moment(boot: Instant(nanoseconds: 0), raw: Instant(nanoseconds: 0))
    var seesGateway: Bool?
    var storage = StorageKeeper()
    var crashes = CrashKeeper()
    var windows = Event.Windows()
    var failback = FailbackKeeper()
    var gatewayLostAt: Instant?
    var request: PendingRequest?
    var joining: Joining?
    /// The copy that joined last, or was primary before, and is not paired yet: its slot keeps the WAL that it will ask for.
    var joined: CopyID?
    /// The peer's switchover request that was looked at last, and the answer if it was no.
    var lastAsked: UInt64?
    var answerThere: Heartbeat.Answer?
    var heartbeats: UInt64 = 0
    /// What was told last, as far as it is worth a message.
    var lastWeight: Weight?
    /// When a heartbeat that asks for the lease was answered last.
    var answeredAt: Instant?
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
        var origin: Origin
        var kind: Kind
        var since: Instant
        /// What the primary is asked for; nil: this node carries it out.
        var ask: Heartbeat.Ask?

        enum Kind: Hashable, Sendable, Codable { case switchover, failover, pause, resume, cancelFailback }
        /// Who waits for the answer: a person at this host, or one at the other.
        enum Origin: Hashable, Sendable, Codable {
            case here(RequestID)
            case there(UInt64)
        }
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
        expireRequest(at: now)
        keepNotes(at: now)
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
            notesOrdered = start.notes
            state = .waiting(Waiting(since: now))
            lease.servedAt = now
            windows = start.windows
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
            noteStream(observation, at: now)
            storage.observed(observation, at: now)
            noteRow(observation, at: now)
        case .hello(let session):
            peer.begin(session)
        case .linkLost:
            peer.isLinked = false
        case .heartbeat(let heartbeat, let header):
            hear(heartbeat, header, at: now)
        case .witnessHello(let session):
            arbiter.begin(session)
        case .witness(let answer, let header):
            hear(answer, header, at: now)
        case .guardEnded:
            guardian.isArmed = false
            guardian.operation = nil
            guardian.lostAt = guardian.lostAt ?? now
        case .gateway(let isSeen):
            seesGateway = isSeen
            gatewayLostAt = isSeen ? nil : gatewayLostAt ?? now
        case .storage(let told):
            hearStorage(told, at: now)
        case .ledgerWritten(let written):
            if writing == written { writing = nil }
            noteRenewed(written)
            // What was promised in another frame is not kept by a start in this one (4.7).
            if let old = ledger, old.arbiter != written.arbiter || old.lease != written.lease { lease.forget() }
            if ledger.map({ written.isNewer(than: $0) }) ?? true { ledger = written }
            notePeerHeard(at: now)
            ledgerIsDurable(written, at: now)
        case .ledgerNotWritten(let wanted, let why):
            if writing == wanted { writing = nil }
            if arbiter.renewing == wanted { arbiter.renewing = nil }
            notesOrdered = nil
            notesNotBefore = now + policy.retry
            notice(.error, "the ledger could not be written; this node keeps the old one and the old rights: \(why)")
            ledgerFailed(wanted, at: now)
        case .completed(let operation, let outcome):
            complete(operation, outcome, at: now)
        case .addresses(let seen):
            held = seen
            addresses.areKnown = true
        case .windows(let open):
            windows = open
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
