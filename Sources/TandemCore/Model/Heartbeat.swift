/// What one agent tells the other, every `h` and at once when something of weight changed: its ledger, what it sees, what it
/// asks and what it answers. One message that holds the whole present state: a lost one is made good by the next, a second
/// copy says nothing new, an overtaken one is dropped (section 1).
public struct Heartbeat: Hashable, Sendable, Codable {
    /// Grows by one with each heartbeat of a session.
    public var number: UInt64
    public var ledger: Ledger?
    public var report: PeerReport
    /// The newest heartbeat of the receiver that the sender supports (3.1). A node that is about to act against the receiver
    /// acknowledges nothing.
    public var acknowledged: UInt64?
    /// L, if the acknowledged one asked for a lease: no other primary is supported before that (3.1).
    public var promised: Duration?
    /// The sender is primary by its ledger, and serves or will soon: it wants the receiver's promise (3.1).
    public var asksLease: Bool
    public var ask: Ask?
    public var answer: Answer?

    public init(
        number: UInt64, ledger: Ledger?, report: PeerReport, acknowledged: UInt64?, promised: Duration? = nil,
        asksLease: Bool = false, ask: Ask?, answer: Answer?
    ) {
        self.number = number
        self.ledger = ledger
        self.report = report
        self.acknowledged = acknowledged
        self.promised = promised
        self.asksLease = asksLease
        self.ask = ask
        self.answer = answer
    }

    /// Whose run sent it, and to which run of the receiver.
    public struct Header: Hashable, Sendable, Codable {
        public var sender: SessionID
        public var receiver: SessionID
        public init(sender: SessionID, receiver: SessionID) {
            self.sender = sender
            self.receiver = receiver
        }
    }

    public enum Ask: Hashable, Sendable, Codable {
        /// Give up the right to be promoted: write this ledger, `(T, n+1, me, sole)` (4.1).
        case consent(Ledger)
        /// Get ready to take over, and say where your WAL ends (4.4, step 1).
        case prepare(handover: UInt64)
        /// A person asked here for a switchover; the primary carries it out.
        case switchover(request: UInt64)
        /// A person asked here for a pause, or for its end.
        case pause(request: UInt64, maintenance: Bool)
        case resume(request: UInt64)
        /// A person asked here that the announced failback be left.
        case cancelFailback(request: UInt64)

        /// The number of a person's request, if this is one.
        var request: UInt64? {
            switch self {
            case .switchover(let number), .pause(let number, _), .resume(let number), .cancelFailback(let number): number
            case .consent, .prepare: nil
            }
        }
    }

    public enum Answer: Hashable, Sendable, Codable {
        /// Ready for that handover; the end of the last record replayed here, a record boundary.
        case prepared(handover: UInt64, replayed: LSN)
        case notPrepared(handover: UInt64, [RefusalNote])
        /// What a person asked for at the receiver is refused, or done.
        case requestRefused(request: UInt64, [RefusalNote])
        case requestDone(request: UInt64, String)

        /// The number of the person's request that this answers.
        var request: UInt64? {
            switch self {
            case .requestRefused(let number, _), .requestDone(let number, _): number
            case .prepared, .notPrepared: nil
            }
        }
    }
}

/// One agent's view of itself, for the other one.
public struct PeerReport: Hashable, Sendable, Codable {
    public var role: Role
    public var boot: BootID
    public var postgres: LocalPostgres
    /// How old the data here is, as far as this standby can tell from the primary's positions; nil: unknown, never zero.
    public var dataAge: Duration?
    public var holdsPrimaryAddress: Bool
    public var holdsStandbyAddress: Bool
    /// The primary's order: who shall hold the standby address (7).
    public var standbyAddressHolder: NodeName?
    /// This agent was told to stop.
    public var isLeaving: Bool
    /// Its gateway answers; nil: none is configured, or it was not looked at yet.
    public var seesGateway: Bool?
    /// What is wrong with its storage; nil: nothing is known to be.
    public var storage: RefusalNote?
    /// Why this node could not be promoted now; empty: it could.
    public var refusals: [RefusalNote]

    public init(role: Role, boot: BootID, postgres: LocalPostgres) {
        self.role = role
        self.boot = boot
        self.postgres = postgres
        holdsPrimaryAddress = false
        holdsStandbyAddress = false
        isLeaving = false
        refusals = []
    }
}

/// What a node serves (section 1, "role").
public enum Role: String, Hashable, Sendable, Codable {
    case primary, standby
    case primaryStandby = "primary_standby"
    case none
}
