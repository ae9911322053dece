import Foundation
import TandemCore
import TandemWire
import Testing

@testable import TandemRuntime

/// What a replay shows, and what it says of a journal that is not as it should be.
@Suite struct ReplayTests {
    private func withJournal(_ entries: [JournalEntry] = JournalStory.whole().entries, _ body: (_ path: String) throws -> Void)
        throws
    {
        try withScratch { folder in
            var writer = JournalWriter(folder)
            writer.write(entries)
            try body(folder + "/current.jsonl")
        }
    }

    @Test func aPromotionIsShownWithItsReasons() throws {
        try withJournal { path in
            let replayed = try Replayed(path)
            #expect(replayed.summary.differing == 0)
            let text = replayed.steps.filter(\.isNotable).map { ReplayScreen().text(.event($0)) }.joined(separator: "\n")
            for part in [
                "the agent starts (session 16) with the ledger (8, 2, a, paired)",
                "readiness  this node could take over",
                "peer       a was not heard for 850ms: that promotes nobody; a person who knows that it is off may say so",
                "a person: failover --peer-is-down",
                "transition standby → promoting: a person vouches that the other host is off [word; protocol 4.3]",
                "warning    a person vouches that a is off: this node is promoted",
                "answer     to the person: promoting b",
                "ledger     the ledger (9, 1, b, sole) is to be written",
                "order      promote PostgreSQL #",
                "done, timeline 4 from 0/3000060 on",
                "transition promoting → primary: PostgreSQL accepts writes",
                "address    take the primary address, whoever answers for it #",
            ] {
                #expect(text.contains(part), "\(part)\n\(text)")
            }
            #expect(!text.contains("a heartbeat's time has come\n2"), "what led to nothing is not shown")
            #expect(ReplayScreen().text(replayed.summary).contains("this version decides the same"))
            #expect(ReplayScreen.failure(replayed.summary, writer: "0.1.0", reader: "0.1.0") == nil)
        }
    }

    @Test func aRefusedCommandIsShownWithEachReason() throws {
        var story = JournalStory()
        story.start()
        story.second()
        story.feed(.command(.failover(acceptDataLoss: false), RequestID(1)))
        try withJournal(story.entries) { path in
            let step = try #require(try Replayed(path).steps.last)
            #expect(step.event == "command")
            let answer = try #require(step.decisions.first { $0.kind == "answer" })
            #expect(answer.reasons?.map(\.code) == ["peerHeard"])
            #expect(ReplayScreen().text(.event(step)).contains("- the other host was heard 60ms ago: it is not down"))
        }
    }

    @Test func oneObjectPerLineForPrograms() throws {
        try withJournal { path in
            let replayed = try Replayed(path)
            let documents =
                try replayed.items.map { try ReplayDocument($0).encoded() } + [ReplayDocument(replayed.summary).encoded()]
            let objects = try documents.map {
                try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
            }
            #expect(documents.allSatisfy { !$0.contains("\n") })
            #expect(objects.first?["kind"] as? String == "beginning")
            #expect(objects.last?["kind"] as? String == "summary")
            let transitions = objects.flatMap { $0["decisions"] as? [[String: Any]] ?? [] }.filter {
                $0["kind"] as? String == "transition"
            }
            #expect(transitions.compactMap { $0["cause"] as? String } == ["ledgerNamesTheOther", "word", "promoted"])
        }
    }

    @Test func aVersionThatDecidesDifferentlyIsToldSo() throws {
        try withJournal { path in
            try rewrite(path) { lines in
                for index in lines.indices { lines[index] = lines[index].replacing("\"promote\"", with: "\"start primary\"") }
            }
            let replayed = try Replayed(path)
            #expect(replayed.summary.differing == 1)
            let step = try #require(replayed.steps.first { $0.difference != nil })
            #expect(
                step.difference?.recorded.contains("start primary") == true && step.difference?.here.contains("promote") == true)
            let text = ReplayScreen().text(.event(step))
            #expect(text.contains("DECIDED DIFFERENTLY (line \(step.line))"), "\(text)")
            let failure = try #require(ReplayScreen.failure(replayed.summary, writer: "0.0.9", reader: "0.1.0"))
            #expect(failure.contains("pgtandem 0.0.9"))
        }
    }

    @Test func anEventThatIsMissingUnnoticedIsNoticed() throws {
        try withJournal { path in
            // Somebody took the person's command out of the file.
            try rewrite(path) { $0.removeAll { $0.contains("\"command\"") } }
            #expect(try Replayed(path).summary.differing > 0)
        }
    }

    @Test func aTornLastLineIsToldAndDoesNotMatter() throws {
        try withJournal { path in
            let whole = try Replayed(path)
            let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
            try bytes.dropLast(5).write(to: URL(fileURLWithPath: path))
            let torn = try Replayed(path)
            #expect(torn.torn == [whole.summary.events + 1])
            #expect(torn.summary.events == whole.summary.events - 1 && torn.summary.differing == 0)
            #expect(ReplayScreen.failure(torn.summary, writer: "1", reader: "1") == nil)
        }
    }

    @Test func aDamagedLineIsNamedAndWhatFollowsIsLeftOutUpToTheNextStart() throws {
        let entries = JournalStory.whole().entries
        try withScratch { folder in
            for _ in 0..<2 {
                var writer = JournalWriter(folder)
                writer.write(entries)
            }
            let path = folder + "/current.jsonl"
            try rewrite(path) { $0[9] = "rubbish" + $0[9].dropFirst(7) }
            let replayed = try Replayed(path)
            #expect(replayed.summary.damaged == [10])
            // The header and eight events stand before it; the second run of the agent is whole.
            #expect(replayed.summary.events == 8 + entries.count)
            #expect(replayed.summary.differing == 0)
            #expect(replayed.text.contains("line 10 cannot be read"))
            let failure = try #require(ReplayScreen.failure(replayed.summary, writer: "1", reader: "1"))
            #expect(failure.contains("line 10 could not be read"))
        }
    }

    @Test func noDamageOfAByteIsWorseThanAWord() throws {
        var story = JournalStory()
        story.start()
        try withJournal(story.entries) { path in
            let good = try Data(contentsOf: URL(fileURLWithPath: path))
            for index in stride(from: 0, to: good.count, by: 7) {
                var bad = good
                bad[index] = UInt8(ascii: "}")
                try bad.write(to: URL(fileURLWithPath: path))
                do { _ = try Replayed(path) } catch { #expect(error is JournalError, "byte \(index): \(error)") }
            }
        }
    }

    private func refusal(_ path: String) -> String {
        do {
            _ = try JournalReader(path, program: "0.1.0")
            return "none"
        } catch {
            return "\(error)"
        }
    }

    @Test func whatCannotBeReplayedSaysWhyAndWhatToDo() throws {
        try withJournal { path in
            try rewrite(path) {
                $0[0] = $0[0].replacing("{\"journal\":2,", with: "{\"journal\":3,").replacing("0.1.0", with: "7.0.0")
            }
            let other = refusal(path)
            #expect(
                other.contains("format 3") && other.contains("pgtandem 7.0.0") && other.contains("reads format 2"), "\(other)")
        }
        try withJournal { path in
            try rewrite(path) { $0[0] = $0[0].replacing("\"heartbeats\":0,", with: "").replacing("\"0.1.0\"", with: "\"0.0.9\"") }
            let other = refusal(path)
            #expect(other.contains("heartbeats") && other.contains("the very program that wrote it, pgtandem 0.0.9"), "\(other)")
        }
        try withScratch { folder in
            #expect(refusal(folder + "/none").contains("there is no file"))
            #expect(refusal(folder).contains("is a folder: name a file in it, \(folder)/current.jsonl"))
            try Data().write(to: URL(fileURLWithPath: folder + "/empty"))
            #expect(refusal(folder + "/empty").contains("holds nothing yet"))
            try Data("{\"journal\":1,\"no".utf8).write(to: URL(fileURLWithPath: folder + "/begun"))
            #expect(refusal(folder + "/begun").contains("holds nothing yet"))
            try Data("pgtandem ledger, version 1\n".utf8).write(to: URL(fileURLWithPath: folder + "/ledger"))
            #expect(refusal(folder + "/ledger").contains("is no journal of pgtandem"))
        }
    }
}
