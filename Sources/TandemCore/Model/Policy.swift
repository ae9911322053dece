/// What the configuration says to the core: durations, limits, names. All of it is checked when it is made.
public struct Policy: Hashable, Sendable, Codable {
    public var cluster: String
    public var node: NodeName
    public var peer: NodeName
    public var mode: ReplicationMode
    /// What the configuration wants; what is in force stands in the ledger (4.7).
    public var arbiter: ArbiterKind
    /// Heartbeat, lease and margin. Everything that waits for the peer's word is a multiple of the heartbeat.
    public var timing: Timing
    /// Asynchronous mode: a standby beyond these is not `paired`, so not promoted (4.6).
    public var promoteLimit: LagLimit
    /// A planned change waits until the standby is nearer than this.
    public var handoverBytes: UInt64
    /// A standby with older data loses the standby address (7).
    public var maximumStaleness: Duration
    /// And gets it back below this; smaller, so that the address does not swing (7).
    public var returnLimit: LagLimit
    /// How long a primary that does not serve, because it recovers or restarts, goes on asking for its lease: longer than a usual
    /// crash recovery. Who cannot serve for longer lets the other one (3.1, mistake 17).
    public var recoveryPatience: Duration
    /// Configurations that differ for longer than this stop every promotion: time to reload both hosts.
    public var configurationPatience: Duration
    /// How long PostgreSQL may answer nothing before it counts as hung (section 8).
    public var hangPatience: Duration

    /// This node gets the role back by itself once it has caught up; nil: whoever has it keeps it.
    public var preferredPrimary: NodeName?
    /// This node is never made primary by itself or by plan, and gives the role away as soon as it can.
    public var barredPrimary: NodeName?
    /// How long beforehand a failback is announced, so that a person can say no.
    public var failbackNotice: Duration

    public enum ReplicationMode: String, Hashable, Sendable, Codable { case synchronous, asynchronous }

    public struct LagLimit: Hashable, Sendable, Codable {
        public var bytes: UInt64
        public var age: Duration
        public init(bytes: UInt64, age: Duration) {
            self.bytes = bytes
            self.age = age
        }
    }

    public init(
        cluster: String, node: NodeName, peer: NodeName, mode: ReplicationMode, arbiter: ArbiterKind = .manual,
        timing: Timing = .standard, promoteLimit: LagLimit = LagLimit(bytes: 16 << 20, age: .seconds(60)),
        handoverBytes: UInt64 = 16 << 20, maximumStaleness: Duration = .seconds(30),
        returnLimit: LagLimit = LagLimit(bytes: 4 << 20, age: .seconds(5)), recoveryPatience: Duration = .seconds(60),
        configurationPatience: Duration = .seconds(600), hangPatience: Duration = .seconds(10),
        preferredPrimary: NodeName? = nil, barredPrimary: NodeName? = nil, failbackNotice: Duration = .seconds(30)
    ) {
        self.cluster = cluster
        self.node = node
        self.peer = peer
        self.mode = mode
        self.arbiter = arbiter
        self.timing = timing
        self.promoteLimit = promoteLimit
        self.handoverBytes = handoverBytes
        self.maximumStaleness = maximumStaleness
        self.returnLimit = returnLimit
        self.recoveryPatience = recoveryPatience
        self.configurationPatience = configurationPatience
        self.hangPatience = hangPatience
        self.preferredPrimary = preferredPrimary
        self.barredPrimary = barredPrimary
        self.failbackNotice = failbackNotice
    }

    public var heartbeat: Duration { timing.heartbeat }
    /// L as the configuration wants it: none for an arbiter that lends nothing.
    public var lease: Duration { arbiter.lends ? timing.lease : .zero }

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
    /// How long the standby's agent may be silent while its WAL stream runs: longer than a restart of it.
    public var agentPatience: Duration { .seconds(30) }
    /// Between two attempts at something that failed.
    public var retry: Duration { .seconds(1) }
    /// Storage that hung, failed or took no writes must be well again for so long before a role comes back to it, or an instance is started on it.
    public var storagePatience: Duration { .seconds(10) }
    /// Between two attempts to start on a full disk.
    public var storageRetry: Duration { .seconds(10) }
    /// So long a standby is away before little room on this disk counts for more than the WAL that it will want.
    public var slotPatience: Duration { .seconds(60) }
    /// So many ends of PostgreSQL on a primary within so long are a crash loop: it gives the role away as soon as somebody can take it.
    public var crashLoopEnds: Int { 3 }
    public var crashLoopSpan: Duration { .seconds(300) }
    /// How long a standby may run beside a primary that serves without getting on, before it is looked at why: longer than a reconnection.
    public var rejoinPatience: Duration { .seconds(3) }
    /// A role that comes back within this after it was given back was not well there: the next failback waits twice as long.
    public var failbackMemory: Duration { .seconds(3600) }
    /// How long a handover may take while the lease is kept for it.
    public var handoverPatience: Duration { .seconds(10) }
    /// How long a standby that does not see its gateway waits before it claims all the same (4.3).
    public var gatewayPatience: Duration { .seconds(10) }
    /// How long the lag of an asynchronous standby may be unknown before it counts as beyond every limit: longer than its agent's first look.
    public var lagPatience: Duration { .seconds(2) }
    /// Asynchronous mode: below this a standby is paired again; half, so that the bond does not swing (4.6).
    public var pairLimit: LagLimit { LagLimit(bytes: promoteLimit.bytes / 2, age: promoteLimit.age / 2) }
    /// How long the heartbeat row may not be written or read before a person is told: longer than a lock of everyday's.
    public var rowPatience: Duration { .seconds(5) }
    /// How far the hosts' wall clocks may seem apart before a person is told.
    public var clockTolerance: Duration { .seconds(10) }
    /// How long a paused pair goes on waiting for a standby that is away (4.7).
    public var pausePatience: Duration { .seconds(30) }
}
