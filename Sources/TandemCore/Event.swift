/// A fact that reaches the core. Facts, not orders: what follows from them is decided in `Node.step`.
public enum Event: Hashable, Sendable, Codable {
    /// The first event of a session.
    indirect case started(Start)
    /// A heartbeat's time has come.
    case tick
    indirect case postgres(LocalPostgres)
    /// The peer's agent began a connection: its session; a new session means that the old one is over.
    case hello(session: SessionID)
    /// All paths to the peer are down. No proof of anything: it only makes the silence visible sooner.
    case linkLost
    indirect case heartbeat(Heartbeat, Heartbeat.Header)
    /// The witness began a connection: its session.
    case witnessHello(session: SessionID)
    indirect case witness(WitnessAnswer, Heartbeat.Header)
    /// The guard has died.
    case guardEnded
    /// Whether this host's gateway answers: a quality check, never a proof (4.3).
    case gateway(isSeen: Bool)
    /// What the canary found of this host's storage; told when it changes.
    indirect case storage(Storage)
    indirect case ledgerWritten(Ledger)
    /// The text says why; nothing of the new ledger is on disk.
    indirect case ledgerNotWritten(Ledger, String)
    case completed(OperationID, Outcome)
    /// What the interface really holds.
    case addresses(Held)
    /// The times of the day have opened or closed a window: the core reads no wall clock.
    case windows(Windows)
    case configurationsCompared(differing: [String])
    indirect case command(Command, RequestID)
    /// SIGTERM.
    case stopRequested

    var isTick: Bool {
        if case .tick = self { return true }
        return false
    }

    public struct Start: Hashable, Sendable, Codable {
        public var session: SessionID
        public var boot: BootID
        public var ledger: Ledger?
        /// What was kept beside the ledger.
        public var notes: Notes
        /// The deadline that the guard still holds from the session before, if it is armed and a lease was given (5.3).
        public var guardUntil: Moment?
        public var windows: Windows
        public init(
            session: SessionID, boot: BootID, ledger: Ledger?, notes: Notes = Notes(), guardUntil: Moment? = nil,
            windows: Windows = Windows()
        ) {
            self.session = session
            self.boot = boot
            self.ledger = ledger
            self.notes = notes
            self.guardUntil = guardUntil
            self.windows = windows
        }
    }

    /// Which windows of the configuration are open at this time of the day.
    public struct Windows: Hashable, Sendable, Codable {
        /// A rewind or a new copy may begin.
        public var rejoin: Bool
        /// The preferred primary may get its role back.
        public var failback: Bool
        public init(rejoin: Bool = true, failback: Bool = true) {
            self.rejoin = rejoin
            self.failback = failback
        }
    }

    /// Which of the virtual addresses this host holds, by role.
    public struct Held: Hashable, Sendable, Codable {
        public var primary: Extent
        public var standby: Extent
        public init(primary: Extent, standby: Extent) {
            self.primary = primary
            self.standby = standby
        }
        public subscript(role: AddressRole) -> Extent { role == .primary ? primary : standby }
    }

    /// A role may have several addresses; one alone is enough to be in somebody's way, only all of them serve.
    public enum Extent: String, Hashable, Sendable, Codable { case none, some, all }
}

/// Work that takes time carries an id and comes back as an event with it; an id that nobody waits for any more is ignored.
public struct OperationID: Hashable, Sendable, Codable, CustomStringConvertible {
    public var number: UInt64
    public init(_ number: UInt64) { self.number = number }
    public var description: String { "#\(number)" }
}

public enum Outcome: Hashable, Sendable, Codable {
    case done
    /// A position that the operation was to find: the end of WAL, the confirmed position.
    case position(LSN)
    /// The promotion's new timeline, and where it left the old one.
    case promoted(timeline: Timeline, fork: LSN)
    case surveyed(Survey)
    /// What was attempted, what happened, what to do.
    case failed(String)
}

/// A person's command, from the control socket of this host.
public enum Command: Hashable, Sendable, Codable {
    case switchover(to: NodeName?, dryRun: Bool)
    case failover(acceptDataLoss: Bool)
    /// No automatic failover; `maintenance`: the standby may go away at once without holding up commits (4.7).
    case pause(maintenance: Bool)
    case resume
    /// The announced failback is not wanted: the role stays here until it changes for another reason.
    case cancelFailback
    /// Come back as the standby now, whatever the window and earlier failures say; `fresh`: by a new copy.
    case rejoin(fresh: Bool)
    /// The peer's `join` made this copy, and asks for the ledger to begin with (5.5).
    case join(copy: CopyID)
}

public struct RequestID: Hashable, Sendable, Codable {
    public var number: UInt64
    public init(_ number: UInt64) { self.number = number }
}
