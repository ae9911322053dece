import ArgumentParser
import TandemRuntime
import TandemSystem
import TandemWire

struct HistoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Every change of this node's role: when, why, how long it took, and what was lost if anything.",
        discussion: """
            Each host tells its own side; the one that took over knows how long writes were out. It reads the agent's files, so it works while \
            the agent is down. Example: pgtandem history --last 3
            """)

    @OptionGroup var common: CommonOptions
    @Flag(help: "One JSON document with all entries, oldest first.") var json = false
    @Option(help: "Only so many of the newest.") var last: Int?

    struct Document: Encodable {
        var node: String
        var entries: [HistoryEntry]
    }

    func validate() throws {
        if let last, last < 1 { throw ValidationError("--last wants a number from 1 on") }
    }

    func run() throws {
        let configuration = try common.load()
        let found: (entries: [HistoryEntry], damaged: Int)
        do throws(SystemError) {
            found = try HistoryFile.read(stateDirectory: configuration.stateDirectory)
        } catch {
            throw CommandFailure.failed(
                "history: \(error). It can be read by root and by `\(configuration.postgresql.osUser)`; nothing was changed")
        }
        let entries = Array(found.entries.suffix(last ?? .max))
        if json {
            let document = Document(node: configuration.node.text, entries: entries)
            Terminal.say(String(decoding: try JSON.encode(document, pretty: true), as: UTF8.self))
        } else if entries.isEmpty {
            Terminal.say("nothing yet: no change of roles has been written on \(configuration.node)")
        } else {
            Terminal.say(entries.map { HistoryText($0).text }.joined(separator: "\n\n"))
        }
        if !json {
            Terminal.say("\n\(configuration.node)'s side; \(configuration.peer.name) has its own (`pgtandem history` there)")
        }
        if found.damaged > 0 {
            Terminal.complain("\(found.damaged) lines of the history could not be read: a power loss tears one at most")
        }
    }
}

/// One entry for a person.
struct HistoryText {
    let entry: HistoryEntry
    init(_ entry: HistoryEntry) { self.entry = entry }

    var text: String {
        var head = "\(Terminal.bold(entry.at))  \(entry.node): \(entry.from) -> \(entry.to)"
        if let term = entry.term { head += "  term \(term).\(entry.step ?? 0)\(entry.bond.map { " \($0)" } ?? "")" }
        if let out = entry.writes_out_ms { head += "  writes out \(out) ms" }
        var lines = [head, "  why     \(entry.why)"]
        for evidence in entry.evidence { lines.append("          - \(evidence)") }
        if !entry.phases.isEmpty {
            lines.append("  phases  " + entry.phases.map { "\($0.name) \($0.ms) ms" }.joined(separator: ", "))
        }
        if let wal = entry.wal {
            let parts = [
                wal.fork.map { "promoted at \($0)" }, wal.timeline.map { "timeline \($0)" },
                wal.heard.map { "the primary was heard at \($0)" },
                wal.received.map { "received here up to \($0)" },
            ]
            lines.append("  WAL     " + parts.compactMap(\.self).joined(separator: ", "))
        }
        if let lost = entry.lost {
            lines.append("  lost    \(lost.text)")
            if let folder = lost.kept_in { lines.append("          kept in \(folder)") }
        }
        return lines.joined(separator: "\n")
    }
}
