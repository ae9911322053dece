import TandemCore

/// Rules that concern more than one value.
struct Rules {
    let reader: Reader

    func check(node: Placed<String>?, isOneOf nodes: [ConfigurationReader.PlacedNode]?) {
        guard let node, let nodes else { return }
        let names = nodes.map(\.node.name.text)
        guard !names.contains(node.value) else { return }
        reader.report(
            "`\(node.value)` is none of the nodes", at: node.position, key: "node",
            advice: "Write the one that this host is: \(names.map { "`\($0)`" }.joined(separator: " or ")).")
    }

    func check(preferred: NodeName?, barred: NodeName?, areOf nodes: [ConfigurationReader.PlacedNode]?, _ root: Section) {
        guard let nodes else { return }
        let names = nodes.map(\.node.name)
        for (key, node) in [("preferred_primary", preferred), ("barred_primary", barred)] {
            guard let node, !names.contains(node) else { continue }
            reader.report(
                "`\(node)` is none of the nodes", at: root.values[key]?.value.position, key: key,
                advice: "Write \(names.map { "`\($0)`" }.joined(separator: ", ")) or `none`.")
        }
        if let barred, barred == preferred {
            reader.report(
                "`\(barred)` cannot be preferred and barred", at: root.values["barred_primary"]?.value.position,
                key: "barred_primary",
                advice: "Keep one of the two lines.")
        }
    }

    /// No address twice: two owners of one address is the accident that this program exists to prevent.
    func checkAddresses(
        nodes: [ConfigurationReader.PlacedNode], virtual: ConfigurationReader.PlacedVirtualAddresses?, others: [Placed<IPAddress>]
    ) {
        let virtual = (virtual?.places ?? []).map { Placed(value: $0.value.address, key: $0.key, position: $0.position) }
        var owners: [IPAddress: Placed<IPAddress>] = [:]
        for use in nodes.flatMap(\.addresses) + virtual + others {
            if use.value.isLoopback {
                reader.report(
                    "\(use.value) is a loopback address, which only this host itself reaches", at: use.position, key: use.key,
                    advice: "Give an address that the other host reaches.", severity: .warning)
            }
            guard let owner = owners[use.value] else {
                owners[use.value] = use
                continue
            }
            let place = owner.position.map { " in line \($0.line)" } ?? ""
            reader.report(
                "\(use.value) is used already, by `\(owner.key)`\(place)", at: use.position, key: use.key,
                advice: use.key == "arbiter.witness.address"
                    ? "Run the witness on a third machine: on one of the two hosts it would be gone together with it."
                    : "Give each node, each role and the gateway an address of its own.")
        }
        guard nodes.count == 2 else { return }
        checkPaths(nodes[0], nodes[1])
    }

    /// The addresses of the two nodes make paths by their order: first with first, second with second.
    private func checkPaths(_ a: ConfigurationReader.PlacedNode, _ b: ConfigurationReader.PlacedNode) {
        for (left, right) in zip(a.addresses, b.addresses) where left.value.family != right.value.family {
            reader.report(
                "\(right.value) and \(left.value) of `\(left.key)` make one path, and one is IPv4, the other IPv6",
                at: right.position,
                key: right.key, advice: "List the addresses of both nodes in the same order.")
        }
        if a.addresses.count != b.addresses.count {
            let more = a.addresses.count > b.addresses.count ? a : b
            let counts = "`\(a.node.name)` has \(a.addresses.count) and `\(b.node.name)` has \(b.addresses.count) addresses"
            reader.report(
                "\(counts): those without a partner make no path", at: more.addresses.last?.position,
                key: more.addresses.last?.key,
                advice: "Give both nodes equally many.", severity: .warning)
        }
    }

    func checkPorts(agent: Int?, postgresql: Int?) {
        guard let agent else { return }
        if agent == postgresql {
            reader.report(
                "\(agent) is PostgreSQL's port too", line: place(of: "agent_port") ?? place(of: "postgresql.port"),
                key: "agent_port",
                advice: "Give the agents' link a port of its own, for example 7432.")
        }
        if agent < 1024 {
            reader.report(
                "the agent does not run as root, and ports below 1024 are kept from others", line: place(of: "agent_port"),
                key: "agent_port", advice: "Choose a port from 1024 on.", severity: .warning)
        }
    }

    /// `init` gives the replication role its password and takes from it whatever it does not need.
    func check(replication: Configuration.Replication?, superuser: String?) {
        guard let replication, replication.user == superuser else { return }
        reader.report(
            "`\(replication.user)` is the superuser, whose password and rights would be changed",
            line: place(of: "replication.user") ?? place(of: "postgresql.superuser"), key: "replication.user",
            advice: "Give replication a role of its own; `init` creates it.")
    }

    private func place(of key: String) -> Int? {
        if case .file(_, let line) = reader.origins[key] { return line }
        return nil
    }
}
