/// What the configuration says to the core: durations, limits, names. All of it is checked when it is made.
public struct Policy: Hashable, Sendable {
    public var cluster: String
    public var node: NodeName
    public var peer: NodeName
    public var mode: ReplicationMode
    public var arbiter: ArbiterKind
    /// h: how often a heartbeat is sent. Everything that waits for the peer's word is a multiple of it.
    public var heartbeat: Duration
    /// Asynchronous mode: a standby beyond these is not `paired`, so not promoted (4.6).
    public var promoteLimit: LagLimit
    /// A planned change waits until the standby is nearer than this.
    public var handoverBytes: UInt64
    /// A standby with older data loses the standby address (7).
    public var maximumStaleness: Duration
    /// And gets it back below this; smaller, so that the address does not swing (7).
    public var returnLimit: LagLimit

    public enum ReplicationMode: String, Hashable, Sendable { case synchronous, asynchronous }

    public struct LagLimit: Hashable, Sendable {
        public var bytes: UInt64
        public var age: Duration
        public init(bytes: UInt64, age: Duration) {
            self.bytes = bytes
            self.age = age
        }
    }

    public init(
        cluster: String, node: NodeName, peer: NodeName, mode: ReplicationMode, arbiter: ArbiterKind = .manual,
        heartbeat: Duration = .milliseconds(200), promoteLimit: LagLimit = LagLimit(bytes: 16 << 20, age: .seconds(60)),
        handoverBytes: UInt64 = 16 << 20, maximumStaleness: Duration = .seconds(30),
        returnLimit: LagLimit = LagLimit(bytes: 4 << 20, age: .seconds(5))
    ) {
        self.cluster = cluster
        self.node = node
        self.peer = peer
        self.mode = mode
        self.arbiter = arbiter
        self.heartbeat = heartbeat
        self.promoteLimit = promoteLimit
        self.handoverBytes = handoverBytes
        self.maximumStaleness = maximumStaleness
        self.returnLimit = returnLimit
    }

    /// The peer counts as silent when nothing was heard for this long: three heartbeats may be lost or late. Silence alone
    /// gives no right to anybody; it only ends waiting for an answer (section 8).
    public var silence: Duration { heartbeat * 4 }
    /// How long a node that a ledger names `sole` waits for newer news before it opens (5.2).
    public var startPatience: Duration { .seconds(1) }
    /// How long a standby may run without a WAL stream before the primary asks it to step out of the bond: longer than a
    /// reconnection (`wal_retrieve_retry_interval` is 100 ms), shorter than a client's patience.
    public var streamPatience: Duration { .seconds(1) }
    /// How long a standby has to say that it is ready to take over.
    public var preparePatience: Duration { .seconds(2) }
    /// How long an agent that was told to stop waits for the other node's word.
    public var leavePatience: Duration { .seconds(5) }
    /// Between two attempts at something that failed.
    public var retry: Duration { .seconds(1) }
    /// Configurations that differ for longer than this stop every promotion: time to reload both hosts.
    public var configurationPatience: Duration { .seconds(600) }
}
