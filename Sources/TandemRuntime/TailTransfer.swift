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
    private let outstanding = Mutex<UInt64?>(nil)

    /// Small enough to share the link with heartbeats.
    static let chunk = 256 << 10
    /// The old primary has ended its instance before it handed over: what is still in the stream's sockets arrives at once.
    static let streamPatience = Duration.milliseconds(300)
    static let answerPatience = Duration.seconds(2)

    public init(postgres: any PostgresPort, link: any LinkPort) throws {
        self.postgres = postgres
        self.link = link
        arrived = try Mailbox()
    }

    /// Returns when everything up to `end` is flushed here: received, or in `pg_wal` as records that recovery will read to that very
    /// position. A promotion replays all of it before it ends recovery, so nothing is waited for besides.
    public func receive(upTo end: LSN) throws {
        let began = SystemClock.now()
        while true {
            let here = try postgres.receivedWAL()
            // Without a stream, a position may count bytes of a torn record: what is on disk is read instead.
            if here.isStreaming, here.position >= end { return }
            let waited = Duration.nanoseconds(SystemClock.now() - began)
            if !here.isStreaming || waited > Self.streamPatience {
                // The stream has ended, or brings nothing any more: the rest is read straight from the other host's disk.
                if try postgres.findEndOfWAL(from: here.replayed) >= end { return }
                try fetch(here.timeline, from: here.position, upTo: end)
                let reached = try postgres.findEndOfWAL(from: here.replayed)
                guard reached >= end else {
                    throw TailError(
                        text: "WAL up to \(end) is needed, and what the other host sent is valid up to \(reached) only")
                }
                return
            }
            _ = SystemClock.wait(upTo: .milliseconds(1), step: .milliseconds(1)) { false }
        }
    }

    private func fetch(_ timeline: Timeline, from start: LSN, upTo end: LSN) throws {
        var position = start
        while position < end {
            let count = Int(min(UInt64(Self.chunk), end.bytes - position.bytes))
            let bytes = try ask(timeline, position, count)
            guard !bytes.isEmpty, bytes.count <= count else {
                throw TailError(text: "the other host sent \(bytes.count) bytes of \(count)")
            }
            try postgres.writeWAL(timeline, bytes, at: position)
            position = LSN(position.bytes + UInt64(bytes.count))
        }
    }

    private func ask(_ timeline: Timeline, _ position: LSN, _ count: Int) throws -> [UInt8] {
        let id = numbers.withLock { number in
            number += 1
            return number
        }
        outstanding.withLock { $0 = id }
        defer { outstanding.withLock { $0 = nil } }
        let request = WALRequestDocument(id: id, timeline: timeline, position: position.description, count: count)
        link.send(FrameKind.walRequest, try JSON.encode(request))
        let deadline = SystemClock.after(Self.answerPatience)
        while SystemClock.now() < deadline {
            for answer in arrived.take(waiting: .milliseconds(50)) where answer.id == id && answer.position == position {
                return answer.bytes
            }
        }
        throw TailError(text: "the other host did not answer for the WAL at \(position) within \(Self.answerPatience.text)")
    }

    /// A frame `walData`.
    public func received(_ payload: [UInt8]) {
        guard payload.count > 16 else { return }
        func word(_ at: Int) -> UInt64 { payload[at..<at + 8].reduce(0) { $0 << 8 | UInt64($1) } }
        // What nobody asked for is not kept.
        guard outstanding.withLock({ $0 }) == word(0) else { return }
        arrived.post((word(0), LSN(word(8)), Array(payload[16...])))
    }

    /// A frame `walRequest`: answered from the files, wherever the instance is not open for writes.
    public func serve(_ payload: [UInt8]) throws {
        let request = try JSON.decode(WALRequestDocument.self, from: payload)
        guard let position = LSN(request.position), request.count > 0, request.count <= Self.chunk else {
            throw TailError(text: "a request for WAL at `\(request.position)`, \(request.count) bytes, was refused")
        }
        let bytes = try postgres.readWAL(request.timeline, from: position, count: request.count)
        var answer: [UInt8] = []
        for word in [request.id, position.bytes] {
            answer += (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64($0))) }
        }
        link.send(FrameKind.walData, answer + bytes)
    }
}

struct TailError: Error, CustomStringConvertible {
    var text: String
    var description: String { text }
}
