import TandemCore
import Yams

/// Builds a configuration from a document, section by section, and collects every problem on the way.
struct ConfigurationReader {
    let reader: Reader
    let root: Section

    init(_ document: Document) {
        reader = Reader(document)
        root = reader.root()
    }

    /// nil when something is wrong; `reader` knows what.
    func configuration() -> Configuration? {
        // All sections are read, also behind an error: a person wants to correct a file once, not twenty times.
        let cluster = root.required("cluster", example: "orders", why: "the pair's name, the same on both hosts", NameText.name)
        let nodes = readNodes()
        let node = root.required("node", example: "a", why: "which of the two nodes this host is", NameText.name)
        let agentPort = root.number("agent_port", default: 7432, IntegerText.port)
        let virtualAddresses = readVirtualAddresses()
        let gateway = root.value("gateway", default: nil, AddressText.addressOrNone)
        let postgresql = readPostgreSQL()
        let replication = readReplication()
        let limits = readLimits()
        let arbiter = readArbiter()
        let timing = readTiming()
        let watchdog = root.section("watchdog").value("device", default: nil, NameText.pathOrNone)
        let preferred = root.value("preferred_primary", default: nil, Self.nodeOrNone)
        let barred = root.value("barred_primary", default: nil, Self.nodeOrNone)
        let failback = readFailback()
        let rejoin = readRejoin()
        let tls = root.section("tls").value("directory", default: "/etc/pgtandem/tls", NameText.path)
        let log = readLog()
        let stateDirectory = root.value("state_directory", default: "/var/lib/pgtandem", NameText.path)
        let controlSocket = root.value("control_socket", default: "/run/pgtandem/pgtandem.sock") { text throws(ValueError) in
            try NameText.socket(text)
        }

        let rules = Rules(reader: reader)
        rules.check(node: node, isOneOf: nodes)
        rules.check(preferred: preferred ?? nil, barred: barred ?? nil, areOf: nodes, root)
        rules.checkAddresses(
            nodes: nodes ?? [], virtual: virtualAddresses,
            others: [placedGateway(gateway ?? nil), placedWitness(arbiter?.witness)].compactMap(\.self))
        rules.checkPorts(agent: agentPort, postgresql: postgresql?.port)
        rules.check(replication: replication, superuser: postgresql?.superuser)

        guard let cluster, let nodes, let node, let agentPort, let virtualAddresses, let gateway, let postgresql, let replication,
            let limits, let arbiter, let timing, let watchdog, let preferred, let barred, let failback, let rejoin, let tls,
            let log, let stateDirectory, let controlSocket
        else { return nil }
        return Configuration(
            cluster: cluster.value, node: NodeName(node.value), nodes: nodes.map(\.node), agentPort: agentPort,
            virtualAddresses: virtualAddresses.value, gateway: gateway, postgresql: postgresql, replication: replication,
            limits: limits, arbiter: arbiter, timing: timing,
            watchdog: Configuration.Watchdog(device: watchdog), preferredPrimary: preferred, barredPrimary: barred,
            failback: failback, rejoin: rejoin, tls: Configuration.TLS(directory: tls), log: log,
            stateDirectory: stateDirectory, controlSocket: controlSocket, file: reader.document.file, warnings: [],
            origins: reader.origins)
    }

    private func placedGateway(_ gateway: IPAddress?) -> Placed<IPAddress>? {
        gateway.map { Placed(value: $0, key: "gateway", position: root.values["gateway"]?.value.position) }
    }

    private func placedWitness(_ witness: Configuration.Arbiter.Witness?) -> Placed<IPAddress>? {
        // Not by its section: that was read already, with all that is wrong in it.
        let position = root.values["arbiter"]?.value["witness"]?["address"]?.position
        return witness.map { Placed(value: $0.address, key: "arbiter.witness.address", position: position) }
    }

    // MARK: Nodes and addresses

    struct PlacedNode {
        var node: Configuration.Node
        var addresses: [Placed<IPAddress>]
        var position: Position?
    }

    /// nil when they cannot be used; ordered by name, as both hosts must see them in the same order.
    private func readNodes() -> [PlacedNode]? {
        let example = "{ a: { addresses: [10.77.0.11] }, b: { addresses: [10.77.0.12] } }"
        let section = root.requiredSection("nodes", example: example, why: "both hosts and their addresses")
        if section.isBroken { return nil }
        let names = section.order.filter { section.values[$0] != nil }
        if names.count != 2 {
            let found = names.isEmpty ? "none is given" : "\(names.count) given: \(names.joined(separator: ", "))"
            reader.report(
                "a pair has exactly two nodes, and here \(names.count == 1 ? "is one" : found)", line: section.line, key: "nodes",
                advice: "Write for example `nodes: \(example)`.")
        }
        var nodes: [PlacedNode] = []
        for name in names {
            guard let entry = section.values[name] else { continue }
            do throws(ValueError) {
                _ = try NameText.node(name)
            } catch {
                reader.report(error.message, at: entry.key, key: "nodes.\(name)", advice: error.advice)
                continue
            }
            let part = nodeSection(name, entry)
            guard let addresses = part.list("addresses", example: "[10.77.0.11]", AddressText.address) else { continue }
            nodes.append(
                PlacedNode(
                    node: Configuration.Node(name: NodeName(name), addresses: addresses.map(\.value)), addresses: addresses,
                    position: entry.key))
        }
        guard nodes.count == 2, names.count == 2 else { return nil }
        return nodes.sorted { $0.node.name < $1.node.name }
    }

    private func nodeSection(_ name: String, _ entry: Entry) -> Section {
        let path = "nodes.\(name)"
        if let mapping = entry.value.mapping {
            return reader.section(mapping, path: path, schema: "nodes.*", line: entry.key?.line)
        }
        if !entry.isEmpty {
            reader.report(
                "the addresses of a node stand under `addresses`", at: entry.value.position ?? entry.key, key: path,
                advice: "Write `\(name): { addresses: [10.77.0.11] }`.")
        }
        return Section(reader: reader, path: path, line: entry.key?.line, values: [:], order: [], isBroken: !entry.isEmpty)
    }

    struct PlacedVirtualAddresses {
        var value: Configuration.VirtualAddresses
        var places: [Placed<PrefixedAddress>]
    }

    private func readVirtualAddresses() -> PlacedVirtualAddresses? {
        let section = root.requiredSection(
            "virtual_addresses", example: "{ interface: eth0, primary: [10.77.0.100], standby: [10.77.0.101] }",
            why: "the addresses that follow the roles")
        let interface = section.required("interface", example: "eth0", NameText.interface)
        let primary = section.list("primary", example: "[10.77.0.100]", AddressText.prefixed)
        let standby = section.list("standby", example: "[10.77.0.101]", AddressText.prefixed)
        let places = (primary ?? []) + (standby ?? [])
        for place in places {
            guard let doubt = AddressText.doubt(about: place.value) else { continue }
            reader.report(doubt.message, at: place.position, key: place.key, advice: doubt.advice, severity: .warning)
        }
        guard let interface, let primary, let standby else { return nil }
        return PlacedVirtualAddresses(
            value: Configuration.VirtualAddresses(
                interface: interface.value, primary: primary.map(\.value), standby: standby.map(\.value)),
            places: places)
    }

    // MARK: PostgreSQL

    private func readPostgreSQL() -> Configuration.PostgreSQL? {
        let section = root.section("postgresql")
        let directory = section.required(
            "data_directory", example: "/var/lib/postgresql/15/main", why: "where PostgreSQL's data are", NameText.path)
        let home = directory?.value ?? ""
        let bin = section.value("bin_directory", default: "/usr/lib/postgresql/15/bin", NameText.path)
        let config = section.value("config_file", default: home + "/postgresql.conf", NameText.path)
        let hba = section.value("hba_file", default: home + "/pg_hba.conf", NameText.path)
        let osUser = section.value("os_user", default: "postgres", NameText.systemUser)
        let database = section.value("database", default: "postgres", NameText.database)
        let port = section.number("port", default: 5432, IntegerText.port)
        let socket = section.value("socket_directory", default: "/var/run/postgresql") { text throws(ValueError) in
            try NameText.socket(text, adding: "/.s.PGSQL.\(port ?? 5432)")
        }
        let superuser = section.value("superuser", default: "postgres", NameText.role)
        let hang = section.value("hang_patience", default: .seconds(10), Self.patience)
        guard let directory, let bin, let config, let hba, let osUser, let database, let port, let socket, let superuser, let hang
        else { return nil }
        return Configuration.PostgreSQL(
            binDirectory: bin, dataDirectory: directory.value, configFile: config, hbaFile: hba, osUser: osUser,
            database: database,
            port: port, socketDirectory: socket, superuser: superuser, hangPatience: hang)
    }

    private func readReplication() -> Configuration.Replication? {
        let section = root.section("replication")
        let mode = section.word("mode", default: Configuration.Replication.Mode.synchronous)
        let user = section.value("user", default: "pgtandem_replication", NameText.role)
        let file = section.value("password_file", default: "/etc/pgtandem/replication.pass", NameText.path)
        guard let mode, let user, let file else { return nil }
        return Configuration.Replication(mode: mode, user: user, passwordFile: file)
    }
}
