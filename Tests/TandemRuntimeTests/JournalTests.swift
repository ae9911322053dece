import Foundation
import Synchronization
import TandemCore
import TandemSystem
import Testing

@testable import TandemRuntime

/// The journal as the agent has it: it never waits, and nothing of it is an error.
@Suite struct JournalTests {
    private func record(_ entries: [JournalEntry], in journal: Journal) {
        for entry in entries { journal.record(entry.event, at: entry.moment, before: entry.before, effects: entry.effects) }
    }

    @Test func whatIsRecordedCanBeReplayed() throws {
        try withScratch { folder in
            let entries = JournalStory.whole().entries
            let log = SeenLog()
            let journal = try Journal(folder: folder + "/journal", program: "0.1.0", log: log.logger())
            record(entries, in: journal)
            #expect(journal.close(within: .seconds(10)))
            let replayed = try Replayed(folder + "/journal/current.jsonl")
            #expect(replayed.summary.events == entries.count)
            #expect(replayed.summary.differing == 0)
            #expect(abs(Double(try #require(replayed.steps.first).wall) / 1000 - Date().timeIntervalSince1970) < 60)
            #expect(log.all == [])
            record(entries, in: journal)
            #expect(journal.close(), "closed is closed: nothing is recorded any more, and nobody waits")
        }
    }

    /// A disk that hangs: the writer's thread stands in a write until the bell rings.
    @Test func aDiskThatHangsHoldsNobodyUpAndTheGapIsCounted() throws {
        let (hang, began) = (try Bell(), try Bell())
        let written = Mutex<[JournalEntry]>([])
        let journal = try Journal(capacity: 8) {
            { entry in
                began.ring()
                if written.withLock({ $0.isEmpty }) { hang.wait() }
                written.withLock { $0.append(entry) }
            }
        }
        var story = JournalStory()
        story.start()
        for _ in 0..<4 { story.second() }
        record([story.entries[0]], in: journal)
        #expect(began.wait(upTo: .seconds(10)))
        record(Array(story.entries[1...30]), in: journal)
        #expect(!journal.close(within: .milliseconds(20)), "it gives up waiting")
        hang.ring()
        #expect(SystemClock.wait(upTo: .seconds(10)) { written.withLock { $0.count } == 9 })
        #expect(written.withLock { $0.map(\.moment) } == story.entries[...8].map(\.moment), "the first ones, in order")
    }

    @Test func afterAGapTheNextOneSaysHowManyAreMissing() throws {
        let (hang, began) = (try Bell(), try Bell())
        let written = Mutex<[JournalEntry]>([])
        let journal = try Journal(capacity: 8) {
            { entry in
                began.ring()
                if written.withLock({ $0.isEmpty }) { hang.wait() }
                written.withLock { $0.append(entry) }
            }
        }
        let entries = JournalStory.whole().entries
        record([entries[0]], in: journal)
        #expect(began.wait(upTo: .seconds(10)))
        record(Array(entries[1...20]), in: journal)
        hang.ring()
        #expect(SystemClock.wait(upTo: .seconds(10)) { written.withLock { $0.count } == 9 })
        record([entries[21], entries[22]], in: journal)
        #expect(journal.close(within: .seconds(10)))
        #expect(written.withLock { $0.map(\.lostBefore) } == [0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0])
    }

    @Test func aFolderThatCannotBeUsedIsOneWarningAndTheJournalGoesOnWhenItCan() throws {
        try withScratch { folder in
            let log = SeenLog()
            let entries = JournalStory.whole().entries
            let place = folder + "/journal"
            // A file stands where the folder should be.
            try Data().write(to: URL(fileURLWithPath: place))
            var writer = JournalWriter(place, log: log.logger())
            writer.write(Array(entries[..<10]))
            #expect(log.all.count == 1 && log.all[0].hasPrefix("warning: the journal cannot be written"), "\(log.all)")
            try FileManager.default.removeItem(atPath: place)
            writer.write(Array(entries[10...]))
            #expect(log.all.count == 2 && log.all[1].hasPrefix("info: the journal is written again"), "\(log.all)")
            let replayed = try Replayed(place + "/current.jsonl")
            #expect(replayed.beginnings.map(\.lost) == [10])
            #expect(replayed.summary.lost == 10 && replayed.summary.events == entries.count - 10)
            #expect(replayed.summary.differing == 0, "the state after the gap is the agent's own")
            #expect(replayed.text.contains("GAP: 10 events before this are missing"), "\(replayed.text)")
        }
    }

    /// A file system without room, as root can make one.
    @Test(.enabled(if: geteuid() == 0)) func aFullDiskIsOneWarningAndNoHistoryIsGivenUpForIt() throws {
        try withScratch { folder in
            let disk = folder + "/disk"
            try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
            guard try Tool("/bin/mount", ["-t", "tmpfs", "-o", "size=32k", "tmpfs", disk]).run(deadline: .seconds(10)).succeeded
            else {
                return
            }
            defer {
                do { _ = try Tool("/bin/umount", [disk]).run(deadline: .seconds(10)) } catch { Issue.record("\(disk): \(error)") }
            }
            let log = SeenLog()
            let entries = JournalStory.whole().entries
            var writer = JournalWriter(disk + "/journal", log: log.logger())
            var story = JournalStory()
            story.start()
            for _ in 0..<40 { story.second() }
            writer.write(story.entries)
            #expect(log.all.count == 1 && log.all[0].contains("cannot be written"), "\(log.all)")
            let before = try Replayed(disk + "/journal/current.jsonl")
            #expect(before.summary.events > 50 && before.summary.differing == 0)
            // The bound is reached as well, and there is no room for a new file.
            var small = JournalWriter(disk + "/journal", limitBytes: 20_000, log: log.logger())
            small.write(entries)
            #expect(try Replayed(disk + "/journal/current.jsonl").summary.events >= before.summary.events)
        }
    }
}
