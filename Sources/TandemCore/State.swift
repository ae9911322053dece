/// What a node is doing. The payload is everything that is valid in that state, and nothing else.
public enum State: Hashable, Sendable, Codable {
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

    /// The state without its payload; the word for log and status.
    public enum Kind: String, Hashable, Sendable, Codable, CaseIterable {
        case waiting, standby, promoting, primary
        case handingOver = "handing over"
        case stopping, halted
    }

    public var kind: Kind {
        switch self {
        case .waiting: .waiting
        case .standby: .standby
        case .promoting: .promoting
        case .primary: .primary
        case .handingOver: .handingOver
        case .stopping: .stopping
        case .halted: .halted
        }
    }

    public var name: String { kind.rawValue }
}

public struct Waiting: Hashable, Sendable, Codable {
    public var since: Instant
}

public struct Standby: Hashable, Sendable, Codable {
    public var since: Instant
    /// The handover that the primary asked to prepare (4.4, step 1).
    public var prepared: UInt64?
}

public struct Promoting: Hashable, Sendable, Codable {
    public var since: Instant
    public var reason: Reason
    public var rung: Rung
    /// How often it was tried in vain.
    public var failures = 0
    /// The term from which this one descends, where the numbers do not say it.
    public var parent: Term?
    /// What accepts writes here is this node's own doing: its promotion was ordered, or the role came back that this node gave away.
    var isOwnBranch: Bool?

    public enum Reason: Hashable, Sendable, Codable {
        /// The primary's own instance had to be started (5.1 to 5.3).
        case start
        /// The other node handed over, with this ledger (4.4).
        case handover(Ledger)
        /// A person vouched that the other host is off (4.3, manual).
        case failover(RequestID, Ledger)
        /// The arbiter's record gives this node the role (4.3, witness).
        case grant(Ledger)
    }

    /// Each rung rests on the one before it; the address comes after the last, in `primary`.
    public enum Rung: Hashable, Sendable, Codable {
        /// The instance is not recovering yet.
        case starting
        case receiving(OperationID)
        /// The guard is armed before this ledger, `paired` with this node as primary, is written (3.2).
        case arming(Ledger)
        case writing(Ledger)
        case promoting(OperationID)
        /// 5.3: the other node has what recovery brought to light here.
        case confirming(OperationID)
        /// Something failed; tried again at that time.
        case retrying(Instant)
    }
}

public struct Primary: Hashable, Sendable, Codable {
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
    /// Since when an asynchronous standby has not said how far it is behind (4.6).
    public var lagUnknownSince: Instant?
    /// What the standby has confirmed, and since when it has not confirmed more, although there is more.
    public var confirmed: LSN?
    public var unconfirmedSince: Instant?
    /// The number of the first heartbeat that orders the standby address to this node: the standby must have seen it (7).
    public var ordered: StandbyOrder
    /// A person ended the pause; the pair is whole again, or one is given up for now (4.7).
    public var resumingSince: Instant?

    public enum Pairing: Hashable, Sendable, Codable {
        case idle
        /// The managed settings are being written.
        case configuring(CopyID)
        case confirming(CopyID, OperationID)
        /// The guard is armed before this ledger is written (3.2).
        case arming(Ledger)
        case writing(Ledger)
        case retrying(Instant)
    }

    public struct Parting: Hashable, Sendable, Codable {
        public var ledger: Ledger
        public var reason: Reason
        public var since: Instant

        public enum Reason: Hashable, Sendable, Codable {
            case lost(Refusal)
            /// A person asked for a pause (4.7).
            case pause

            var text: String {
                switch self {
                case .lost(let refusal): refusal.text
                case .pause: "a person asked for a pause"
                }
            }
        }
    }

    /// The primary's order about the standby address.
    public struct StandbyOrder: Hashable, Sendable, Codable {
        public var holder: NodeName
        /// The heartbeat that first carried it.
        public var number: UInt64
    }
}

public struct HandingOver: Hashable, Sendable, Codable {
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

    public enum Reason: Hashable, Sendable, Codable {
        case planned(RequestID?)
        /// The other node is the preferred primary, or this one is barred: the role goes there by itself.
        case preference
        /// The person asked at the other node.
        case plannedThere(request: UInt64)
        /// The postmaster is gone while this host lives.
        case crash
        /// PostgreSQL answers nothing while this host lives.
        case hang
        /// Nothing can be written here, or nothing that was written is safe.
        case storage
        /// PostgreSQL ends again and again here.
        case crashLoop
        /// This host does not see its gateway, and the other one does.
        case gatewayLost
        /// This agent was told to stop.
        case leaving
        /// Could not be promoted, or never opened: the role goes back (4.4).
        /// The handover that goes back.
        case returned(Ledger)
    }

    public enum Phase: Hashable, Sendable, Codable {
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

public struct Stopping: Hashable, Sendable, Codable {
    public var since: Instant
    public var phase: Phase
    /// After a failure: not before this.
    public var notBefore: Instant?
    public enum Phase: Hashable, Sendable, Codable {
        /// The primary is asked to go on alone.
        case leaving
        /// nil: the last attempt failed, the next one is due at `notBefore`.
        case ending(OperationID?)
        case ended
        /// Paused: nothing is ended (4.7).
        case leftAsItIs
    }
}

public struct Halted: Hashable, Sendable, Codable {
    public var since: Instant
    public var reason: Refusal
}
