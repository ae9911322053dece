import CLinux
import Foundation
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite struct WALUnitTests {
    @Test func theChecksumIsCRC32C() {
        let digits = Array("123456789".utf8)
        #expect(~cwal_crc32c(.max, digits, 9) == 0xE306_9283)
        #expect(~cwal_crc32c_portable(.max, digits, 9) == 0xE306_9283)
        let bytes = Random.bytes(5000)
        for count in Array(0..<70) + [1023, 4999, 5000] {
            let split = count / 3
            let pieces = bytes.withUnsafeBytes { all in
                cwal_crc32c(cwal_crc32c(.max, all.baseAddress, split), all.baseAddress?.advanced(by: split), count - split)
            }
            #expect(pieces == cwal_crc32c_portable(.max, bytes, count), "\(count) bytes")
        }
    }

    @Test func segmentsAreNamedAsPostgreSQLNamesThem() throws {
        let position = try #require(LSN("16/B374D848"))
        #expect(WALFile.name(timeline: 1, position: position, segmentSize: 16 << 20) == "0000000100000016000000B3")
        #expect(WALFile.name(timeline: 0x1A, position: position, segmentSize: 1 << 30) == "0000001A0000001600000002")
        let parsed = try #require(WALFile.parse("0000000100000016000000B3", segmentSize: 16 << 20))
        #expect(parsed.timeline == 1 && parsed.start == LSN("16/B3000000"))
        for name in [
            "00000001.history", "0000000100000016000000B3.partial", "0000000100000016000000b3", "000000010000001600000100",
            "0000000000000016000000B3", "xlogtemp.123", "archive_status",
        ] {
            #expect(WALFile.parse(name, segmentSize: 16 << 20) == nil, "\(name)")
        }
    }

    private func inFolder(_ body: (String) throws -> Void) throws {
        let folder = "/tmp/pgtandem-wal-\(String(Random.word(), radix: 36))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer {
            do { try FileManager.default.removeItem(atPath: folder) } catch { Issue.record("\(error)") }
        }
        try body(folder)
    }

    @Test func aMissingSegmentIsMadeInFullSizeForTheOwnerOfTheFolder() throws {
        try inFolder { folder in
            let size = 1 << 20
            _ = try Tool("/usr/bin/chown", ["nobody:nogroup", folder]).run(deadline: .seconds(10))
            _ = try Tool("/usr/bin/chmod", ["750", folder]).run(deadline: .seconds(10))
            let writer = WALWriter(directory: folder, segmentSize: size)
            let reader = WALReader(directory: folder, segmentSize: size)
            let bytes = Random.bytes(size + 3000)
            let start = LSN(UInt64(5 * size - 1000))
            try writer.write(bytes, at: start, timeline: 3)
            let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            #expect(names == ["000000030000000000000004", "000000030000000000000005", "000000030000000000000006"])
            for name in names {
                let facts = try #require(try FileFacts.of(folder + "/" + name))
                #expect(facts.sizeBytes == Int64(size))
                #expect(facts.mode == 0o640)
                #expect(facts.ownerID == (try Privileges.userID(of: "nobody")))
            }
            #expect(try reader.read(from: start, count: bytes.count, timeline: 3) == bytes)
            #expect(try reader.read(from: LSN(UInt64(4 * size)), count: 100, timeline: 3) == [UInt8](repeating: 0, count: 100))
            // In place, and nothing around it.
            let middle = LSN(UInt64(5 * size + 77))
            try writer.write([1, 2, 3], at: middle, timeline: 3)
            var changed = bytes
            changed.replaceSubrange(1077..<1080, with: [1, 2, 3])
            #expect(try reader.read(from: start, count: bytes.count, timeline: 3) == changed)
        }
    }

    @Test func aMissingFileIsNamed() throws {
        try inFolder { folder in
            let reader = WALReader(directory: folder)
            let error = #expect(throws: WALError.self) { try reader.read(from: LSN(0x300_0028), count: 8, timeline: 1) }
            #expect(error?.description.contains("000000010000000000000003") == true)
            let other = #expect(throws: WALError.self) {
                try reader.endOfWAL(from: LSN(0x300_0028), timeline: 1, deadline: .seconds(1))
            }
            #expect(other?.description.contains("000000010000000000000003") == true)
            #expect(throws: WALError.self) { try WALFile.segmentSize(ofDirectory: folder) }
            // Positions that cannot be: no trap.
            for position: UInt64 in [0, 1, .max, .max - 8] {
                #expect(throws: WALError.self) {
                    try reader.endOfWAL(from: LSN(position), timeline: 1, deadline: .seconds(1))
                }
                #expect(throws: WALError.self) { try reader.read(from: LSN(position), count: 100, timeline: 1) }
                #expect(throws: WALError.self) {
                    try WALWriter(directory: folder).write([1, 2, 3, 4, 5, 6, 7, 8, 9], at: LSN(position), timeline: 1)
                }
            }
        }
    }
}
