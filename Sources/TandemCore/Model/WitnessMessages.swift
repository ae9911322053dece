/// What a node asks of the arbiter's record (3.3). A repeated request whose result already stands in the record succeeds again, so a
/// lost answer costs nothing.
public struct WitnessRequest: Hashable, Sendable, Codable {
    /// Grows by one with each request of a session.
    public var number: UInt64
    public var node: NodeName
    public var kind: Kind

    public init(number: UInt64, node: NodeName, kind: Kind) {
        self.number = number
        self.node = node
        self.kind = kind
    }

    public enum Kind: Hashable, Sendable, Codable {
        /// Of a primary: its ledger, and its position for the lag limit (4.6).
        case heartbeat(Ledger, position: LSN?)
        /// `record := (T, n+1, X, sole)` of the paired primary with this ledger.
        case sole(Ledger)
        /// `record := granted`, `(T′, 1, X, sole)`, for the standby X with this ledger.
        case claim(Ledger, granted: Ledger)
        case read
        /// The record was lost: this is what stands in its place. The session of the witness that is empty, as the node was told.
        case establish(Ledger, empty: SessionID)
    }
}

public struct WitnessAnswer: Hashable, Sendable, Codable {
    /// Of the request that is answered.
    public var number: UInt64
    /// Of the witness's state: greater after each of its starts, so that a restored backup is seen for what it is.
    public var generation: UInt64
    /// nil: lost, or never written.
    public var record: Ledger?
    /// L, if the heartbeat of that number was supported; nil: it was not, or it was no heartbeat.
    public var promised: Duration?
    /// The last position of the primary that was heard here (4.6).
    public var position: LSN?

    public init(number: UInt64, generation: UInt64, record: Ledger?, promised: Duration? = nil, position: LSN? = nil) {
        self.number = number
        self.generation = generation
        self.record = record
        self.promised = promised
        self.position = position
    }
}

/// What a node keeps of the arbiter beside its ledger, so that an older record than that is refused (3.3).
public struct WitnessSeen: Hashable, Sendable, Codable {
    public var generation: UInt64
    public var term: Term
    public var step: UInt64
    public init(generation: UInt64, term: Term, step: UInt64) {
        self.generation = generation
        self.term = term
        self.step = step
    }
}

/// A node's own notes, durable in the same file as the ledger, and no part of it.
public struct Notes: Hashable, Sendable, Codable {
    /// The boot of this host in which the peer last confirmed the bond (4.3, boot rule).
    public var peerHeardIn: BootID?
    /// This node handed over and has not started as a follower since: where its WAL ends.
    public var follows: LSN?
    public var witness: WitnessSeen?
    /// The boot of this host in which it ran as primary last (3, arbiter `manual`).
    public var primaryIn: BootID?
    /// True: the instance here was seen open without the right to, so its WAL may have left the primary's; until it was compared, or led (9).
    public var isForeign: Bool?
    /// A person keeps the role here in this term, whatever the configuration prefers.
    public var roleKeptIn: Term?
    public init(
        peerHeardIn: BootID? = nil, follows: LSN? = nil, witness: WitnessSeen? = nil, primaryIn: BootID? = nil,
        isForeign: Bool? = nil, roleKeptIn: Term? = nil
    ) {
        self.primaryIn = primaryIn
        self.isForeign = isForeign
        self.roleKeptIn = roleKeptIn
        self.peerHeardIn = peerHeardIn
        self.follows = follows
        self.witness = witness
    }
}
