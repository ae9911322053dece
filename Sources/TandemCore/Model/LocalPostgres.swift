/// What is known of this node's PostgreSQL instance, at one moment: facts from processes, files and sessions, no opinions.
public struct LocalPostgres: Hashable, Sendable, Codable {
    public var condition: Condition
    /// PostgreSQL's own identity of the database cluster (`pg_controldata`); both nodes must have the same (5.8).
    public var systemIdentifier: UInt64?
    /// Major version, for example 15.
    public var majorVersion: Int?
    public var timeline: Timeline?
    /// On a primary: the position up to which its WAL is written and flushed.
    public var flushed: LSN?
    /// On a standby: the greater of what was received (and flushed) and what was replayed. Unknown is never zero.
    public var received: LSN?
    /// On a standby: the end of the last record replayed, a record boundary.
    public var replayed: LSN?
    /// On a standby: a WAL receiver is streaming from the peer.
    public var isStreaming: Bool
    /// On a primary: the standbys that stream from it.
    public var replicas: [Replica]
    /// The settings of which a standby must have at least as much as its primary (section 9).
    public var capacity: Capacity?
    /// A standby with `recovery_min_apply_delay` is never eligible (4.3).
    public var isDelayed: Bool
    /// On a standby: replay is paused, by a person or by PostgreSQL itself (settings lower than the primary's); nil: not known.
    public var isReplayPaused: Bool?
    /// `pgtandem.heartbeat`: on a primary what its agent committed last, on a standby what is read there; nil: not known.
    public var row: HeartbeatRow?
    /// Why the row cannot be written or read; nil: it can, or nobody tries.
    public var rowTrouble: String?
    /// `synchronous_standby_names` as the server reports it.
    public var synchronousStandbyNames: String?
    /// The copy id and the owner's name that stand inside the data directory.
    public var copy: CopyMark?

    public enum Condition: Hashable, Sendable, Codable {
        /// No process of the data directory is left.
        case stopped
        /// A postmaster runs and does not accept sessions yet: start-up, crash recovery (SQLSTATE 57P03). The text is its progress.
        case starting(String)
        /// The postmaster is gone, and processes of the data directory are left: they may still acknowledge commits (section 9).
        case orphaned(processes: Int)
        /// It answers. Being out of connection slots, refusing a password and the like are answers too (section 8).
        case running(isInRecovery: Bool)
        /// A postmaster runs and has answered nothing for this long.
        case silent(Duration)
        /// The data directory cannot be used; the text says why (missing, of another owner, not mounted, …).
        case unusable(String)
    }

    public struct Replica: Hashable, Sendable, Codable {
        public var applicationName: String
        public var address: String
        public var isStreaming: Bool
        /// `sync_state` is `sync`: this sender counts for commits now.
        public var isSynchronous: Bool
        public var flushed: LSN?
        public var replayed: LSN?

        public init(
            applicationName: String, address: String, isStreaming: Bool, isSynchronous: Bool, flushed: LSN?, replayed: LSN?
        ) {
            self.applicationName = applicationName
            self.address = address
            self.isStreaming = isStreaming
            self.isSynchronous = isSynchronous
            self.flushed = flushed
            self.replayed = replayed
        }
    }

    /// `max_connections`, `max_worker_processes`, `max_wal_senders`, `max_prepared_transactions`, `max_locks_per_transaction`:
    /// a standby with less than its primary dies when it is promoted (`hazards.md` 0.1, 7).
    public struct Capacity: Hashable, Sendable, Codable {
        public var connections: Int
        public var workers: Int
        public var senders: Int
        public var preparedTransactions: Int
        public var locks: Int

        public init(connections: Int, workers: Int, senders: Int, preparedTransactions: Int, locks: Int) {
            self.connections = connections
            self.workers = workers
            self.senders = senders
            self.preparedTransactions = preparedTransactions
            self.locks = locks
        }

        /// The names of the settings that are lower here than at `primary`.
        public func shortfalls(against primary: Capacity) -> [String] {
            var names: [String] = []
            if connections < primary.connections { names.append("max_connections") }
            if workers < primary.workers { names.append("max_worker_processes") }
            if senders < primary.senders { names.append("max_wal_senders") }
            if preparedTransactions < primary.preparedTransactions { names.append("max_prepared_transactions") }
            if locks < primary.locks { names.append("max_locks_per_transaction") }
            return names
        }
    }

    /// The content of the file inside a data directory that says whose copy it is (section 1, "copy").
    public struct CopyMark: Hashable, Sendable, Codable {
        public var copy: CopyID
        public var node: NodeName
        public init(copy: CopyID, node: NodeName) {
            self.copy = copy
            self.node = node
        }
    }

    public init(condition: Condition) {
        self.condition = condition
        isStreaming = false
        replicas = []
        isDelayed = false
    }

    public var isRunning: Bool {
        if case .running = condition { return true }
        return false
    }

    /// Accepts writes, as far as PostgreSQL is concerned: whether it may is another question.
    public var isOpen: Bool { condition == .running(isInRecovery: false) }
    public var isRecovering: Bool { condition == .running(isInRecovery: true) }
}
