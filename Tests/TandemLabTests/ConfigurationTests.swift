import Testing

@testable import TandemLab

@Suite("The bring-up of a pair")
struct ConfigurationTests {
    @Test(
        "The lab's configuration names both nodes, the addresses of the role and every path of the network",
        .enabled(if: LabFixture.canRun))
    func yaml() throws {
        let lab = try Lab(LabOptions(binary: LabFixture.binary, secondPath: true))
        var configuration = LabConfiguration()
        configuration.hasIPv6 = true
        configuration.layout = .debian
        let yaml = configuration.yaml(node: try lab.host("b"), hosts: lab.hosts)
        #expect(yaml.contains("\nnode: b\n"))
        #expect(yaml.contains("  a: { addresses: [10.77.0.11, 10.77.1.11] }\n"))
        #expect(yaml.contains("  primary: [10.77.0.100, \"fd77::100\"]\n"))
        #expect(yaml.contains("  config_file: /etc/postgresql/15/main/postgresql.conf\n"))
        #expect(yaml.contains("arbiter: { kind: manual }\n"))
        #expect(!yaml.contains("hang_patience"))
        configuration.arbiterKind = "witness"
        configuration.hangPatience = "3s"
        #expect(configuration.yaml(node: try lab.host("b"), hosts: lab.hosts).contains("\n  hang_patience: 3s\n"))
        #expect(
            configuration.yaml(node: try lab.host("b"), hosts: lab.hosts).contains(
                "\narbiter: { kind: witness, witness: { address: 10.77.0.13, port: 7433 } }\n"))
    }

    @Test("The status is understood whether it is of one node or of both")
    func status() throws {
        #expect(try LabScript.Status(#"{"node":"a","bond":"paired","role":"primary"}"#).bond == "paired")
        #expect(try LabScript.Status(#"{"nodes":[{"node":"a","bond":"sole","role":"primary"}]}"#).bond == "sole")
        #expect(throws: LabError.self) { try LabScript.Status("not reachable") }
    }
}
