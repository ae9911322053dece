import Foundation
import TandemCore
import TandemSystem
import Testing

@testable import TandemRuntime

@Suite struct LedgerFileTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pgtandem-ledger-\(Random.word())").path
    private let ledger = Ledger(
        cluster: "orders", term: Term(8), step: 2, primary: "a", bond: .paired, primaryCopy: CopyID(high: 1, low: 2),
        standbyCopy: CopyID(high: 3, low: 4), arbiter: .manual, handoverEnd: LSN(0x16_B374_D848))

    private func withFolder(_ body: (LedgerFile) throws -> Void) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer {
            do { try FileManager.default.removeItem(atPath: folder) } catch {
                Issue.record("\(folder) could not be removed: \(error)")
            }
        }
        try body(LedgerFile(stateDirectory: folder))
    }

    @Test func whatIsWrittenIsRead() throws {
        try withFolder { file in
            #expect(try file.read() == nil, "none yet")
            let notes = Notes(
                peerHeardIn: BootID("boot 1"), follows: LSN(0x305_5400),
                witness: WitnessSeen(generation: 3, term: Term(8), step: 1), primaryIn: BootID("boot 1"),
                isForeign: true, roleKeptIn: Term(8))
            try file.write(ledger, notes)
            let found = try file.read()
            #expect(found?.ledger == ledger)
            #expect(found?.notes == notes)
            try file.write(ledger, Notes())
            #expect(try file.read()?.notes == Notes(), "what is noted no longer is gone")
        }
    }

    @Test func everyDamagedByteIsReported() throws {
        try withFolder { file in
            try file.write(ledger, Notes())
            let good = try #require(try DurableFile.read(file.path))
            for index in good.indices {
                var bad = good
                bad[index] ^= 0x01
                try DurableFile.write(bad, to: file.path, mode: 0o600)
                #expect(throws: LedgerDamaged.self, "byte \(index)") { try file.read() }
            }
        }
    }

    @Test func everyTruncationIsReported() throws {
        try withFolder { file in
            try file.write(ledger, Notes())
            let good = try #require(try DurableFile.read(file.path))
            for length in 0..<good.count {
                try DurableFile.write(Array(good[..<length]), to: file.path, mode: 0o600)
                #expect(throws: LedgerDamaged.self, "\(length) bytes") { try file.read() }
            }
        }
    }
}
