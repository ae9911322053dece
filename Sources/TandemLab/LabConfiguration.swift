/// The configuration files of a pair in the lab: what a person would write for two hosts like these.
public struct LabConfiguration: Sendable {
    public enum Layout: Sendable {
        /// The data directory is empty, or holds its own configuration files.
        case plain
        /// Configuration below /etc/postgresql, as Debian's packages make it.
        case debian
    }

    public var cluster = "orders"
    /// `synchronous` or `asynchronous`.
    public var mode = "synchronous"
    public var layout = Layout.plain
    /// The IPv6 virtual addresses too.
    public var hasIPv6 = false
    /// `fast`, `standard` or `relaxed`.
    public var timing = "standard"
    /// `witness` (the lab must have one) or `manual`.
    public var arbiterKind = "manual"
    /// How long PostgreSQL may hang, as `3s`; nil: the default.
    public var hangPatience: String?
    /// Lines added at the end.
    public var more = ""

    public init() {}

    /// Where the agents' programs are told to look.
    public static let path = "/etc/pgtandem/pgtandem.yml"
    public static let tlsDirectory = "/etc/pgtandem/tls"
    /// On the witness's machine.
    public static let witnessTLSDirectory = "/etc/pgtandem-witness/tls"
    public static let witnessStateDirectory = "/var/lib/pgtandem-witness"

    /// The file of one node.
    public func yaml(node: LabHost, hosts: [LabHost]) -> String {
        let nodes = hosts.map { host in
            let addresses = (0..<host.plug.paths).map { host.plug.address(path: $0) }.joined(separator: ", ")
            return "  \(host.name): { addresses: [\(addresses)] }"
        }
        let primary = [Lab.primaryAddress] + (hasIPv6 ? ["\"\(Lab.primaryAddress6)\""] : [])
        let standby = [Lab.standbyAddress] + (hasIPv6 ? ["\"\(Lab.standbyAddress6)\""] : [])
        var lines = ["cluster: \(cluster)", "node: \(node.name)", "nodes:"] + nodes
        lines += [
            "agent_port: 7432",
            "virtual_addresses:",
            "  interface: eth0",
            "  primary: [\(primary.joined(separator: ", "))]",
            "  standby: [\(standby.joined(separator: ", "))]",
            "gateway: \(Lab.gatewayAddress)",
            "postgresql:",
            "  bin_directory: \(LabPostgres.binaries)",
            "  data_directory: \(LabPostgres.debianDataDirectory)",
        ]
        if let hangPatience { lines.append("  hang_patience: \(hangPatience)") }
        if layout == .debian {
            lines += [
                "  config_file: /etc/postgresql/\(LabPostgres.version)/main/postgresql.conf",
                "  hba_file: /etc/postgresql/\(LabPostgres.version)/main/pg_hba.conf",
            ]
        }
        lines += [
            "replication: { mode: \(mode) }",
            arbiterKind == "witness"
                ? "arbiter: { kind: witness, witness: { address: \(Lab.witnessAddress), port: \(Lab.witnessPort) } }"
                : "arbiter: { kind: \(arbiterKind) }",
            "timing: { profile: \(timing) }",
            "tls: { directory: \(LabConfiguration.tlsDirectory) }",
            "state_directory: /var/lib/pgtandem",
            "control_socket: /run/pgtandem/pgtandem.sock",
        ]
        return (lines + (more.isEmpty ? [] : [more])).joined(separator: "\n") + "\n"
    }
}
