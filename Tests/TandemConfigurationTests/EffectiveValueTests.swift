import Testing

@testable import TandemConfiguration

@Suite struct EffectiveValueTests {
    @Test func everyValueIsShownWithItsOrigin() throws {
        let values = try Fixture.parse(Fixture.minimal + "log: { level: debug }\nlimits: { max_staleness: 60s }\n")
            .effectiveValues()
        func shown(_ key: String) -> String? { values.first { $0.key == key }.map { "\($0.value) \($0.origin)" } }
        #expect(shown("cluster") == "orders pair.yml:1")
        #expect(shown("nodes.a.addresses") == "[10.77.0.11] pair.yml:4")
        #expect(shown("virtual_addresses.primary") == "[10.77.0.100/32] pair.yml:8")
        #expect(shown("log.level") == "debug pair.yml:13")
        #expect(shown("log.format") == "text default")
        #expect(shown("limits.max_staleness") == "1min pair.yml:14")
        #expect(shown("limits.promote.bytes") == "16MB default")
        #expect(shown("gateway") == "none default")
        #expect(shown("timing.lease") == "2s default")
        #expect(shown("postgresql.config_file") == "/var/lib/postgresql/15/main/postgresql.conf default")
        #expect(Set(values.map(\.key)).count == values.count)
    }

    @Test func whatIsShownCanBeReadAgain() throws {
        let configuration = try Fixture.parse(Fixture.minimal + "timing: { profile: fast }\ngateway: 10.77.0.1\n")
        var sections: [String: [String]] = [:]
        var lines: [String] = []
        let fromProfile = ["timing.heartbeat", "timing.lease"]
        for value in configuration.effectiveValues() where !fromProfile.contains(value.key) && !value.key.hasPrefix("nodes.") {
            let parts = value.key.split(separator: ".").map(String.init)
            switch parts.count {
            case 1: lines.append("\(parts[0]): \(value.value)")
            case 2: sections[parts[0], default: []].append("\(parts[1]): \(value.value)")
            default: sections[parts[0], default: []].append("\(parts[1]): { \(parts[2]): \(value.value) }")
            }
        }
        // Two keys of one inner section would be given twice here; the outer values are enough.
        sections["limits"] = nil
        sections["rejoin"]?.removeAll { $0.hasPrefix("diverged") }
        lines += sections.map { "\($0.key): { \($0.value.joined(separator: ", ")) }" }
        lines.append("nodes: { a: { addresses: [10.77.0.11] }, b: { addresses: [10.77.0.12] } }")
        let again = try Fixture.parse(lines.joined(separator: "\n") + "\n")
        #expect(again.effectiveValues().map(\.value) == configuration.effectiveValues().map(\.value))
    }

    @Test func aLeaseOfOnesOwnIsShownWithItsPlace() throws {
        let configuration = try Fixture.parse(Fixture.minimal + "timing:\n  heartbeat: 100ms\n  lease: 800ms\n")
        let values = configuration.effectiveValues().filter { $0.key.hasPrefix("timing.") }
        #expect(
            values.map { "\($0.key) \($0.value) \($0.origin)" } == [
                "timing.heartbeat 100ms pair.yml:14", "timing.lease 800ms pair.yml:15",
            ])
    }

    /// A digest that changed with the version of the program, or with the machine, would set two equal hosts against each other.
    @Test func theDigestIsTheSameOnEveryMachineAndInEveryRun() throws {
        #expect(try Fixture.parse(Fixture.minimal).clusterWideDigest() == "359da4418c62d5e475b9f6ab93154df8")
    }

    @Test(arguments: [
        ("node: a", "node: b"), ("interface: eth0", "interface: ens3"), ("/var/lib/postgresql/15/main", "/srv/data"),
        ("cluster: orders\n", "cluster: orders\nlog: { level: debug }\ngateway: 10.77.0.1\n"),
        ("cluster: orders\n", "cluster: orders\ntls: { directory: /tls }\nstate_directory: /state\n"),
        ("cluster: orders\n", "cluster: orders\nagent_port: 7432\nlimits: { promote: { bytes: 16384kB, age: 1min } }\n"),
        ("cluster: orders\n", "cluster: orders\ntiming: { heartbeat: 200ms }\nreplication: { user: other }\n"),
        ("cluster: orders\n", "cluster: orders\ntiming: { heartbeat: 200ms, lease: 2000ms }\n"),
        ("primary: [10.77.0.100]", "primary: [10.77.0.100/32]"),
    ])
    func whatMayDifferBetweenTheHostsDoesNotChangeTheDigest(old: String, new: String) throws {
        let a = try Fixture.parse(Fixture.minimal), b = try Fixture.parse(Fixture.replacing(old, new))
        #expect(a.clusterWideDigest() == b.clusterWideDigest())
        #expect(Configuration.differingKeys(a.clusterWideValues(), b.clusterWideValues()) == [])
    }

    @Test(arguments: [
        ("cluster: orders", "cluster: orders2", ["cluster"]),
        ("cluster: orders", "cluster: orders\nagent_port: 7433", ["agent_port"]),
        ("10.77.0.12", "10.77.0.13", ["nodes.b.addresses"]),
        ("  b: {", "  c: {", ["nodes.b.addresses", "nodes.c.addresses"]),
        ("10.77.0.101", "10.77.0.102", ["virtual_addresses.standby"]),
        ("10.77.0.100]", "10.77.0.100/24]", ["virtual_addresses.primary"]),
        ("cluster: orders", "cluster: orders\ntiming: { profile: fast }", ["timing.heartbeat", "timing.lease"]),
        ("cluster: orders", "cluster: orders\ntiming: { heartbeat: 200ms, lease: 3s }", ["timing.lease"]),
        ("cluster: orders", "cluster: orders\nreplication: { mode: asynchronous }", ["replication.mode"]),
        (
            "cluster: orders", "cluster: orders\nlimits: { max_staleness: 31s, handover: { bytes: 1MB } }",
            ["limits.handover.bytes", "limits.max_staleness"]
        ),
        ("  data_directory", "  port: 5433\n  database: app\n  data_directory", ["postgresql.database", "postgresql.port"]),
    ])
    func whatMustAgreeChangesTheDigestAndIsNamed(old: String, new: String, keys: [String]) throws {
        let a = try Fixture.parse(Fixture.minimal), b = try Fixture.parse(Fixture.replacing(old, new))
        #expect(a.clusterWideDigest() != b.clusterWideDigest())
        #expect(Configuration.differingKeys(a.clusterWideValues(), b.clusterWideValues()) == keys)
    }

    @Test func theOrderOfAddressesCountsForNodesOnly() throws {
        func digest(_ primary: String, _ a: String) throws -> String {
            let text = Fixture.replacing("[10.77.0.100]", primary).replacing("[10.77.0.11]", with: a)
                .replacing("[10.77.0.12]", with: "[10.77.0.12, 10.78.0.12]")
            return try Fixture.parse(text).clusterWideDigest()
        }
        let plain = try digest("[10.77.0.100, 10.77.0.99]", "[10.77.0.11, 10.78.0.11]")
        #expect(try digest("[10.77.0.99, 10.77.0.100]", "[10.77.0.11, 10.78.0.11]") == plain)
        #expect(try digest("[10.77.0.100, 10.77.0.99]", "[10.78.0.11, 10.77.0.11]") != plain)
    }
}
