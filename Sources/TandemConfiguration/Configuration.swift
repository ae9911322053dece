import TandemCore

/// The configuration of one agent: one YAML file per host, as `docs/pgtandem.example.yml` describes it.
///
/// Values are checked when they are read: a `Configuration` that exists is one that can be used.
public struct Configuration: Hashable, Sendable {
    /// The pair's name, the same on both hosts.
    public var cluster: String
    /// Which of the two nodes this host is.
    public var node: NodeName
    /// Exactly two, ordered by name.
    public var nodes: [Node]
    /// TCP port of the agents' link, the same on both hosts.
    public var agentPort: Int
    public var virtualAddresses: VirtualAddresses
    /// The address that a healthy host of this network can reach; nil: `none`, the check is left out.
    public var gateway: IPAddress?
    public var postgresql: PostgreSQL
    public var replication: Replication
    public var limits: Limits
    public var arbiter: Arbiter
    public var timing: Timing
    public var watchdog: Watchdog
    /// Gets the role back by itself once it has caught up; nil: whoever has it keeps it.
    public var preferredPrimary: NodeName?
    /// Is never primary by plan or by failover; nil: both may be.
    public var barredPrimary: NodeName?
    public var failback: Failback
    public var rejoin: Rejoin
    public var tls: TLS
    public var log: Log
    /// Ledger, intent files, passfile, journal: mode 0700, owned by `postgresql.os_user`.
    public var stateDirectory: String
    /// The Unix socket through which commands reach this agent.
    public var controlSocket: String

    /// The file that it was read from, as the user named it.
    public var file: String
    /// What a person should look at although the configuration can be used.
    public var warnings: [ConfigurationProblem]
    var origins: [String: ValueOrigin]

    /// Where the value of a key (`postgresql.port`) comes from.
    public func origin(of key: String) -> ValueOrigin { origins[key] ?? .byDefault }

    public struct Node: Hashable, Sendable {
        public var name: NodeName
        /// At least one; each is a path for heartbeats, and the first is also PostgreSQL's.
        public var addresses: [IPAddress]
    }

    /// This host.
    public var thisNode: Node { nodes.first { $0.name == node } ?? nodes[0] }
    /// The other host.
    public var peer: Node { nodes.first { $0.name != node } ?? nodes[1] }

    /// The addresses that follow the roles (`protocol.md` 7).
    public struct VirtualAddresses: Hashable, Sendable {
        /// The network interface on this host that carries them.
        public var interface: String
        /// At least one; held by the node that may accept writes.
        public var primary: [PrefixedAddress]
        /// At least one; held by the standby, or by the primary while there is no standby.
        public var standby: [PrefixedAddress]
    }

    public struct PostgreSQL: Hashable, Sendable {
        /// Where `postgres`, `pg_ctl` and the other server programs are.
        public var binDirectory: String
        public var dataDirectory: String
        /// `postgresql.conf`; in the data directory unless the configuration says otherwise (Debian).
        public var configFile: String
        /// `pg_hba.conf`; likewise.
        public var hbaFile: String
        /// The operating-system user who owns the data directory.
        public var osUser: String
        /// The database that holds the schema `pgtandem`.
        public var database: String
        public var port: Int
        public var socketDirectory: String
        public var superuser: String
        /// How long it may answer nothing before it counts as hung, and the standby takes over (`protocol.md` 8).
        public var hangPatience: Duration
    }

    public struct Replication: Hashable, Sendable {
        public enum Mode: String, Hashable, Sendable, CaseIterable {
            /// A commit is acknowledged when both hosts have it on disk.
            case synchronous
            /// A commit is acknowledged when the primary has it; a failover may lose what `limits.promote` allows.
            case asynchronous
        }

        public var mode: Mode
        public var user: String
        /// Holds the password of `user`, one line; `init` makes it.
        public var passwordFile: String
    }

    /// How far a standby may be behind.
    public struct Limits: Hashable, Sendable {
        public struct Lag: Hashable, Sendable {
            public var bytes: Int64
            public var age: Duration
        }

        /// Mode `asynchronous`: a standby beyond this is not `paired`, so not promoted (`protocol.md` 4.6).
        public var promote: Lag
        /// A planned change of roles waits until the standby is nearer than this.
        public var handoverBytes: Int64
        /// A standby whose data are older loses the standby address.
        public var maxStaleness: Duration
        /// It gets the address back below both; the age is at most `maxStaleness`, else the address would flap.
        public var returnStandbyAddress: Lag
    }

    public struct Arbiter: Hashable, Sendable {
        public var kind: ArbiterKind
        /// Where the witness answers. There with the arbiter `witness`; also with another one while the pair still goes by the witness that
        /// its ledger names (`protocol.md` 4.7).
        public var witness: Witness?

        public struct Witness: Hashable, Sendable {
            public var address: IPAddress
            public var port: Int
        }
    }

    /// The hardware watchdog that the guard holds (`protocol.md` 3.2).
    public struct Watchdog: Hashable, Sendable {
        /// nil: `none`.
        public var device: String?
    }

    /// When the preferred primary gets its role back.
    public struct Failback: Hashable, Sendable {
        public var window: DailyWindow
        /// How long beforehand it is announced.
        public var notice: Duration
    }

    /// How a host that cannot simply follow comes back (`protocol.md` 6).
    public struct Rejoin: Hashable, Sendable {
        /// Of a new copy, bytes a second; nil: unlimited. `pg_rewind` has no limit of its own.
        public var bandwidth: Int64?
        /// When a rewind or a new copy may begin.
        public var window: DailyWindow
        /// How long the saved WAL of abandoned branches is kept, and how much of it: the oldest goes first.
        public var divergedAge: Duration
        public var divergedBytes: Int64
    }

    /// The pace of the agents' link, and the lease that an arbiter which lends one gives (`protocol.md` 3.1). The arbiter `manual` has
    /// none: nothing here moves the primary role by itself.
    public struct Timing: Hashable, Sendable {
        public enum Profile: String, Hashable, Sendable, CaseIterable {
            case standard
            case fast
            case relaxed

            var durations: TandemCore.Timing {
                switch self {
                case .standard: .standard
                case .fast: .fast
                case .relaxed: .relaxed
                }
            }
        }

        /// nil: the configuration gives the heartbeat itself.
        public var profile: Profile?
        /// As the core takes them: the inequality of `protocol.md` 3.1 holds.
        public var durations: TandemCore.Timing

        /// h: the time between two heartbeats.
        public var heartbeat: Duration { durations.heartbeat }
        /// L: how long a primary may write without hearing from anyone.
        public var lease: Duration { durations.lease }

        init(_ profile: Profile) {
            self.profile = profile
            durations = profile.durations
        }

        /// A heartbeat of one's own, and all else in the proportions of the profiles: with theirs, it is theirs.
        init(heartbeat: Duration, lease: Duration? = nil) {
            let lease = lease ?? heartbeat * 10
            durations = TandemCore.Timing(
                heartbeat: heartbeat, lease: lease, margin: Self.margin(of: lease),
                answer: min(max(heartbeat / 2, .milliseconds(40)), .milliseconds(500)))
        }

        /// A short lease leaves the guard little time to kill and to remove the addresses.
        private static func margin(of lease: Duration) -> Duration {
            lease < .seconds(1) ? .milliseconds(100) : .milliseconds(300)
        }

        /// The shortest lease that this heartbeat allows; a longer lease may have a longer margin.
        var leastLease: Duration {
            var short = durations
            short.margin = Self.margin(of: .zero)
            if short.required < .seconds(1) { return short.required }
            short.margin = Self.margin(of: .seconds(1))
            return short.required
        }
    }

    public struct TLS: Hashable, Sendable {
        /// Holds `ca.crt`, `node.crt`, `node.key` (made by `pgtandem tls create`).
        public var directory: String

        public var authorityFile: String { directory + "/ca.crt" }
        public var certificateFile: String { directory + "/node.crt" }
        public var keyFile: String { directory + "/node.key" }
    }

    public struct Log: Hashable, Sendable {
        public enum Format: String, Hashable, Sendable, CaseIterable {
            case text
            case json
        }

        public enum Level: String, Hashable, Sendable, CaseIterable {
            case debug
            case info
            case warning
            case error
        }

        public var format: Format
        public var level: Level
    }
}
