import TandemCore

/// The settings that the agent owns, all of them in one file that `postgresql.conf` includes last.
///
/// They are the same in kind on both nodes and for both roles: a standby has `synchronous_standby_names` too (without effect
/// there), so that a promoted server is protected from its first moment, and a primary has `primary_conninfo`.
public struct ManagedSettings: Hashable, Sendable {
    public var cluster: String
    public var node: NodeName
    public var port: Int
    /// The copy in this data directory: under its name the standby streams. nil: none yet, it does not stream.
    public var ownCopy: CopyID?
    public var peer: Peer?
    /// nil: `synchronous_standby_names` is empty, commits wait for nobody.
    public var synchronousStandby: CopyID?
    /// Megabytes of WAL that an absent standby may hold back on the primary (`protocol.md` 4.5).
    public var slotKeepMegabytes: Int
    /// `replica` unless the installation has `logical`, which is not lowered.
    public var walLevel: WALLevel
    public var walSenders: Int
    public var replicationSlots: Int

    public enum WALLevel: String, Hashable, Codable, Sendable {
        case replica, logical
    }

    /// The other node, as the source of our WAL.
    public struct Peer: Hashable, Sendable {
        /// Numeric: a name could not be resolved just when it matters.
        public var address: String
        public var port: Int
        public var user: String
        public var passFile: String
        /// The slot that the peer keeps for us.
        public var slot: String?

        public init(address: String, port: Int, user: String, passFile: String, slot: String?) {
            self.address = address
            self.port = port
            self.user = user
            self.passFile = passFile
            self.slot = slot
        }
    }

    public init(
        cluster: String, node: NodeName, port: Int, ownCopy: CopyID?, peer: Peer?, synchronousStandby: CopyID?,
        slotKeepMegabytes: Int, walLevel: WALLevel = .replica, walSenders: Int = 10, replicationSlots: Int = 10
    ) {
        self.cluster = cluster
        self.node = node
        self.port = port
        self.ownCopy = ownCopy
        self.peer = peer
        self.synchronousStandby = synchronousStandby
        self.slotKeepMegabytes = slotKeepMegabytes
        self.walLevel = walLevel
        self.walSenders = max(10, walSenders)
        self.replicationSlots = max(10, replicationSlots)
    }

    /// Names and values, in the order of the file.
    public var values: [(name: String, value: String)] {
        [
            ("cluster_name", "\(cluster)/\(node)"),
            ("port", String(port)),
            ("listen_addresses", "*"),
            ("wal_level", walLevel.rawValue),
            ("hot_standby", "on"),
            // For pg_rewind, also without checksums.
            ("wal_log_hints", "on"),
            ("max_wal_senders", String(walSenders)),
            ("max_replication_slots", String(replicationSlots)),
            ("max_slot_wal_keep_size", "\(slotKeepMegabytes)MB"),
            ("wal_sender_timeout", "5s"),
            ("wal_receiver_timeout", "5s"),
            ("wal_receiver_status_interval", "1s"),
            // The default of 5 s can hold a promotion back for as long.
            ("wal_retrieve_retry_interval", "100ms"),
            ("recovery_target_timeline", "latest"),
            // After a backend's crash the agent decides: standby.signal beside the primary would bring it back read-only.
            ("restart_after_crash", "off"),
            ("primary_conninfo", primaryConnection),
            ("primary_slot_name", peer?.slot ?? ""),
            ("synchronous_standby_names", synchronousStandbyNames),
        ]
    }

    /// The value as `pg_settings` shows it too.
    public var synchronousStandbyNames: String {
        synchronousStandby.map { ManagedSettings.synchronousNames($0) } ?? ""
    }

    static func synchronousNames(_ copy: CopyID) -> String { copy.synchronousStandbyNames }

    /// Only words that libpq 14 knows: the server's own libpq may be older than the one that wrote them.
    public var primaryConnection: String {
        guard let peer, let ownCopy else { return "" }
        let words = [
            ("host", peer.address), ("port", String(peer.port)), ("user", peer.user), ("passfile", peer.passFile),
            ("application_name", ownCopy.applicationName), ("connect_timeout", "2"), ("keepalives_idle", "2"),
            ("keepalives_interval", "1"), ("keepalives_count", "3"), ("tcp_user_timeout", "5000"), ("sslmode", "prefer"),
            // The sender's end of it. One whose host is just gone and that is told to let go of its slot would wait for TCP to say goodbye,
            // and PostgreSQL's checkpoint with it.
            ("options", "-c tcp_user_timeout=5000"),
        ]
        return words.map { "\($0.0)=\(ManagedSettings.connectionQuoted($0.1))" }.joined(separator: " ")
    }

    /// The content of the include file.
    public var text: String {
        let lines = values.map { "\($0.name) = \(ManagedSettings.fileQuoted($0.value))" }
        let head = """
            # Written by pgtandem; every change is lost. Put settings of your own into postgresql.conf: those that stand here
            # as well are reported by `pgtandem status` and do not count.
            """
        return head + "\n" + lines.joined(separator: "\n") + "\n"
    }

    /// A value in a connection string (PostgreSQL manual, "Keyword/Value Connection Strings").
    static func connectionQuoted(_ value: String) -> String {
        let plain = !value.isEmpty && value.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x27 && $0 != 0x5C }
        return plain ? value : "'" + escaped(value, by: "\\") + "'"
    }

    /// A value in a configuration file (PostgreSQL manual, "Parameter Interaction via the Configuration File").
    static func fileQuoted(_ value: String) -> String {
        let oneLine = String(value.map { $0.isNewline ? " " : $0 })
        return "'" + escaped(oneLine, by: nil) + "'"
    }

    /// Quotes and backslashes with something before each; nil: with themselves.
    private static func escaped(_ value: String, by escape: Character?) -> String {
        var text = ""
        for character in value {
            if character == "'" || character == "\\" { text.append(escape ?? character) }
            text.append(character)
        }
        return text
    }
}
