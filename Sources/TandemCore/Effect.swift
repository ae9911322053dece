/// An order to the shell. The order of effects is part of their meaning: what must be durable comes before what relies on it,
/// and the core waits for `ledgerWritten` where one does. Each may run twice after a crash, and is harmless then.
public enum Effect: Hashable, Sendable, Codable {
    /// Write, fsync, rename, fsync of the folder; comes back as `ledgerWritten`. Written again: the same file.
    /// Beside the ledger, notes of this node's own.
    indirect case writeLedger(Ledger, Notes)
    indirect case send(Heartbeat, Heartbeat.Header)
    indirect case askWitness(WitnessRequest, Heartbeat.Header)
    /// From now on the guard ends the instance and removes the addresses m before this moment, whatever becomes of the agent (3.2). nil: no
    /// lease was given to this session yet; a deadline that the guard has already stays, and `extendGuard` sets the first one.
    case armGuard(until: Moment?, OperationID)
    case extendGuard(until: Moment)
    case releaseGuard(OperationID)
    /// Start PostgreSQL. Already running: done.
    case start(StartMode, OperationID)
    /// End PostgreSQL; done means that no process of the data directory is left.
    case stop(StopMode, OperationID)
    /// End recovery; done when it accepts writes. Already open: done.
    case promote(OperationID)
    /// Write the managed settings and have them read.
    indirect case configure(Settings, OperationID)
    /// 4.2, step 1: `synchronous_standby_names` is in effect, and this copy has confirmed the insert position of that time.
    case confirmSynchronous(CopyID, OperationID)
    /// This copy has confirmed the position where recovery ended here (5.3).
    case confirmPosition(CopyID, OperationID)
    case checkpoint(OperationID)
    /// The end of a dead instance's WAL, found by reading on from a record boundary (4.4, step 3).
    /// Of the directory that carries this copy's mark; another one that was put in its place has another end.
    case findEndOfWAL(from: LSN, of: CopyID, OperationID)
    /// Have all WAL up to here: from the stream, or from the peer's `pg_wal` by the agents' link (4.4, step 4; 6.3).
    case receiveWAL(upTo: LSN, OperationID)
    /// Compare the stopped instance with the other node's, which serves (section 6).
    case survey(OperationID)
    /// Rewind the directory, or replace it by a new copy; the mark inside is written last. Only under `sole`. Interrupted: a new copy.
    case rejoin(RejoinWay, OperationID)
    /// `regardless`: with authority, another machine's answer raises an alarm and does not stop the taking (7). `until`: the lease as it was
    /// at the order; past it, the order is void, whatever held it up.
    indirect case claimAddress(AddressRole, regardless: Bool, until: Moment?, OperationID)
    /// Sessions end first, then the address goes (7).
    case releaseAddress(AddressRole, OperationID)
    /// The row that says from what this term descends (section 9).
    indirect case recordLineage(term: Term, copy: CopyID, parent: Term, fork: LSN, timeline: Timeline)
    indirect case answer(RequestID, CommandAnswer)
    indirect case notice(Notice)
    case exit

    public enum StartMode: Hashable, Sendable, Codable {
        /// With `standby.signal`: recovers and serves reads, whatever it was.
        case standby
        /// The same, and it connects to nobody: it was not compared with the other one's, so it may be on a branch of its own, with which a
        /// stream would be mixed where both branches have one number.
        case isolated
        /// The same, for the standby of a node that was promoted exactly where this instance's WAL ends (4.4): what a crash left
        /// torn behind that end is in its way, and is taken out of it.
        case follower(fork: LSN)
        /// Direct; only with authority held without a break (5.1), and only this copy: between the order and the start, somebody may have put
        /// another directory in its place.
        case primary(of: CopyID)
    }

    public enum StopMode: String, Hashable, Sendable, Codable {
        /// Sessions are ended, a shutdown checkpoint is written, the standby gets it. For planned changes.
        case fast
        /// At once, without a checkpoint; crash recovery follows. Every process is gone afterwards.
        case immediate
    }
}

public enum AddressRole: String, Hashable, Sendable, Codable { case primary, standby }

/// What the managed include file depends on (4.2, section 9). The rest of it is constant for a host.
public struct Settings: Hashable, Sendable, Codable {
    /// The copy here: the name under which this instance streams from the other one, and its slot there.
    public var copy: CopyID?
    /// The copy that commits wait for; nil: none.
    public var synchronous: CopyID?
    /// The copies that own a replication slot here.
    public var slot: CopyID?
    public init(copy: CopyID?, synchronous: CopyID?, slot: CopyID?) {
        self.copy = copy
        self.synchronous = synchronous
        self.slot = slot
    }
}

public enum CommandAnswer: Hashable, Sendable, Codable {
    case progress(String)
    case done(String)
    case refused([RefusalNote])
}

/// Something a person may want to know: the log line, and later the entry of the history.
public struct Notice: Hashable, Sendable, Codable {
    public enum Level: String, Hashable, Sendable, Codable { case info, warning, error }
    public var level: Level
    public var text: String
    public var facts: [Fact]
    public struct Fact: Hashable, Sendable, Codable {
        public var name: String
        public var value: String
        public init(_ name: String, _ value: some CustomStringConvertible) {
            self.name = name
            self.value = value.description
        }
    }
    public init(_ level: Level, _ text: String, _ facts: [Fact] = []) {
        self.level = level
        self.text = text
        self.facts = facts
    }
}
