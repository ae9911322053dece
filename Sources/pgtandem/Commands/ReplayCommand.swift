import ArgumentParser
import TandemRuntime

struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Why it decided as it did: a recorded journal, fed through the same decision core.",
        discussion: """
            The agent keeps its journal in the folder `journal` of its state directory: current.jsonl, and what was before it in
            previous.jsonl. Each event that led to a decision is shown with the decision and its reason; the others are counted.
            Nothing is touched. Exit 1 if this version decides differently than the one that wrote the journal, or if lines of it
            cannot be read.
            Example: pgtandem replay /var/lib/pgtandem/journal/current.jsonl
            """)

    @Argument(help: "A file of a journal.") var file: String
    @Flag(help: "One JSON object per line: beginnings, events, gaps, and last a summary.") var json = false
    @Flag(help: "Events that led to nothing as well.") var all = false

    func run() throws {
        let reader: JournalReader
        do {
            reader = try JournalReader(file, program: Version.text)
        } catch {
            throw CommandFailure.failed("\(error)")
        }
        let screen = ReplayScreen { Terminal.bold($0) }
        var replay = Replay(reader)
        var differences = 0
        while let item = replay.next() {
            if case .event(let step) = item {
                if step.difference != nil { differences += 1 }
                // A state that has gone another way differs at nearly every event: the first ones tell which way.
                let tells = step.difference != nil && differences <= Self.differencesShown
                guard all || step.isNotable || tells else { continue }
            }
            Terminal.say(json ? try ReplayDocument(item).encoded() : screen.text(item))
        }
        let summary = replay.summary
        Terminal.say(json ? try ReplayDocument(summary).encoded() : "\n" + screen.text(summary))
        if let failure = ReplayScreen.failure(summary, writer: reader.program, reader: Version.text) {
            throw CommandFailure.failed(failure)
        }
    }

    private static let differencesShown = 10
}
