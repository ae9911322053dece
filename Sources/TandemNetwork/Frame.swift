import NIOCore

/// One message on the link: 4 bytes length (big endian, of what follows), 1 byte kind, payload.
public struct Frame: Sendable, Equatable {
    /// The first frame of each side of a connection.
    public static let hello: UInt8 = 0
    /// The link's own: sent on a path that is idle, answered by the other side's, delivered to nobody.
    public static let keepAlive: UInt8 = 0x7f
    /// Kinds from here on carry bulk (pieces of WAL); below, ordinary messages.
    public static let firstBulkKind: UInt8 = 0x80
    /// Longest payload of an ordinary message, bytes.
    public static let ordinaryLimit = 64 << 10
    /// Longest payload of a bulk message, bytes: 1 MiB and room for what describes it.
    public static let bulkLimit = (1 << 20) + (4 << 10)

    public var kind: UInt8
    public var payload: [UInt8]

    public init(kind: UInt8, payload: [UInt8]) {
        self.kind = kind
        self.payload = payload
    }

    /// Longest payload of a frame of this kind, bytes.
    public static func limit(of kind: UInt8) -> Int { kind >= firstBulkKind ? bulkLimit : ordinaryLimit }

    /// Bytes on the wire before TLS.
    static func size(ofPayload count: Int) -> Int { 5 + count }

    static func encoded(kind: UInt8, payload: [UInt8]) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: size(ofPayload: payload.count))
        buffer.writeInteger(UInt32(payload.count + 1))
        buffer.writeInteger(kind)
        buffer.writeBytes(payload)
        return buffer
    }
}

/// Cuts a stream of bytes into frames. Holds at most one incomplete frame: a length beyond its kind's limit is refused as soon as the
/// five bytes that tell it are there, before anything is kept for it.
struct FrameReader {
    private var buffer = ByteBuffer()
    /// Longest payload of any frame here, bytes; below the limits of the kinds where the reader serves strangers' memory.
    private let longest: Int

    init(longest: Int = Frame.bulkLimit) { self.longest = longest }

    mutating func append(_ bytes: ByteBuffer) {
        var bytes = bytes
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            buffer.writeBuffer(&bytes)
        }
    }

    /// The next frame, or nil until more bytes are there.
    mutating func next() throws(LinkEnd) -> Frame? {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else { return nil }
        guard length > 0 else { throw .emptyFrame }
        guard let kind = buffer.getInteger(at: buffer.readerIndex + 4, as: UInt8.self) else { return nil }
        let count = Int(length) - 1
        let limit = min(longest, Frame.limit(of: kind))
        guard count <= limit else { throw .frameTooLong(kind: kind, bytes: count, limit: limit) }
        guard buffer.readableBytes >= Frame.size(ofPayload: count) else { return nil }
        buffer.moveReaderIndex(forwardBy: 5)
        let payload = buffer.readBytes(length: count) ?? []
        // An idle connection keeps no memory.
        if buffer.readableBytes == 0 { buffer = ByteBuffer() } else { buffer.discardReadBytes() }
        return Frame(kind: kind, payload: payload)
    }

    /// The kind of the frame that has begun, if its header is there.
    var pendingKind: UInt8? { buffer.getInteger(at: buffer.readerIndex + 4, as: UInt8.self) }

    var hasPart: Bool { buffer.readableBytes > 0 }

    /// Bytes of the incomplete frame.
    var partLength: Int { buffer.readableBytes }
}
