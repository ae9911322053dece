import Foundation
import NIOCore
import TandemSystem
import Testing

@testable import TandemNetwork

@Suite("Strangers, and peers that break the rules", .serialized, .timeLimit(.minutes(30)))
struct StrangerTests {
    /// Who dials, what it shows, and how `a` words the refusal.
    @Test(arguments: ["another authority", "another cluster", "another node", "our own"])
    func `a wrong certificate is refused on both sides`(what: String) throws {
        let pair = try Pair(nodes: ["a", "b", "c"])
        let other: TLSIdentity
        let words: String
        switch what {
        case "another authority": (other, words) = (try Pair().identity("b"), "not one of this cluster's authority")
        case "another cluster":
            (other, words) = (try Pair(cluster: "billing").identity("b"), "not one of this cluster's authority")
        case "another node": (other, words) = (try pair.identity("c"), "is for c.orders.pgtandem, expected b.orders.pgtandem")
        default: (other, words) = (try pair.identity("a"), "certificate of this node itself")
        }
        let a = try Agent(try pair.identity("a"), peer: "b")
        // Accepting: somebody without scruples about our certificate dials.
        let stranger = try RawPeer(other, peer: "a", to: try a.address)
        defer { end(stranger) }
        eventually("it is refused and told") { a.recorder.now.refused.contains { $0.contains(words) } && stranger.isClosed }
        #expect(a.link.statistics.refused == 1 && a.link.paths.isEmpty && a.recorder.now.hellos.isEmpty)
        // Dialling: somebody else answers at the peer's address.
        let impostor = try Agent(other, peer: other.node == "a" ? "b" : "a")
        try a.link.replace(peerAddresses: impostor.link.listening)
        eventually("it is refused when we dial") { a.recorder.now.dialFailed.contains { $0.contains(words) } }
        #expect(a.link.paths.isEmpty && impostor.link.paths.isEmpty)
    }

    @Test func `the refused side is told that its certificate was refused`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "c")
        let error = try #require(throws: LinkError.self) {
            try LinkClient.connect(
                identity: try pair.identity("b"), peer: "a", host: "127.0.0.1", port: try a.address.port, hello: [],
                deadline: .seconds(5))
        }
        #expect(error.kind == .refused || error.kind == .closed, "\(error)")
    }

    @Test func `plain text on the port is refused`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b")
        let web = try Stranger(try a.address)
        web.send(Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
        eventually("closed and told") { web.isClosed && a.recorder.now.refused.contains { $0.contains("does not speak TLS") } }
        let noise = try Stranger(try a.address)
        noise.send(Random.bytes(4096))
        eventually("noise is closed too") { noise.isClosed && a.link.statistics.refused == 2 }
    }

    @Test func `a stranger that says nothing is closed`() throws {
        let pair = try Pair()
        var limits = LinkLimits()
        limits.handshake = .milliseconds(200)
        let a = try Agent(try pair.identity("a"), peer: "b", limits: limits)
        let stranger = try Stranger(try a.address)
        eventually("closed") { stranger.isClosed && a.link.statistics.accepted == 0 }
        #expect(a.recorder.now.refused.first?.contains("no TLS handshake in time") == true)
    }

    @Test func `idle strangers take no descriptors and do not keep the peer out`() throws {
        let pair = try Pair()
        var limits = LinkLimits()
        // Only the bound on their number may end them here.
        limits.handshake = .seconds(60)
        let a = try Agent(try pair.identity("a"), peer: "b", limits: limits)
        var strangers: [Stranger] = []
        for _ in 0..<100 { strangers.append(try Stranger(try a.address)) }
        eventually("those beyond the bound are closed") { strangers.count { $0.isClosed } >= 84 }
        #expect(a.link.statistics.accepted <= 16)
        let b = try Agent(try pair.identity("b"), peer: "a", dial: a.link.listening)
        eventually("the peer comes in", within: .seconds(2)) { a.link.paths.count == 1 && b.link.paths.count == 1 }
        for _ in 0..<50 { strangers.append(try Stranger(try a.address)) }
        eventually("only newcomers and the peer are left") { strangers.count { $0.isClosed } >= 135 }
        #expect(a.link.statistics.accepted <= 16)
        #expect(a.recorder.now.down.isEmpty, "the peer's path stayed")
    }

    @Test func `known connections are never pushed out, and a full house opens again`() throws {
        let pair = try Pair()
        var limits = LinkLimits()
        limits.accepted = 1
        let a = try Agent(try pair.identity("a"), peer: "b", limits: limits)
        let first = try RawPeer(try pair.identity("b"), peer: "a", to: try a.address)
        first.sayHello()
        eventually("up") { a.link.paths.count == 1 }
        let second = try RawPeer(try pair.identity("b"), peer: "a", to: try a.address)
        eventually("the second one is refused") { second.isClosed && a.recorder.now.refused.contains { $0.contains("too many") } }
        #expect(a.link.paths.count == 1 && !first.isClosed)
        end(second)
        end(first)
        eventually("down") { a.link.statistics.accepted == 0 }
        let third = try RawPeer(try pair.identity("b"), peer: "a", to: try a.address)
        defer { end(third) }
        third.sayHello()
        eventually("up again") { a.link.paths.count == 1 }
    }

    /// Each is what a peer with a good certificate may say, and how it is worded.
    static let offences: [(name: String, hello: Bool, bytes: [UInt8], end: String)] = [
        ("length zero", true, [0, 0, 0, 0], "length zero"),
        ("an oversized ordinary frame", true, [0, 1, 0, 2, 1], "65537 bytes, 65536 are allowed"),
        ("an oversized bulk frame", true, [0x7f, 0xff, 0xff, 0xff, 200], "are allowed"),
        ("a frame before hello", false, [0, 0, 0, 2, 5, 1], "kind 5 before hello"),
        ("hello twice", true, [0, 0, 0, 1, 0], "hello twice"),
        ("noise", true, [UInt8](repeating: 0xff, count: 3000), "are allowed"),
    ]

    @Test(arguments: offences.indices)
    func `a peer that breaks the protocol is closed with the reason`(index: Int) throws {
        let offence = Self.offences[index]
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b")
        let b = try RawPeer(try pair.identity("b"), peer: "a", to: try a.address)
        defer { end(b) }
        if offence.hello { b.sayHello() }
        b.send(offence.bytes)
        eventually("\(offence.name): closed") { b.isClosed && a.link.paths.isEmpty && !a.recorder.now.refused.isEmpty }
        #expect(a.recorder.now.refused.first?.contains(offence.end) == true, "\(a.recorder.now.refused)")
        #expect(a.recorder.now.down.count == (offence.hello ? 1 : 0))
        #expect(a.recorder.now.frames.isEmpty)
    }

    @Test func `a frame that is cut off is told`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b")
        let b = try RawPeer(try pair.identity("b"), peer: "a", to: try a.address)
        b.sayHello()
        b.send([0, 0, 0, 100, 3, 1, 2, 3])
        eventually("up") { a.link.paths.count == 1 }
        try b.end()
        eventually("told") { a.recorder.now.down.map(\.end) == [.truncatedFrame(bytes: 8)] }
        #expect(a.recorder.now.frames.isEmpty)
    }

    @Test func `a peer that says no hello is closed`() throws {
        let pair = try Pair()
        var limits = LinkLimits()
        limits.hello = .milliseconds(300)
        let a = try Agent(try pair.identity("a"), peer: "b", limits: limits)
        let b = try RawPeer(try pair.identity("b"), peer: "a", to: try a.address)
        defer { end(b) }
        eventually("closed") { b.isClosed && a.recorder.now.refused.first?.contains("no hello in time") == true }
        #expect(a.recorder.now.up.isEmpty)
    }

    @Test func `a peer that never reads is closed, and the queue stays bounded`() throws {
        let pair = try Pair()
        var limits = LinkLimits()
        // The other bounds would end it too; here it is the queue that must.
        limits.unconfirmed = .seconds(60)
        limits.silence = .seconds(60)
        let a = try Agent(try pair.identity("a"), peer: "b", limits: limits)
        let b = try RawPeer(try pair.identity("b"), peer: "a", to: try a.address)
        defer { end(b) }
        b.sayHello()
        eventually("up") { a.link.paths.count == 1 }
        let path = try #require(a.link.paths.first)
        try b.stopReading()
        let piece = [UInt8](repeating: 1, count: 256 << 10)
        var most = 0
        try eventually("closed") {
            _ = try a.link.send(kind: 200, payload: piece, on: .all)
            most = max(most, a.link.waiting(on: path))
            return !a.recorder.now.down.isEmpty
        }
        guard case .doesNotRead(let bytes)? = a.recorder.now.down.first?.end else {
            Issue.record("\(a.recorder.now.down)")
            return
        }
        #expect(bytes <= limits.queuedBytes && most <= limits.queuedBytes)
        #expect(bytes > 3 << 20)
        #expect(a.link.paths.isEmpty && a.link.statistics.accepted == 0)
    }

    private func end(_ peer: RawPeer) {
        do {
            try peer.end()
        } catch {
            Issue.record("\(error)")
        }
    }
}

@Suite("Frames")
struct FrameTests {
    @Test func `frames are found wherever the stream is cut`() throws {
        let frames = [
            Frame(kind: 0, payload: [1, 2, 3]), Frame(kind: 1, payload: []), Frame(kind: 255, payload: Random.bytes(70_000)),
            Frame(kind: 127, payload: Random.bytes(Frame.ordinaryLimit)),
        ]
        let stream = frames.flatMap { Array(buffer: Frame.encoded(kind: $0.kind, payload: $0.payload)) }
        for size in [1, 2, 3, 5, 7, 1000, 65_541, stream.count] {
            var reader = FrameReader()
            var found: [Frame] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                reader.append(ByteBuffer(bytes: stream[start..<min(start + size, stream.count)]))
                while let frame = try reader.next() { found.append(frame) }
            }
            #expect(found == frames)
            #expect(!reader.hasPart)
        }
    }

    @Test func `a length beyond the limit is refused at its fifth byte`() throws {
        var reader = FrameReader()
        reader.append(ByteBuffer(bytes: [0xff, 0xff, 0xff, 0xff]))
        #expect(try reader.next() == nil)
        reader.append(ByteBuffer(bytes: [0x80]))
        #expect(throws: LinkEnd.frameTooLong(kind: 0x80, bytes: 0xffff_fffe, limit: Frame.bulkLimit)) { try reader.next() }
    }

    @Test func `reports are limited per key, counted, and bounded in memory`() {
        var limiter = RateLimiter(every: .seconds(10), room: 2)
        let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
        #expect(limiter.admit("x", at: start) == 0)
        #expect(limiter.admit("x", at: start + .seconds(1)) == nil)
        #expect(limiter.admit("x", at: start + .seconds(11)) == 1)
        #expect(limiter.admit("y", at: start + .seconds(11)) == 0)
        #expect(limiter.admit("z", at: start + .seconds(12)) == nil)
        #expect(limiter.admit("z", at: start + .seconds(30)) == 0)
    }
}
