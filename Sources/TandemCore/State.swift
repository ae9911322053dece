/// What a node is doing. The payload is everything that is valid in that state, and nothing else.
public enum State: Hashable, Sendable {
    /// Born without rights: knows its ledger, has heard nobody (5).
    case waiting(Waiting)
    /// A ledger names the other node as primary.
    case standby(Standby)
    /// On the way to accepting writes, with the right to.
    case promoting(Promoting)
    /// Accepts writes, alone or with a standby.
    case primary(Primary)
    /// Gives the role away (4.4).
    case handingOver(HandingOver)
    /// The agent was told to stop.
    case stopping(Stopping)
    /// Serves nothing until a person decides.
    case halted(Halted)

    /// One word for log and status.
    public var name: String {
        switch self {
        case .waiting: "waiting"
        case .standby: "standby"
        case .promoting: "promoting"
        case .primary: "primary"
        case .handingOver: "handing over"
        case .stopping: "stopping"
        case .halted: "halted"
        }
    }
}

public struct Waiting: Hashable, Sendable {
    public var since: Instant
}

public struct Standby: Hashable, Sendable {
    public var since: Instant
    /// The handover that the primary asked to prepare (4.4, step 1).
    public var prepared: UInt64?
}

public struct Promoting: Hashable, Sendable {
    public var since: Instant
    public var reason: Reason
    public var rung: Rung
    /// How often it was tried in vain.
    public var failures = 0

    public enum Reason: Hashable, Sendable {
        /// The primary's own instance had to be started (5.1 to 5.3).
        case start
        /// The other node handed over, with this ledger (4.4).
        case handover(Ledger)
        /// A person vouched that the other host is off (4.3, manual).
        case failover(RequestID, Ledger)
    }

    /// Each rung rests on the one before it; the address comes after the last, in `primary`.
    public enum Rung: Hashable, Sendable {
        /// The instance is not recovering yet.
        case starting
        case receiving(OperationID)
        case writing(Ledger)
        case promoting(OperationID)
        /// 5.3: the other node has what recovery brought to light here.
        case confirming(OperationID)
        /// Something failed; tried again at that time.
        case retrying(Instant)
    }
}

public struct Primary: Hashable, Sendable {
    public var since: Instant
    public var pairing: Pairing
    /// `(T, n+1, me, sole)` that the standby is asked to consent to (4.1).
    public var parting: Parting?
    /// A postmaster's end is being put right by a direct start, without a break of authority (5.1).
    public var restart: OperationID?
    /// After a failed restart: not before this.
    public var restartNotBefore: Instant?
    /// Since when PostgreSQL is seen in recovery here, which a primary's is not.
    public var recoveringSince: Instant?
    /// Since when somebody else's `synchronous_standby_names` is seen: an observation may be older than our own settings.
    public var overriddenSince: Instant?
    /// Since when the standby has been seen without a WAL stream.
    public var streamLostSince: Instant?
    /// The number of the first heartbeat that orders the standby address to this node: the standby must have seen it (7).
    public var ordered: StandbyOrder

    public enum Pairing: Hashable, Sendable {
        case idle
        /// The managed settings are being written.
        case configuring(CopyID)
        case confirming(CopyID, OperationID)
        case writing(Ledger)
        case retrying(Instant)
    }

    public struct Parting: Hashable, Sendable {
        public var ledger: Ledger
        public var reason: Refusal
        public var since: Instant
    }

    /// The primary's order about the standby address.
    public struct StandbyOrder: Hashable, Sendable {
        public var holder: NodeName
        /// The heartbeat that first carried it.
        public var number: UInt64
    }
}

public struct HandingOver: Hashable, Sendable {
    public var id: UInt64
    public var since: Instant
    public var reason: Reason
    public var phase: Phase
    /// The standby's word that it is ready, with a record boundary to read on from.
    public var replayed: LSN?
    /// The end of this node's WAL, once it is known.
    public var end: LSN?
    /// After a failure: not before this.
    public var notBefore: Instant?

    public enum Reason: Hashable, Sendable {
        case planned(RequestID?)
        /// The person asked at the other node.
        case plannedThere(request: UInt64)
        /// The postmaster is gone while this host lives.
        case crash
        /// This agent was told to stop.
        case leaving
        /// Could not be promoted, or never opened: the role goes back (4.4).
        /// The handover that goes back.
        case returned(Ledger)
    }

    public enum Phase: Hashable, Sendable {
        /// The standby gets ready; writes go on.
        case preparing(checkpoint: OperationID?)
        /// The instance is being ended.
        /// nil: the last attempt failed, the next one is due at `notBefore`.
        case ending(OperationID?)
        /// No process is left: sessions are closed, the address goes, the end of WAL is looked for.
        case measuring(OperationID?)
        case writing(Ledger)
    }
}

public struct Stopping: Hashable, Sendable {
    public var since: Instant
    public var phase: Phase
    /// After a failure: not before this.
    public var notBefore: Instant?
    public enum Phase: Hashable, Sendable {
        /// The primary is asked to go on alone.
        case leaving
        /// nil: the last attempt failed, the next one is due at `notBefore`.
        case ending(OperationID?)
        case ended
    }
}

public struct Halted: Hashable, Sendable {
    public var since: Instant
    public var reason: Refusal
}
