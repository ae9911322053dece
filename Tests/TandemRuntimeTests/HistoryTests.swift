import Foundation
import Synchronization
import TandemSystem
import TandemWire
import Testing

@testable import TandemRuntime

/// What `pgtandem history` gets of the other host, and how both sides become one list.
@Suite struct HistoryTests {
    private func entry(_ node: String, _ second: Int, _ why: String = "why") -> HistoryEntry {
        HistoryEntry(
            at: "2026-11-27T00:00:\(second < 10 ? "0" : "")\(second).000Z", node: node, kind: .role, from: "standby",
            to: "primary",
            cause: "granted", why: why, evidence: [], took_ms: 1)
    }

    /// What the agent answers a request with: it has these entries in its file, and a torn line.
    private func answer(_ request: HistoryRequestDocument, _ entries: [HistoryEntry], torn: String = "") throws
        -> HistoryAnswerDocument
    {
        try withScratch { folder in
            let file = HistoryFile(stateDirectory: folder, log: SeenLog().logger())
            for entry in entries { file.add(entry) }
            let got = Mutex<[UInt8]>([])
            let bell = try Bell()
            if !torn.isEmpty {
                // Behind what is on its way.
                file.answer(request, as: "b") { _ in bell.ring() }
                bell.wait()
                bell.clear()
                let handle = try #require(FileHandle(forWritingAtPath: folder + "/history.jsonl"))
                try handle.seekToEnd()
                try handle.write(contentsOf: Data(torn.utf8))
            }
            file.answer(request, as: "b") { bytes in
                got.withLock { $0 = bytes }
                bell.ring()
            }
            bell.wait()
            file.close()
            return try JSON.decode(HistoryAnswerDocument.self, from: got.withLock { $0 })
        }
    }

    @Test func everythingIsToldAlsoWhatIsStillOnItsWay() throws {
        let entries = (0..<5).map { entry("b", $0) }
        let all = try answer(.init(last: nil), entries)
        #expect(all.entries == entries && all.left_out == 0 && all.damaged == 0 && all.problem == nil && all.node == "b")
        #expect(try answer(.init(last: 2), entries).entries == Array(entries.suffix(2)))
        #expect(try answer(.init(last: nil), []).entries == [])
    }

    @Test func aTornLineIsCountedAndHidesNothing() throws {
        let told = try answer(.init(last: nil), [entry("b", 1)], torn: "\n{\"at\":\"2026")
        #expect(told.entries.count == 1 && told.damaged == 1)
    }

    /// A frame of the link holds a MiB at most.
    @Test func ofTooManyTheNewestAreTold() throws {
        let entries = (0..<40).map { entry("b", $0, String(repeating: "x", count: 40_000)) }
        let told = try answer(.init(last: nil), entries)
        #expect(told.entries == Array(entries.suffix(told.entries.count)) && told.left_out == 40 - told.entries.count)
        #expect(told.entries.count > 20)
        #expect(try JSON.encode(told).count < 1 << 20)
    }

    @Test(arguments: [#"{"last":-3}"#, #"{"last":0}"#]) func aNumberThatCannotBeIsNone(_ text: String) throws {
        let request = try JSON.decode(HistoryRequestDocument.self, from: Array(text.utf8))
        #expect(try answer(request, [entry("b", 1)]).entries == [])
    }

    @Test func aFileThatCannotBeReadIsTold() throws {
        try withScratch { folder in
            try FileManager.default.createDirectory(atPath: folder + "/history.jsonl", withIntermediateDirectories: false)
            let file = HistoryFile(stateDirectory: folder, log: SeenLog().logger())
            let got = Mutex<[UInt8]>([])
            let bell = try Bell()
            file.answer(.init(last: nil), as: "b") { bytes in
                got.withLock { $0 = bytes }
                bell.ring()
            }
            bell.wait()
            let told = try JSON.decode(HistoryAnswerDocument.self, from: got.withLock { $0 })
            #expect(told.problem?.contains("history.jsonl") == true && told.entries.isEmpty)
        }
    }

    @Test func bothSidesAreOneListByTime() {
        let (a, b) = ([1, 4, 5].map { entry("a", $0) }, [2, 3, 4, 9].map { entry("b", $0) })
        #expect(
            HistoryEntry.merged(a, b).map { $0.node + $0.at.suffix(6).prefix(1) }.joined(separator: " ") == "a1 b2 b3 a4 b4 a5 b9"
        )
        #expect(HistoryEntry.merged([], b) == b && HistoryEntry.merged(a, []) == a)
    }

    /// A clock that was set back: the order in which this host wrote its entries is the truth about them.
    @Test func eachSidesOwnOrderStands() {
        let a = [7, 2, 8].map { entry("a", $0) }
        let all = HistoryEntry.merged(a, [entry("b", 5)])
        #expect(all.filter { $0.node == "a" } == a && all.count == 4)
    }
}
