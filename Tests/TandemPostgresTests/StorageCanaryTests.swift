import Foundation
import Glibc
import Synchronization
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite struct StorageCanaryTests {
    /// A folder that looks like a data directory, to the canary.
    private static func directory(_ body: (String) throws -> Void) throws {
        let folder = "/tmp/tpg-canary-\(String(Random.word(), radix: 36))"
        for name in ["", "/global", "/pg_wal"] { #expect(mkdir(folder + name, 0o700) == 0) }
        #expect(FileManager.default.createFile(atPath: folder + "/PG_VERSION", contents: Data("15\n".utf8)))
        defer {
            do { try FileManager.default.removeItem(atPath: folder) } catch { Issue.record("\(folder) is left: \(error)") }
        }
        try body(folder)
    }

    @Test func whatIsWellLeavesNothingBehind() throws {
        try Self.directory { folder in
            var probe = StorageProbe(dataDirectory: folder)
            let found = probe.look()
            #expect(found?.isTrouble == false)
            #expect(OwnedFiles.names(in: folder + "/global") == [])
            #expect(OwnedFiles.names(in: folder + "/pg_wal") == [])
        }
    }

    /// Where nothing is mounted, or nothing was made yet, nothing is written and nothing said; what was there and is gone is told.
    @Test func whatWasNeverThereIsNoTrouble() throws {
        var absent = StorageProbe(dataDirectory: "/nowhere/at/all")
        let nothing = absent.look()
        #expect(nothing == nil)
        try Self.directory { folder in
            var probe = StorageProbe(dataDirectory: folder)
            _ = probe.look()
            #expect(unlink(folder + "/PG_VERSION") == 0)
            guard case .gone? = probe.look() else { return #expect(Bool(false), "not told") }
            #expect(OwnedFiles.names(in: folder + "/global") == [])
        }
    }

    /// A link in its place is not followed: nothing but our own file is ever written.
    @Test func aLinkInItsPlaceIsNotFollowed() throws {
        try Self.directory { folder in
            #expect(symlink("/dev/full", folder + "/global/\(StorageProbe.fileName)") == 0)
            var probe = StorageProbe(dataDirectory: folder)
            let found = probe.look()
            #expect(found == nil)
            #expect(access("/dev/full", F_OK) == 0)
        }
    }

    /// The second look does not come back in time: told by the clock alone; and well again when it does.
    @Test func aWriteThatHangsIsToldByTheClock() throws {
        let release = try Bell()
        let arrived = try Bell()
        let looks = Mutex(0)
        let told = Mutex<[Storage]>([])
        var patience = StorageCanary.Patience()
        patience.interval = .milliseconds(10)
        patience.deadline = .milliseconds(50)
        let canary = try StorageCanary(dataDirectory: "/nowhere", patience: patience) {
            let number = looks.withLock { looks in
                looks += 1
                return looks
            }
            if number == 2 { release.wait() }
            return .well
        } deliver: { storage in
            told.withLock { $0.append(storage) }
            arrived.ring()
        }
        try canary.start()
        func wait(for words: [String]) {
            let isSo = SystemClock.wait(upTo: .seconds(10), step: .milliseconds(5)) { told.withLock { $0.map(\.word) } == words }
            #expect(isSo, "\(told.withLock { $0 })")
        }
        wait(for: ["well", "hangs"])
        guard case .hangs(_, let span)? = told.withLock({ $0.last }) else { return #expect(Bool(false)) }
        #expect(span >= .milliseconds(50))
        release.ring()
        wait(for: ["well", "hangs", "well"])
        canary.stop()
    }

    /// Whoever rewinds the directory sees no file of ours come and go.
    @Test func nothingIsWrittenWhileItIsPaused() throws {
        let looks = Mutex(0)
        var patience = StorageCanary.Patience()
        patience.interval = .milliseconds(1)
        let canary = try StorageCanary(dataDirectory: "/nowhere", patience: patience) {
            looks.withLock { $0 += 1 }
            return .well
        } deliver: { _ in
        }
        try canary.start()
        #expect(SystemClock.wait(upTo: .seconds(10), step: .milliseconds(1)) { looks.withLock { $0 } > 3 })
        canary.paused {
            let before = looks.withLock { $0 }
            _ = SystemClock.wait(upTo: .milliseconds(100), step: .milliseconds(5)) { false }
            #expect(looks.withLock { $0 } == before)
        }
        let after = looks.withLock { $0 }
        #expect(SystemClock.wait(upTo: .seconds(10), step: .milliseconds(1)) { looks.withLock { $0 } > after + 3 }, "it goes on")
        canary.stop()
    }
}
