import TandemConfiguration
import TandemNetwork
import TandemRuntime
import TandemWire

/// A command's own connection to the other host's agent. It shows this node's certificate and greets as nobody's session, so its words
/// are no agent's.
enum PeerCall {
    /// By the first of the peer's addresses that answers.
    /// - Parameter deadline: for each of them.
    static func connect(_ configuration: Configuration, _ identity: TLSIdentity, deadline: Duration) throws -> LinkClient {
        let hello = HelloDocument(
            program: Version.text, cluster: configuration.cluster, node: configuration.node.text, session: 0, boot: "",
            digest: configuration.clusterWideDigest(), configuration: configuration.clusterWideValues())
        let greeting = try JSON.encode(hello)
        let name = configuration.peer.name.text
        var reasons: [String] = []
        var isRefused = false
        for address in configuration.peer.addresses {
            do throws(LinkError) {
                return try LinkClient.connect(
                    identity: identity, peer: name, host: address.description, port: configuration.agentPort, hello: greeting,
                    deadline: deadline)
            } catch {
                reasons.append("\(error)")
                if error.kind == .refused { isRefused = true }
            }
        }
        // It answers, and another try would be refused again.
        if isRefused { throw CommandFailure.failed("the agent on \(name) refuses this host: \(reasons.joined(separator: "; "))") }
        throw CommandFailure.unreachable(
            "the agent on \(name) cannot be reached; it must run (systemctl start pgtandem there): \(reasons.joined(separator: "; "))"
        )
    }
}
