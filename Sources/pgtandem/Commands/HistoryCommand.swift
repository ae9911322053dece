import ArgumentParser
import TandemConfiguration
import TandemNetwork
import TandemRuntime
import TandemSystem
import TandemWire

struct HistoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Every change of roles: when, why, how long it took, and what was lost if anything.",
        discussion: """
            Both hosts' sides in one list, by their clocks. This host's side is read from its files, so it is told while its agent is down; the \
            other one's agent is asked for its own, and if it does not answer, this host's side is shown alone. Example: pgtandem history --last 3
            """)

    @OptionGroup var common: CommonOptions
    @Flag(help: "One JSON document with all entries, oldest first.") var json = false
    @Option(help: "Only so many of the newest.") var last: Int?
    @Flag(name: .customLong("local"), help: "Only what this host wrote; the other one is not asked.") var isLocal = false

    struct Document: Encodable {
        var node: String
        var entries: [HistoryEntry]
        /// How many older entries of the other host had no room in its answer.
        var left_out: Int?
        /// Why the other host's side is not in it.
        var missing: Missing?
        struct Missing: Encodable {
            var node: String
            var reason: String
        }
    }

    func validate() throws {
        if let last, last < 1 { throw ValidationError("--last wants a number from 1 on") }
    }

    func run() throws {
        let configuration = try common.load()
        let own: (entries: [HistoryEntry], damaged: Int)
        do throws(SystemError) {
            own = try HistoryFile.read(stateDirectory: configuration.stateDirectory)
        } catch {
            throw CommandFailure.failed(
                "history: \(error). It can be read by root and by `\(configuration.postgresql.osUser)`; nothing was changed")
        }
        let peer = configuration.peer.name.text
        var document = Document(node: configuration.node.text, entries: own.entries)
        var theirs: HistoryAnswerDocument?
        if !isLocal {
            do {
                let answer = try Self.ask(configuration, last)
                if let problem = answer.problem { throw CommandFailure.failed(problem) }
                theirs = answer
                document.entries = HistoryEntry.merged(own.entries, answer.entries)
                if answer.left_out > 0 { document.left_out = answer.left_out }
            } catch {
                document.missing = .init(node: peer, reason: "\(error)")
            }
        }
        document.entries = Array(document.entries.suffix(last ?? .max))
        if json {
            Terminal.say(String(decoding: try JSON.encode(document, pretty: true), as: UTF8.self))
        } else {
            tell(document, peer, theirs)
        }
        Self.complain(own.damaged, configuration.node.text)
        Self.complain(theirs?.damaged ?? 0, peer)
    }

    private func tell(_ document: Document, _ peer: String, _ theirs: HistoryAnswerDocument?) {
        if document.entries.isEmpty {
            Terminal.say(
                "nothing yet: no change of roles has been written \(theirs == nil ? "on \(document.node)" : "on either host")")
        } else {
            Terminal.say(document.entries.map { HistoryText($0).text }.joined(separator: "\n\n"))
        }
        if let theirs {
            if theirs.left_out > 0 {
                Terminal.say(
                    "\n\(theirs.left_out) older entries of \(peer) are not shown; it has them (`pgtandem history --local` there)")
            }
        } else {
            Terminal.say("\nonly \(document.node)'s side; \(peer) has its own (`pgtandem history` there)")
            if let missing = document.missing { Terminal.complain("\(peer) was asked for its side: \(missing.reason)") }
        }
    }

    private static func complain(_ damaged: Int, _ node: String) {
        guard damaged > 0 else { return }
        Terminal.complain("\(damaged) lines of \(node)'s history could not be read: a power loss tears one at most")
    }

    /// The other host's side, from its agent.
    private static func ask(_ configuration: Configuration, _ last: Int?) throws -> HistoryAnswerDocument {
        let identity = try TLSIdentity.load(
            directory: configuration.tls.directory, cluster: configuration.cluster, node: configuration.node.text)
        let client = try PeerCall.connect(configuration, identity, deadline: .seconds(2))
        defer { client.close() }
        try client.send(
            kind: FrameKind.historyRequest, payload: try JSON.encode(HistoryRequestDocument(last: last)), deadline: .seconds(5))
        while true {
            let frame = try client.receive(deadline: .seconds(5))
            guard frame.kind == FrameKind.historyAnswer else { continue }
            return try JSON.decode(HistoryAnswerDocument.self, from: frame.payload)
        }
    }
}
