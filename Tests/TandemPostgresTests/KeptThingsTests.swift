import Foundation
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite struct KeptThingsTests {
    /// `diverged` of a state directory, and what is put into it.
    private struct Saved {
        let scratch: SetupScratch
        let settings: InstanceSettings
        let diverged: String

        init() throws {
            scratch = try SetupScratch()
            settings = try scratch.settings("a")
            diverged = settings.stateDirectory + "/diverged"
        }

        func save(
            _ name: String, _ sequence: UInt64?, hoursAgo: Double, megabytes: Int = 2, report change: (String) -> String = { $0 }
        ) throws {
            let folder = URL(fileURLWithPath: "\(diverged)/\(name)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try Data(count: megabytes << 20).write(to: folder.appendingPathComponent("000000010000000000000001"))
            guard let sequence else { return }
            var branch = SavedBranch(folder: folder.path, fork: LSN(1), end: LSN(2))
            branch.sequence = sequence
            let report = folder.appendingPathComponent("report.txt")
            try Data(change(branch.report).utf8).write(to: report)
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSinceNow: -hoursAgo * 3600)], ofItemAtPath: report.path)
        }

        func kept() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: diverged).sorted() }

        /// Answers with the names of what went.
        func prune(megabytes: Int64 = 100, hours: Int) throws -> [String] {
            try SavedBranch.prune(settings, keeping: megabytes << 20, for: .seconds(hours * 3600)).map {
                String($0.dropFirst(diverged.count + 1))
            }
        }
    }

    /// The newest branch stays, whatever the limits; of the others the oldest goes first.
    @Test func savedBranchesAreKeptByAgeAndSize() throws {
        let saved = try Saved()
        try saved.save("5", 1, hoursAgo: 50)
        try saved.save("6", 2, hoursAgo: 30)
        try saved.save("8", 3, hoursAgo: 20)
        try saved.save("8-2", 4, hoursAgo: 10)
        #expect(try saved.prune(hours: 100).isEmpty)
        #expect(try saved.prune(hours: 40) == ["5"])
        #expect(try saved.prune(megabytes: 5, hours: 40) == ["6"])
        #expect(try saved.kept() == ["8", "8-2"])
        #expect(try saved.prune(megabytes: 0, hours: 1) == ["8"])
        #expect(try saved.kept() == ["8-2"], "what was lost last is what somebody will ask for")
    }

    /// Saved while the clock was years behind, and after it: neither costs the newest, nor one whose age is not known.
    @Test func aWrongClockDoesNotCostTheNewestSavedBranch() throws {
        let saved = try Saved()
        try saved.save("5", 1, hoursAgo: 2)
        // A lost lineage file gives the term 0.
        try saved.save("0", 2, hoursAgo: 90_000)
        #expect(try saved.prune(megabytes: 0, hours: 1_000_000) == ["5"], "the older one, though its time is later")
        #expect(try saved.kept() == ["0"])
        try saved.save("6", 3, hoursAgo: -50)
        try saved.save("7", 4, hoursAgo: 30)
        try saved.save("8", 5, hoursAgo: 40)
        #expect(try saved.prune(hours: 20) == ["0"], "6 is of the future, and 7 of a time after 8's: their age is not known")
        #expect(try saved.kept() == ["6", "7", "8"])
        #expect(try saved.prune(megabytes: 5, hours: 20) == ["6"], "by size the first one saved goes first")
    }

    @Test func aFolderThatDoesNotSayWhenItWasSavedStays() throws {
        let saved = try Saved()
        try saved.save("5", nil, hoursAgo: 0)
        try saved.save("6", 1, hoursAgo: 50)
        try saved.save("7", 2, hoursAgo: 50)
        try Data("torn".utf8).write(to: URL(fileURLWithPath: saved.diverged + "/6/report.txt"))
        #expect(try saved.prune(megabytes: 0, hours: 0).isEmpty)
        #expect(try saved.kept() == ["5", "6", "7"])
    }

    /// Of a version that did not count them: the oldest of all, and they go like others; what a person puts there is nobody's business.
    @Test func branchesOfBeforeTheyWereCountedAreTheOldest() throws {
        let saved = try Saved()
        for (name, hours) in [("3", 60.0), ("4", 50)] {
            try saved.save(name, 0, hoursAgo: hours) { $0.replacing(/sequence.*\n/, with: "") }
        }
        try saved.save("6", 1, hoursAgo: 90)
        try saved.save("7", 2, hoursAgo: 80)
        try saved.save("9", 0, hoursAgo: 1) { $0.replacing(/sequence.*\n/, with: "sequence   18446744073709551615\n") }
        try Data("a note".utf8).write(to: URL(fileURLWithPath: saved.diverged + "/README"))
        #expect(try saved.prune(megabytes: 9, hours: 1000) == ["3"])
        #expect(try saved.prune(megabytes: 4, hours: 1000) == ["6", "4"])
        #expect(try saved.kept() == ["7", "9", "README"])
    }

    @Test func anotherDirectoryIsNotTakenForTheOrderedOne() throws {
        let scratch = try SetupScratch()
        let directory = scratch.root + "/data"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let mark = LocalPostgres.CopyMark(copy: CopyID(high: 1, low: 2), node: "a")
        #expect(throws: PostgresError.self) { try CopyMarkFile.require(mark, directory) }
        try CopyMarkFile.write(.init(copy: CopyID(high: 1, low: 3), node: "a"), directory)
        #expect(throws: PostgresError.self) { try CopyMarkFile.require(mark, directory) }
        try CopyMarkFile.write(.init(copy: mark.copy, node: "b"), directory)
        #expect(throws: PostgresError.self) { try CopyMarkFile.require(mark, directory) }
        try CopyMarkFile.write(mark, directory)
        try CopyMarkFile.require(mark, directory)
    }
}
