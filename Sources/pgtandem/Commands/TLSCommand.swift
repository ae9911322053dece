import ArgumentParser
import TandemNetwork

struct TLSCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tls", abstract: "Certificates of the hosts and the witness.", subcommands: [Create.self, Renew.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a certificate authority, and a folder of certificates per node.",
            discussion: """
                Copy each node's folder to /etc/pgtandem/tls of its host, the folder witness to /etc/pgtandem-witness/tls of the
                witness, and give it to the user that runs there (chown -R). Keep DIR/ca.key where neither host is.
                Example: pgtandem tls create --cluster orders --directory ./tls
                """)
        @Option(help: "The cluster's name, as in the configuration.") var cluster: String
        @Option(help: "Where to make the folders.") var directory: String
        @Option(help: "The names of the two nodes.") var nodes = "a,b"
        @Option(help: "For how many days the certificates are good.") var days = TLSAuthority.defaultDays

        func run() throws {
            try TLSCommand.tell {
                try TLSAuthority.create(cluster: cluster, directory: directory, nodes: names(nodes), days: days)
            }
        }
    }

    struct Renew: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make new keys and certificates, signed by the authority that `tls create` made.",
            discussion: """
                DIR is the folder that `pgtandem tls create` made, with ca.key in it. Copy the folders of the nodes to their places as you
                did then, and reload: systemctl reload pgtandem, on the witness systemctl reload pgtandem-witness. Old and new ones
                work side by side, so there is no hurry between the hosts.
                Example: pgtandem tls renew --cluster orders --directory ./tls
                """)
        @Option(help: "The cluster's name, as in the configuration.") var cluster: String
        @Option(help: "The folder with the authority.") var directory: String
        @Option(help: "Whose certificates: nodes, and the witness.") var nodes = "a,b,\(TLSAuthority.witness)"
        @Option(help: "For how many days the certificates are good.") var days = TLSAuthority.defaultDays

        func run() throws {
            try TLSCommand.tell {
                try TLSAuthority.renew(cluster: cluster, directory: directory, nodes: names(nodes), days: days)
            }
        }
    }

    private static func tell(_ work: () throws -> TLSFiles) throws {
        do {
            let files = try work()
            for path in files.made { Terminal.say("made \(path)") }
            for path in files.left { Terminal.say("left as it is: \(path)") }
        } catch {
            throw CommandFailure.failed("\(error)")
        }
    }
}

/// As they are given: a name that cannot be one is told by its own error.
private func names(_ list: String) -> [String] { list.split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
