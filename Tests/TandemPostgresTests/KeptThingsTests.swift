import Foundation
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite struct KeptThingsTests {
    /// The newest branch stays, whatever the limits; of the others the oldest goes first.
    @Test func savedBranchesAreKeptByAgeAndSize() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.settings("a")
        let diverged = settings.stateDirectory + "/diverged"
        func save(_ name: String, hoursAgo: Double, megabytes: Int) throws {
            let folder = URL(fileURLWithPath: "\(diverged)/\(name)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try Data(count: megabytes << 20).write(to: folder.appendingPathComponent("000000010000000000000001"))
            let report = folder.appendingPathComponent("report.txt")
            try Data("x".utf8).write(to: report)
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSinceNow: -hoursAgo * 3600)], ofItemAtPath: report.path)
        }
        func kept() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: diverged).sorted() }
        try save("5", hoursAgo: 50, megabytes: 2)
        try save("6", hoursAgo: 30, megabytes: 2)
        try save("8", hoursAgo: 20, megabytes: 2)
        try save("8-2", hoursAgo: 10, megabytes: 2)
        #expect(try SavedBranch.prune(settings, keeping: 100 << 20, for: .seconds(100 * 3600)).isEmpty)
        #expect(try SavedBranch.prune(settings, keeping: 100 << 20, for: .seconds(40 * 3600)) == [diverged + "/5"])
        #expect(try SavedBranch.prune(settings, keeping: 5 << 20, for: .seconds(40 * 3600)) == [diverged + "/6"])
        #expect(try kept() == ["8", "8-2"])
        #expect(try SavedBranch.prune(settings, keeping: 0, for: .seconds(3600)) == [diverged + "/8"])
        #expect(try kept() == ["8-2"], "what was lost last is what somebody will ask for")
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
