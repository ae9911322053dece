import Foundation
import TandemCore
import TandemSystem
import Testing

@testable import TandemRuntime

/// The two files: bounded, private, each readable on its own.
@Suite struct JournalFileTests {
    private func size(_ path: String) throws -> Int { Int(try FileFacts.of(path)?.sizeBytes ?? -1) }

    @Test func filesAndFolderArePrivate() throws {
        try withScratch { folder in
            let journal = folder + "/journal"
            var writer = JournalWriter(journal, limitBytes: 20_000)
            for _ in 0..<5 { writer.write(JournalStory.whole().entries) }
            let names = try FileManager.default.contentsOfDirectory(atPath: journal).sorted()
            #expect(names == ["current.jsonl", "previous.jsonl"])
            #expect(try FileFacts.of(journal)?.mode == 0o700)
            for name in names { #expect(try FileFacts.of("\(journal)/\(name)")?.mode == 0o600) }
        }
    }

    @Test func theBoundIsKeptAndTheNewerFileReplaysOnItsOwn() throws {
        try withScratch { folder in
            let limit = 40_000
            var story = JournalStory()
            var writer = JournalWriter(folder, limitBytes: limit)
            story.start()
            for _ in 0..<60 { story.second() }
            story.promotedByWord()
            for entry in story.entries {
                writer.write(entry)
                #expect(try size(folder + "/current.jsonl") <= limit)
                #expect(try size(folder + "/previous.jsonl") <= limit)
            }
            #expect(try size(folder + "/previous.jsonl") > limit / 2)
            let (newer, older) = (try Replayed(folder + "/current.jsonl"), try Replayed(folder + "/previous.jsonl"))
            for file in [newer, older] {
                #expect(file.summary.differing == 0, "\(file.text)")
                #expect(file.summary.parts == 1 && file.summary.lost == 0 && file.summary.damaged == [] && file.torn == [])
            }
            let count = newer.summary.events + older.summary.events
            #expect(count < story.entries.count, "the oldest are gone")
            let expected = story.entries.suffix(count)
            #expect(
                (older.steps + newer.steps).map(\.bootNanoseconds) == expected.map(\.moment.boot.nanoseconds),
                "none twice, none missing")
            #expect(newer.steps.contains { $0.decisions.contains { $0.cause == "promoted" } })
        }
    }

    @Test func anAgentThatStartsAgainGoesOnInTheSameFile() throws {
        try withScratch { folder in
            for run in 1...3 {
                var writer = JournalWriter(folder, program: "0.1.\(run)")
                writer.write(JournalStory.whole().entries)
            }
            let replayed = try Replayed(folder + "/current.jsonl")
            #expect(replayed.beginnings.map(\.program) == ["0.1.1", "0.1.2", "0.1.3"])
            #expect(replayed.beginnings.allSatisfy { $0.lost == 0 && $0.state == "waiting" && $0.ledger == nil })
            #expect(replayed.summary.events == 3 * JournalStory.whole().entries.count)
            #expect(replayed.summary.differing == 0)
            #expect(try FileFacts.of(folder + "/previous.jsonl") == nil)
        }
    }

    @Test(arguments: [1, 30, 200]) func theTornLineOfADeadAgentIsCutOff(missing: Int) throws {
        try withScratch { folder in
            let path = folder + "/current.jsonl"
            let entries = JournalStory.whole().entries
            var first = JournalWriter(folder)
            first.write(entries)
            let whole = try Data(contentsOf: URL(fileURLWithPath: path))
            try whole.dropLast(missing).write(to: URL(fileURLWithPath: path))
            let torn = try Replayed(path)
            #expect(torn.torn.count == 1)
            var second = JournalWriter(folder)
            second.write(entries)
            let replayed = try Replayed(path)
            #expect(replayed.torn == [] && replayed.summary.damaged == [])
            #expect(replayed.summary.parts == 2 && replayed.summary.differing == 0)
            #expect(replayed.summary.events == torn.summary.events + entries.count)
        }
    }

    @Test func aFileOfAnotherFormatIsKeptAndNothingIsAppendedToIt() throws {
        try withScratch { folder in
            let path = folder + "/current.jsonl"
            let other = Data("{\"journal\":12,\"program\":\"9.0.0\"}\nwhatever\n".utf8)
            try other.write(to: URL(fileURLWithPath: path))
            var writer = JournalWriter(folder)
            writer.write(JournalStory.whole().entries)
            #expect(try Data(contentsOf: URL(fileURLWithPath: folder + "/previous.jsonl")) == other)
            #expect(try Replayed(path).summary.differing == 0)
        }
    }

    @Test func whatIsNoFileIsRefusedWithAdvice() throws {
        try withScratch { folder in
            try FileManager.default.createDirectory(atPath: folder + "/current.jsonl", withIntermediateDirectories: true)
            #expect(throws: SystemError.self) { try JournalFile.open(folder) }
        }
        try withScratch { folder in
            #expect(mkfifo(folder + "/current.jsonl", 0o600) == 0)
            #expect(throws: SystemError.self) { try JournalFile.open(folder) }
        }
        try withScratch { folder in
            try Data().write(to: URL(fileURLWithPath: folder + "/elsewhere"))
            #expect(symlink(folder + "/elsewhere", folder + "/current.jsonl") == 0)
            #expect(throws: SystemError.self, "no link is followed") { try JournalFile.open(folder) }
        }
    }
}
