import ArgumentParser
import TandemNetwork

struct TLSCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tls", abstract: "Certificates for the agents' link.", subcommands: [Create.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a certificate authority, and a folder of certificates per node.",
            discussion: """
                Copy each node's folder to /etc/pgtandem/tls of its host; keep DIR/ca.key where neither host is.
                Example: pgtandem tls create --cluster orders --directory ./tls
                """)
        @Option(help: "The cluster's name, as in the configuration.") var cluster: String
        @Option(help: "Where to make the folders.") var directory: String
        @Option(help: "The names of the two nodes.") var nodes = "a,b"
        @Option(help: "For how many days the certificates are good.") var days = TLSAuthority.defaultDays

        func run() throws {
            let names = nodes.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            do {
                let files = try TLSAuthority.create(cluster: cluster, directory: directory, nodes: names, days: days)
                for path in files.made { Terminal.say("made \(path)") }
                for path in files.left { Terminal.say("left as it is: \(path)") }
            } catch {
                throw CommandFailure.failed("\(error)")
            }
        }
    }
}
