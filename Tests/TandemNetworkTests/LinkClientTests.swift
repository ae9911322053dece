import Foundation
import Synchronization
import TandemSystem
import Testing

@testable import TandemNetwork

@Suite("The blocking client", .serialized, .timeLimit(.minutes(30)))
struct LinkClientTests {
    @Test func `it asks and is answered, and is no path for the agents`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b", verdict: { $0 == "join" ? .client : .peer })
        let client = try connect(pair, a)
        defer { client.close() }
        #expect(String(decoding: client.peerHello, as: UTF8.self) == "hello of a")
        try client.send(kind: 5, payload: [1, 2])
        eventually("the request came") { a.recorder.now.frames.count == 1 }
        let path = try #require(a.recorder.now.frames.first?.path)
        #expect(path.peer == "b" && !path.dialled)
        #expect(a.link.paths.isEmpty && a.recorder.now.up.isEmpty)
        #expect(try a.link.send(kind: 1, payload: [], on: .all) == 0)
        #expect(try a.link.send(kind: 6, payload: [3], on: .path(path)) == 1)
        #expect(try client.receive(deadline: .seconds(5)) == Frame(kind: 6, payload: [3]))
        let late = try #require(throws: LinkError.self) { try client.receive(deadline: .milliseconds(50)) }
        #expect(late.kind == .timedOut)
        #expect(try a.link.send(kind: 200, payload: [4], on: .path(path)) == 1)
        #expect(try client.receive(deadline: .seconds(5)) == Frame(kind: 200, payload: [4]))
        client.close()
        eventually("the agent hears of its end") { a.recorder.now.down.map(\.path) == [path] }
        #expect(throws: LinkError.self) { try client.receive(deadline: .seconds(5)) }
        #expect(throws: LinkError.self) { try client.send(kind: 5, payload: []) }
    }

    @Test func `what was sent before the end is still received, then the end`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b", verdict: { _ in .client })
        let client = try connect(pair, a)
        defer { client.close() }
        try client.send(kind: 5, payload: [])
        eventually("the request came") { a.recorder.now.frames.count == 1 }
        let path = try #require(a.recorder.now.frames.first?.path)
        // More than a socket takes at once: a part waits in the link when it stops.
        let pieces = (0..<3).map { [UInt8](repeating: UInt8($0), count: 1 << 20) }
        for piece in pieces { #expect(try a.link.send(kind: 200, payload: piece, on: .path(path)) == 1) }
        a.link.stop()
        for piece in pieces { #expect(try client.receive(deadline: .seconds(5)).payload == piece) }
        #expect(try #require(throws: LinkError.self) { try client.receive(deadline: .seconds(5)) }.kind == .closed)
    }

    @Test func `a slow reader holds the sender back instead of filling memory`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b", verdict: { _ in .client })
        let client = try connect(pair, a)
        defer { client.close() }
        try client.send(kind: 5, payload: [])
        eventually("the request came") { a.recorder.now.frames.count == 1 }
        let path = try #require(a.recorder.now.frames.first?.path)
        let piece = [UInt8](repeating: 9, count: 256 << 10)
        var sent = 0
        // Nobody receives: the mailbox fills (4 MiB), then the sockets of both sides, then the agent's queue begins to wait.
        while sent < 200, SystemClock.wait(upTo: .milliseconds(300), until: { a.link.waiting(on: path) < 1 << 20 }) {
            #expect(try a.link.send(kind: 200, payload: piece, on: .path(path)) == 1)
            sent += 1
        }
        #expect(sent < 200, "50 MiB disappeared somewhere")
        for _ in 0..<sent { #expect(try client.receive(deadline: .seconds(5)).payload.count == piece.count) }
        #expect(a.recorder.now.down.isEmpty)
    }

    @Test func `nobody there, a stranger there, the wrong node there`() throws {
        let pair = try Pair(nodes: ["a", "b", "c"])
        let a = try Agent(try pair.identity("a"), peer: "b")
        let port = try a.address.port
        let wrong = try #require(throws: LinkError.self) {
            try LinkClient.connect(
                identity: try pair.identity("b"), peer: "c", host: "127.0.0.1", port: port, hello: [], deadline: .seconds(5))
        }
        #expect(wrong.kind == .refused && wrong.happened.contains("expected c.orders.pgtandem"))
        a.link.stop()
        let nobody = try #require(throws: LinkError.self) { try connect(pair, port: port) }
        #expect(nobody.kind == .cannotConnect && nobody.description.contains("127.0.0.1:\(port)"))
        let name = try #require(throws: LinkError.self) {
            try LinkClient.connect(
                identity: try pair.identity("b"), peer: "a", host: "example", port: 1, hello: [], deadline: .seconds(1))
        }
        #expect(name.kind == .notAnAddress)
    }

    @Test func `a refused hello ends the connection`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b", verdict: { _ in .refuse("not now") })
        // Their hello comes before they have judged ours, so the refusal shows at the first answer at the latest.
        let error = try #require(throws: LinkError.self) {
            let client = try connect(pair, a)
            defer { client.close() }
            _ = try client.receive(deadline: .seconds(5))
        }
        #expect(error.kind == .closed)
    }

    private func connect(_ pair: Pair, _ agent: Agent) throws -> LinkClient { try connect(pair, port: try agent.address.port) }

    private func connect(_ pair: Pair, port: Int) throws -> LinkClient {
        try LinkClient.connect(
            identity: try pair.identity("b"), peer: "a", host: "127.0.0.1", port: port, hello: Array("join".utf8),
            deadline: .seconds(5))
    }
}

/// Lets something go on.
final class Release: Sendable {
    private let value = Atomic(false)

    func set() { value.store(true, ordering: .releasing) }

    var isSet: Bool { value.load(ordering: .acquiring) }
}
