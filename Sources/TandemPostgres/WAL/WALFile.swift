import CLinux
import Glibc
import TandemCore
import TandemSystem

/// The files of `pg_wal`: 24 hexadecimal digits, a timeline and the number of a segment in two parts
/// (access/xlog_internal.h, XLogFileName).
public enum WALFile {
    /// What initdb makes unless told otherwise, in bytes.
    public static let usualSegmentSize = 16 << 20

    /// A power of two from 1 MiB to 1 GiB (initdb's `--wal-segsize`).
    public static func isSegmentSize(_ bytes: Int) -> Bool {
        (1 << 20...1 << 30).contains(bytes) && bytes & (bytes - 1) == 0
    }

    /// The name of the segment that holds the byte at `position`.
    public static func name(timeline: Timeline, position: LSN, segmentSize: Int) -> String {
        let number = position.bytes / UInt64(segmentSize)
        let perFourGigabytes = (1 << 32) / UInt64(segmentSize)
        return hex(UInt64(timeline)) + hex(number / perFourGigabytes) + hex(number % perFourGigabytes)
    }

    /// Nil for anything that is not the name of a segment: history files, `.partial`, `.backup`, temporary files.
    public static func parse(_ name: String, segmentSize: Int) -> (timeline: Timeline, start: LSN)? {
        let digits = Array(name.utf8)
        guard digits.count == 24, digits.allSatisfy({ (48...57).contains($0) || (65...70).contains($0) }) else { return nil }
        func part(_ range: Range<Int>) -> UInt64? { UInt64(String(decoding: digits[range], as: UTF8.self), radix: 16) }
        guard let timeline = part(0..<8), let high = part(8..<16), let low = part(16..<24), timeline > 0,
            low < (1 << 32) / UInt64(segmentSize)
        else { return nil }
        return (Timeline(timeline), LSN(high << 32 + low * UInt64(segmentSize)))
    }

    /// The segment size of an instance, in bytes, from the header that begins any segment with content. Cheap: it reads 40
    /// bytes of one file as a rule; needs no running server and no program of PostgreSQL.
    /// - Parameter directory: `pg_wal`.
    /// - Throws: if no segment there has ever been written.
    public static func segmentSize(ofDirectory directory: String) throws(WALError) -> Int {
        let attempted = "find the segment size in \(directory)"
        guard let folder = opendir(directory) else { throw WALError.last(attempted) }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            // With the smallest size every possible name is taken for one.
            guard parse(name, segmentSize: 1 << 20) != nil else { continue }
            guard let page = try firstPage(of: "\(directory)/\(name)"), page.information & WALPage.isLong != 0 else { continue }
            let size = Int(page.segment_size)
            if isSegmentSize(size), page.address % UInt64(size) == 0 { return size }
        }
        throw WALError(
            attempted: attempted, happened: "no segment there has content",
            advice: "Name the pg_wal folder of an instance that has run.")
    }

    /// The header at the beginning of a file; nil: no such file, or shorter than a header.
    static func firstPage(of path: String) throws(WALError) -> cwal_page? {
        guard let file = try open(path, O_RDONLY) else { return nil }
        var bytes = [UInt8](repeating: 0, count: WALPage.longHeader)
        let count = try read(file, path, into: &bytes, 0..<WALPage.longHeader, at: 0)
        return count == WALPage.longHeader ? cwal_read_page(bytes) : nil
    }

    /// Nil: no such file. Any other refusal is an error: a disk that cannot be read is not the end of the log.
    static func open(_ path: String, _ flags: Int32) throws(WALError) -> Descriptor? {
        while true {
            let number = Glibc.open(path, flags | O_CLOEXEC | O_NOCTTY)
            if number >= 0 { return Descriptor(number) }
            if errno == EINTR { continue }
            if errno == ENOENT { return nil }
            throw WALError.last("open \(path)")
        }
    }

    /// Fills `room` from the offset; fewer bytes only at the end of the file.
    static func read(
        _ file: Descriptor, _ path: String, into room: UnsafeMutableRawBufferPointer, at offset: Int
    ) throws(WALError) -> Int {
        var done = 0
        while done < room.count {
            let count = pread(file.number, room.baseAddress?.advanced(by: done), room.count - done, off_t(offset + done))
            if count == 0 { break }
            if count > 0 {
                done += count
            } else if errno != EINTR {
                throw WALError.last("read \(path)")
            }
        }
        return done
    }

    static func read(
        _ file: Descriptor, _ path: String, into bytes: inout [UInt8], _ range: Range<Int>, at offset: Int
    ) throws(WALError) -> Int {
        try bytes.withUnsafeMutableBytes { room in
            Result { () throws(WALError) in
                try read(file, path, into: UnsafeMutableRawBufferPointer(rebasing: room[range]), at: offset)
            }
        }.get()
    }

    private static func hex(_ number: UInt64) -> String {
        let digits = String(number, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 8 - digits.utf8.count)) + digits
    }
}
