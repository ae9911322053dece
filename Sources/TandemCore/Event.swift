/// A fact that reaches the core. Facts, not orders: what follows from them is decided in `Node.step`.
public enum Event: Hashable, Sendable {
    /// The first event of a session.
    case started(Start)
    /// A heartbeat's time has come.
    case tick
    case postgres(LocalPostgres)
    /// The peer's agent began a connection: its session; a new session means that the old one is over.
    case hello(session: SessionID)
    /// All paths to the peer are down. No proof of anything: it only makes the silence visible sooner.
    case linkLost
    case heartbeat(Heartbeat, Heartbeat.Header)
    case ledgerWritten(Ledger)
    /// The text says why; nothing of the new ledger is on disk.
    case ledgerNotWritten(Ledger, String)
    case completed(OperationID, Outcome)
    /// What the interface really holds.
    case addresses(Held)
    case configurationsCompared(differing: [String])
    case command(Command, RequestID)
    /// SIGTERM.
    case stopRequested

    public struct Start: Hashable, Sendable {
        public var session: SessionID
        public var boot: BootID
        public var ledger: Ledger?
        /// The boot of this host in which the peer last confirmed the bond (4.3, boot rule); kept beside the ledger.
        public var peerHeardIn: BootID?
        /// This node handed over and has not started as a follower since: where its WAL ends.
        public var follows: LSN?
        public init(session: SessionID, boot: BootID, ledger: Ledger?, peerHeardIn: BootID?, follows: LSN? = nil) {
            self.session = session
            self.boot = boot
            self.ledger = ledger
            self.peerHeardIn = peerHeardIn
            self.follows = follows
        }
    }

    /// Which of the virtual addresses this host holds, by role.
    public struct Held: Hashable, Sendable {
        public var primary: Extent
        public var standby: Extent
        public init(primary: Extent, standby: Extent) {
            self.primary = primary
            self.standby = standby
        }
        public subscript(role: AddressRole) -> Extent { role == .primary ? primary : standby }
    }

    /// A role may have several addresses; one alone is enough to be in somebody's way, only all of them serve.
    public enum Extent: String, Hashable, Sendable { case none, some, all }
}

/// Work that takes time carries an id and comes back as an event with it; an id that nobody waits for any more is ignored.
public struct OperationID: Hashable, Sendable, CustomStringConvertible {
    public var number: UInt64
    public init(_ number: UInt64) { self.number = number }
    public var description: String { "#\(number)" }
}

public enum Outcome: Hashable, Sendable {
    case done
    /// A position that the operation was to find: the end of WAL, the confirmed position.
    case position(LSN)
    /// The promotion's new timeline, and where it left the old one.
    case promoted(timeline: Timeline, fork: LSN)
    /// What was attempted, what happened, what to do.
    case failed(String)
}

/// A person's command, from the control socket of this host.
public enum Command: Hashable, Sendable {
    case switchover(to: NodeName?, dryRun: Bool)
    case failover
    /// The peer's `join` made this copy, and asks for the ledger to begin with (5.5).
    case join(copy: CopyID)
}

public struct RequestID: Hashable, Sendable {
    public var number: UInt64
    public init(_ number: UInt64) { self.number = number }
}
