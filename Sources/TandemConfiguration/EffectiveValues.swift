/// The values that hold, as texts: for `config show`, and for comparing the two hosts.
extension Configuration {
    /// One line of `config show`.
    public struct EffectiveValue: Hashable, Sendable {
        /// The key's path: `postgresql.port`.
        public var key: String
        /// As it could stand in the file.
        public var value: String
        public var origin: ValueOrigin
    }

    /// Every key with the value that holds and where it comes from, in the order of the documentation. Secrets are in files of
    /// their own, so only their paths can be here.
    public func effectiveValues() -> [EffectiveValue] {
        var values: [EffectiveValue] = []
        func add(_ key: String, _ value: String) {
            values.append(EffectiveValue(key: key, value: value, origin: origin(of: key)))
        }
        add("cluster", cluster)
        add("node", node.text)
        for node in nodes { add("nodes.\(node.name).addresses", Self.list(node.addresses)) }
        add("agent_port", String(agentPort))
        add("virtual_addresses.interface", virtualAddresses.interface)
        add("virtual_addresses.primary", Self.list(virtualAddresses.primary))
        add("virtual_addresses.standby", Self.list(virtualAddresses.standby))
        add("gateway", gateway?.description ?? "none")
        add("postgresql.bin_directory", postgresql.binDirectory)
        add("postgresql.data_directory", postgresql.dataDirectory)
        add("postgresql.config_file", postgresql.configFile)
        add("postgresql.hba_file", postgresql.hbaFile)
        add("postgresql.os_user", postgresql.osUser)
        add("postgresql.database", postgresql.database)
        add("postgresql.port", String(postgresql.port))
        add("postgresql.socket_directory", postgresql.socketDirectory)
        add("postgresql.superuser", postgresql.superuser)
        add("postgresql.hang_patience", DurationText.text(postgresql.hangPatience))
        add("replication.mode", replication.mode.rawValue)
        add("replication.user", replication.user)
        add("replication.password_file", replication.passwordFile)
        for (key, value) in limitValues { add(key, value) }
        add("arbiter.kind", arbiter.kind.rawValue)
        if let witness = arbiter.witness {
            add("arbiter.witness.address", witness.address.description)
            add("arbiter.witness.port", String(witness.port))
        }
        if let profile = timing.profile { add("timing.profile", profile.rawValue) }
        add("timing.heartbeat", DurationText.text(timing.heartbeat))
        add("timing.lease", DurationText.text(timing.lease))
        add("watchdog.device", watchdog.device ?? "none")
        add("preferred_primary", preferredPrimary?.text ?? "none")
        add("barred_primary", barredPrimary?.text ?? "none")
        add("failback.window", failback.window.description)
        add("failback.notice", DurationText.text(failback.notice))
        add("rejoin.bandwidth", rejoin.bandwidth.map(SizeText.text) ?? "unlimited")
        add("rejoin.window", rejoin.window.description)
        add("rejoin.diverged.age", DurationText.text(rejoin.divergedAge))
        add("rejoin.diverged.bytes", SizeText.text(rejoin.divergedBytes))
        add("tls.directory", tls.directory)
        add("log.format", log.format.rawValue)
        add("log.level", log.level.rawValue)
        add("state_directory", stateDirectory)
        add("control_socket", controlSocket)
        return values
    }

    private var limitValues: [(String, String)] {
        [
            ("limits.promote.bytes", SizeText.text(limits.promote.bytes)),
            ("limits.promote.age", DurationText.text(limits.promote.age)),
            ("limits.handover.bytes", SizeText.text(limits.handoverBytes)),
            ("limits.max_staleness", DurationText.text(limits.maxStaleness)),
            ("limits.return_standby_address.bytes", SizeText.text(limits.returnStandbyAddress.bytes)),
            ("limits.return_standby_address.age", DurationText.text(limits.returnStandbyAddress.age)),
        ]
    }

    /// The values that must agree on both hosts, by key, in one spelling each: `60s` and `1min` are equal.
    ///
    /// The order of a node's addresses counts (they make paths by their order), that of virtual addresses does not. The
    /// interface's name is left out: two hosts may call theirs differently.
    public func clusterWideValues() -> [String: String] {
        var values = [
            "cluster": cluster,
            "agent_port": String(agentPort),
            "virtual_addresses.primary": Self.list(virtualAddresses.primary.sorted { $0.description < $1.description }),
            "virtual_addresses.standby": Self.list(virtualAddresses.standby.sorted { $0.description < $1.description }),
            "postgresql.port": String(postgresql.port),
            "postgresql.database": postgresql.database,
            "replication.mode": replication.mode.rawValue,
            "arbiter.kind": arbiter.kind.rawValue,
            "preferred_primary": preferredPrimary?.text ?? "none",
            "barred_primary": barredPrimary?.text ?? "none",
            "timing.heartbeat": DurationText.text(timing.heartbeat),
            "timing.lease": DurationText.text(timing.lease),
        ]
        if let witness = arbiter.witness { values["arbiter.witness"] = "\(witness.address) port \(witness.port)" }
        for node in nodes { values["nodes.\(node.name).addresses"] = Self.list(node.addresses) }
        for (key, value) in limitValues { values[key] = value }
        return values
    }

    /// 32 hexadecimal digits that differ when the cluster-wide values differ. It guards against slips, not against attack: the
    /// link that carries it is authenticated.
    public func clusterWideDigest() -> String {
        // Lengths instead of separators: no value can pose as two.
        let values = clusterWideValues().sorted { $0.key < $1.key }
        let text = values.map { "\($0.key.utf8.count):\($0.key)\($0.value.utf8.count):\($0.value)" }.joined()
        return Self.hexadecimal(Self.hash(text.utf8)) + Self.hexadecimal(Self.hash(text.utf8.reversed()))
    }

    /// The keys in which two hosts differ, sorted; for `status`.
    public static func differingKeys(_ a: [String: String], _ b: [String: String]) -> [String] {
        Set(a.keys).union(b.keys).filter { a[$0] != b[$0] }.sorted()
    }

    /// FNV-1a, 64 bits: the same on every machine, which Swift's own hashes are not.
    private static func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    private static func hexadecimal(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private static func list(_ values: [some CustomStringConvertible]) -> String {
        "[" + values.map(\.description).joined(separator: ", ") + "]"
    }
}
