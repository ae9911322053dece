import Synchronization
import TandemCore
import TandemSystem
import TandemWire

/// 4.4, step 4, and 6.3: all WAL up to a position, from the stream, or from the other host's `pg_wal` by the agents' link.
///
/// The asking side blocks on its control lane; the answering side only reads files of an instance that is not open.
public final class TailTransfer: Sendable {
    private let postgres: any PostgresPort
    private let link: any LinkPort
    private let arrived: Mailbox<(id: UInt64, position: LSN, bytes: [UInt8])>
    private let numbers = Mutex<UInt64>(0)
    /// Numbers of requests that have no answer yet.
    private let outstanding = Mutex<Set<UInt64>>([])

    /// Small enough to share the link with heartbeats.
    static let chunk = 256 << 10
    /// Asked for ahead, so that the link is never idle; far below what a path holds before it is taken for one that does not read.
    static let window = 8
    /// Written, and flushed, at a time.
    static let piece = 4 << 20
    /// The old primary has ended its instance before it handed over: what is still in the stream's sockets arrives at once.
    static let streamPatience = Duration.milliseconds(300)
    /// Without any new bytes; a request is repeated in between, as its path may have gone.
    static let answerPatience = Duration.seconds(2)
    static let repetition = Duration.milliseconds(500)

    public init(postgres: any PostgresPort, link: any LinkPort) throws {
        self.postgres = postgres
        self.link = link
        arrived = try Mailbox()
    }

    /// Returns when everything up to `end` is flushed here: received, or in `pg_wal` as records that recovery will read to that very
    /// position. A promotion replays all of it before it ends recovery, so nothing is waited for besides.
    /// - Returns: bytes that came from the other host's disk, and how long that took; nil: none were needed.
    @discardableResult
    public func receive(upTo end: LSN) throws -> (bytes: UInt64, took: Duration)? {
        let began = SystemClock.now()
        while true {
            let here = try postgres.receivedWAL()
            // Without a stream, a position may count bytes of a torn record: what is on disk is read instead.
            if here.isStreaming, here.position >= end { return nil }
            let waited = Duration.nanoseconds(SystemClock.now() - began)
            if !here.isStreaming || waited > Self.streamPatience {
                // The stream has ended, or brings nothing any more: the rest is read straight from the other host's disk.
                let sound = try postgres.findEndOfWAL(from: here.replayed)
                if sound >= end { return nil }
                // An earlier try may have brought more than the stream.
                let start = max(here.position, sound)
                let asked = SystemClock.now()
                try fetch(here.timeline, from: start, upTo: end)
                let took = Duration.nanoseconds(SystemClock.now() - asked)
                let reached = try postgres.findEndOfWAL(from: here.replayed)
                guard reached >= end else {
                    throw TailError(
                        text: "WAL up to \(end) is needed, and what the other host sent is valid up to \(reached) only")
                }
                return (end.bytes - min(start.bytes, end.bytes), took)
            }
            _ = SystemClock.wait(upTo: .milliseconds(1), step: .milliseconds(1)) { false }
        }
    }

    /// Asks for several chunks ahead and writes what has come without a gap: neither the link nor the disk waits for the other.
    private func fetch(_ timeline: Timeline, from start: LSN, upTo end: LSN) throws {
        var (written, asked) = (start, start)
        var requests: [LSN: Request] = [:]
        var buffer: [UInt8] = []
        var heard = SystemClock.now()
        defer { outstanding.withLock { $0 = [] } }
        while written < end {
            while requests.count < Self.window, asked < end {
                let request = Request(number: number(), count: Int(min(UInt64(Self.chunk), end.bytes - asked.bytes)))
                requests[asked] = request
                try ask(timeline, asked, request)
                asked = LSN(asked.bytes + UInt64(request.count))
            }
            for answer in arrived.take(waiting: .milliseconds(50)) where requests[answer.position]?.number == answer.id {
                let wanted = requests[answer.position]?.count ?? 0
                guard answer.bytes.count <= wanted else {
                    throw TailError(text: "the other host sent \(answer.bytes.count) bytes of \(wanted)")
                }
                outstanding.withLock { _ = $0.remove(answer.id) }
                requests[answer.position]?.bytes = answer.bytes
                heard = SystemClock.now()
            }
            while let bytes = requests[LSN(written.bytes + UInt64(buffer.count))]?.bytes {
                let position = LSN(written.bytes + UInt64(buffer.count))
                let wanted = requests[position]?.count ?? 0
                requests[position] = nil
                buffer += bytes
                // It may read less than was wanted, never nothing: the rest is asked for again.
                if bytes.count < wanted {
                    let rest = LSN(position.bytes + UInt64(bytes.count))
                    requests[rest] = Request(number: number(), count: wanted - bytes.count)
                    if let request = requests[rest] { try ask(timeline, rest, request) }
                }
            }
            if buffer.count >= Self.piece || (!buffer.isEmpty && written.bytes + UInt64(buffer.count) >= end.bytes) {
                try postgres.writeWAL(timeline, buffer, at: written)
                written = LSN(written.bytes + UInt64(buffer.count))
                buffer = []
                // What came meanwhile waits in the mailbox.
                heard = SystemClock.now()
            }
            let now = SystemClock.now()
            guard now - heard < Self.answerPatience.nanoseconds else {
                throw TailError(
                    text: "the other host did not answer for the WAL behind \(written) within \(Self.answerPatience.text)")
            }
            for (position, request) in requests where request.bytes == nil && now - request.askedAt > Self.repetition.nanoseconds
            {
                requests[position]?.askedAt = now
                try ask(timeline, position, request)
            }
        }
    }

    private struct Request {
        var number: UInt64
        var count: Int
        var askedAt = SystemClock.now()
        var bytes: [UInt8]?
    }

    private func number() -> UInt64 {
        numbers.withLock { number in
            number += 1
            return number
        }
    }

    private func ask(_ timeline: Timeline, _ position: LSN, _ request: Request) throws {
        outstanding.withLock { _ = $0.insert(request.number) }
        let document = WALRequestDocument(
            id: request.number, timeline: timeline, position: position.description, count: request.count)
        link.sendOnce(FrameKind.walRequest, try JSON.encode(document))
    }

    /// A frame `walData`.
    public func received(_ payload: [UInt8]) {
        guard payload.count > 16 else { return }
        func word(_ at: Int) -> UInt64 { payload[at..<at + 8].reduce(0) { $0 << 8 | UInt64($1) } }
        // What nobody asked for is not kept.
        guard outstanding.withLock({ $0.contains(word(0)) }) else { return }
        arrived.post((word(0), LSN(word(8)), Array(payload[16...])))
    }

    /// A frame `walRequest`: answered from the files, wherever the instance is not open for writes.
    /// - Parameter reply: sends on the path that the request came by, and on no other: heartbeats go by all of them.
    public func serve(_ payload: [UInt8], reply: (UInt8, [UInt8]) -> Void) throws {
        let request = try JSON.decode(WALRequestDocument.self, from: payload)
        guard let position = LSN(request.position), request.count > 0, request.count <= Self.chunk else {
            throw TailError(text: "a request for WAL at `\(request.position)`, \(request.count) bytes, was refused")
        }
        let bytes = try postgres.readWAL(request.timeline, from: position, count: request.count)
        var answer: [UInt8] = []
        for word in [request.id, position.bytes] {
            answer += (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64($0))) }
        }
        reply(FrameKind.walData, answer + bytes)
    }
}

struct TailError: Error, CustomStringConvertible {
    var text: String
    var description: String { text }
}
