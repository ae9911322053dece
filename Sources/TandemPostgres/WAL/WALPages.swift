import CLinux
import Glibc
import TandemCore
import TandemSystem

/// A page of the log whose header was found sound. The pointer is good until the next page is asked for.
struct WALPage {
    let bytes: UnsafeRawPointer
    let header: cwal_page

    /// Flags of a page (xlp_info).
    static let beginsInsideRecord: UInt16 = 1
    static let isLong: UInt16 = 2
    /// PostgreSQL was started again after a crash that had torn the record before; this page replaces its rest (14 and later).
    static let overwritesRecord: UInt16 = 8
    static let allFlags: UInt16 = 15

    /// Sizes of page headers and of a record's header, with the padding up to eight bytes.
    static let shortHeader = 24
    static let longHeader = 40
    static let recordHeader = 24

    var headerSize: Int { header.information & Self.isLong != 0 ? Self.longHeader : Self.shortHeader }
    var beginsInsideRecord: Bool { header.information & Self.beginsInsideRecord != 0 }
    var overwritesRecord: Bool { header.information & Self.overwritesRecord != 0 }
}

/// What all pages of one instance have in common.
struct WALIdentity {
    /// Changes with the format, so with each major version of PostgreSQL; not known in advance.
    var magic: UInt16
    var system: UInt64
    /// Bytes; 8,192 unless PostgreSQL was built otherwise.
    var pageSize: Int
}

/// Pages of the segments of one timeline, read a piece at a time: memory does not grow with the log.
final class WALPages {
    let directory: String
    let timeline: Timeline
    let segmentSize: Int
    let identity: WALIdentity

    private let buffer: UnsafeMutableRawBufferPointer
    /// Address of the first byte in the buffer, and how many are there.
    private var held: (start: UInt64, count: Int) = (0, 0)
    private var file: (descriptor: Descriptor, segment: UInt64)?

    private static let piece = 256 << 10

    init(directory: String, timeline: Timeline, segmentSize: Int, identity: WALIdentity) {
        self.directory = directory
        self.timeline = timeline
        self.segmentSize = segmentSize
        self.identity = identity
        buffer = .allocate(byteCount: Self.piece, alignment: 4096)
    }

    deinit { buffer.deallocate() }

    func path(_ address: UInt64) -> String {
        "\(directory)/\(WALFile.name(timeline: timeline, position: LSN(address), segmentSize: segmentSize))"
    }

    /// The bytes of a page; nil: no such file, or it ends before.
    func bytes(ofPage address: UInt64) throws(WALError) -> UnsafeRawPointer? {
        let pageSize = identity.pageSize
        if address < held.start || address + UInt64(pageSize) > held.start + UInt64(held.count) {
            try load(address)
            guard address + UInt64(pageSize) <= held.start + UInt64(held.count) else { return nil }
        }
        return buffer.baseAddress.map { UnsafeRawPointer($0 + Int(address - held.start)) }
    }

    private func load(_ address: UInt64) throws(WALError) {
        let segment = address / UInt64(segmentSize)
        // The buffer is overwritten: whatever happens below, it holds nothing until it is filled.
        held = (address, 0)
        if file?.segment != segment {
            file = try WALFile.open(path(address), O_RDONLY).map { ($0, segment) }
        }
        guard let file else { return }
        // Whole pieces, so that the pages before this one are at hand too.
        let offset = Int(address % UInt64(segmentSize)) / Self.piece * Self.piece
        let count = try WALFile.read(file.descriptor, path(address), into: buffer, at: offset)
        held = (segment * UInt64(segmentSize) + UInt64(offset), count)
    }

    /// The page at this address, or why there is none. Rules of xlogreader.c, XLogReaderValidatePageHeader.
    /// - Parameter oldest: the timeline of the page before: along the log it never falls. The first segment of a timeline
    ///   begins with pages of the timeline that it left, so smaller ones than ours are in order.
    func page(_ address: UInt64, notBefore oldest: Timeline) throws(WALError) -> Result<WALPage, WALStop> {
        guard let bytes = try bytes(ofPage: address) else { return .failure(.noSuchPage(address)) }
        let header = cwal_read_page(bytes)
        guard header.magic == identity.magic, header.address == address,
            header.information & ~WALPage.allFlags == 0
        else { return .failure(.noPage(address)) }
        if header.information & WALPage.isLong != 0 {
            guard header.system == identity.system, Int(header.segment_size) == segmentSize,
                Int(header.page_size) == identity.pageSize
            else { return .failure(.foreignPage(address)) }
        } else if address % UInt64(segmentSize) == 0 {
            return .failure(.noPage(address))
        }
        guard header.timeline >= oldest, header.timeline <= timeline else {
            return .failure(.foreignPage(address))
        }
        return .success(WALPage(bytes: bytes, header: header))
    }
}

/// Why reading the log came to its end: for logs and messages. All are the ordinary end of a log; none is an error.
enum WALStop: Error, CustomStringConvertible {
    /// No file, or it is too short.
    case noSuchPage(UInt64)
    /// Zeros, or the old content of a segment that was used again.
    case noPage(UInt64)
    /// Of another instance or another line of history.
    case foreignPage(UInt64)
    /// A position inside a page's header, or on a page that begins inside a record.
    case noBoundary(UInt64)
    case shortRecord(UInt64, length: UInt32)
    case wrongPrevious(UInt64, UInt64)
    case wrongChecksum(UInt64)
    /// A record that goes on upon a page that does not know of it: it was being written when the writer died.
    case tornRecord(UInt64, page: UInt64)

    var description: String {
        switch self {
        case .noSuchPage(let page): "there is no page at \(LSN(page))"
        case .noPage(let page): "the page at \(LSN(page)) was not written yet"
        case .foreignPage(let page): "the page at \(LSN(page)) belongs to another history"
        case .noBoundary(let position): "no record begins at \(LSN(position))"
        case .shortRecord(let record, let length): "the record at \(LSN(record)) has the length \(length)"
        case .wrongPrevious(let record, let previous):
            "the record at \(LSN(record)) follows one at \(LSN(previous)), which is not the one before"
        case .wrongChecksum(let record): "the record at \(LSN(record)) has a wrong checksum"
        case .tornRecord(let record, let page): "the record at \(LSN(record)) does not go on at \(LSN(page))"
        }
    }
}
