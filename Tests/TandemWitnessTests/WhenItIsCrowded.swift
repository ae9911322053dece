import CLinux
import Glibc
import Synchronization
import TandemCore
import TandemSystem
import TandemWire
import Testing

@testable import TandemNetwork
@testable import TandemWitness

@Suite("A witness in a crowd", .serialized, .timeLimit(.minutes(30)))
struct WhenItIsCrowded {
    /// A plain TCP connection that says nothing.
    private final class Stranger {
        let socket: Int32
        init(_ address: LinkAddress, from host: String) throws {
            socket = Glibc.socket(AF_INET, cl_sock_stream, 0)
            func call(_ host: String, _ port: Int, _ work: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
                var target = sockaddr_in()
                target.sin_family = sa_family_t(AF_INET)
                target.sin_port = in_port_t(UInt16(port)).bigEndian
                inet_pton(AF_INET, host, &target.sin_addr)
                return withUnsafePointer(to: &target) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        work(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
            }
            try #require(call(host, 0) { bind($0, $1, $2) } == 0)
            try #require(call(address.host, address.port) { connect($0, $1, $2) } == 0, "errno \(errno)")
        }
        deinit { close(socket) }
    }

    @Test func `a flood of silent connections keeps no pair out, and does not pile up`() throws {
        let place = try Place()
        let witness = try place.start { limits in
            limits.unknown = 20
            limits.unknownPerCluster = 0
            // Only places may be what lets a node in, not the end of others' patience.
            limits.connection.handshake = .seconds(60)
        }
        let pair = try KnownPair(place.cluster, at: try witness.address, ledger: Ledgers.paired())
        let address = try witness.address
        let (isOver, hasEnded) = (try Bell(), try Bell())
        let count = Mutex(0)
        try OwnThread.start("flood") {
            var strangers: [Stranger] = []
            // Not faster: a machine has so many ports.
            while !isOver.wait(upTo: .milliseconds(1)) {
                do {
                    strangers.append(try Stranger(address, from: "127.0.0.2"))
                } catch {
                    break
                }
                // As many again as there are places; the oldest have been ended long since.
                if strangers.count > 40 { strangers.removeFirst() }
                count.withLock { $0 += 1 }
            }
            hasEnded.ring()
        }
        defer {
            isOver.ring()
            hasEnded.wait(upTo: .seconds(10))
        }
        for round in 1...20 {
            eventually("the flood goes on") { count.withLock { $0 } > round * 30 }
            #expect(try pair.a.ask(.heartbeat(Ledgers.paired(), position: nil)).promised != nil)
            let again = try TestNode("b", of: place.cluster, at: address)
            #expect(try again.ask(.read).record == Ledgers.paired())
            #expect(witness.service.connections.unknown <= 20)
        }
        #expect(witness.recorder.holds("a connection was refused", "127.0.0.2", "too many connections"))
    }

    @Test func `who has to go: the crowd first, a known address last`() {
        var lobby = Lobby(places: 4)
        lobby.enter(1, from: "10.0.0.1")
        lobby.leave(1, from: "10.0.0.1", isKnown: true)
        lobby.enter(2, from: "10.0.0.1")
        lobby.enter(3, from: "10.0.0.1")
        lobby.enter(4, from: "2001:db8:1:2::5")
        #expect(lobby.victim() == nil)
        lobby.enter(5, from: "10.0.0.3")
        #expect(lobby.victim() == 5 || lobby.victim() == 4, "known ones stay, although they are more")
        lobby.leave(5, from: "10.0.0.3", isKnown: false)
        lobby.enter(6, from: "2001:db8:1:2::6")
        #expect(lobby.victim() == 4, "the oldest of one network")
        lobby.leave(4, from: "2001:db8:1:2::5", isKnown: false)
        lobby.leave(6, from: "2001:db8:1:2::6", isKnown: false)
        lobby.enter(7, from: "10.0.0.1")
        lobby.enter(8, from: "10.0.0.1")
        #expect(lobby.victim() == 2, "if nobody else is there")
        #expect(lobby.count == 4)
    }

    @Test func `a node that floods is slowed down, and its pair's other node is not`() throws {
        let place = try Place()
        let witness = try place.start { $0.connection.framesPerSecond = 50 }
        let pair = try KnownPair(place.cluster, at: try witness.address)
        let began = SystemClock.now()
        for _ in 0..<1000 { try pair.a.send(.read) }
        #expect(try pair.b.ask(.read).generation == 1)
        var answers = 0
        while try pair.a.hear(within: .seconds(1)) != nil { answers += 1 }
        let seconds = Double(SystemClock.now() - began) / 1e9
        #expect(answers >= 50, "what is allowed is answered")
        #expect(Double(answers) <= 51 + 50 * seconds, "\(answers) in \(seconds) s")
        #expect(answers < 1000)
        #expect(witness.recorder.holds("more than 50 frames in a second"))
        #expect(try pair.a.ask(.read).generation == 1, "it is let in again when it behaves")
    }

    @Test func `a node that does not read is disconnected, one that reads is not`() throws {
        let place = try Place()
        let witness = try place.start { limits in
            limits.connection.framesPerSecond = 1_000_000
            limits.connection.queuedBytes = 64 << 10
            limits.connection.sendBuffer = 4 << 10
            // Only the bytes that wait may end it.
            limits.connection.unconfirmed = .seconds(60)
        }
        let pair = try KnownPair(place.cluster, at: try witness.address, ledger: Ledgers.paired())
        let batch = 50
        for _ in 0..<40 {
            for _ in 0..<batch { try pair.b.send(.read) }
            for _ in 0..<batch { #expect(try pair.b.hear(within: .seconds(10)) != nil) }
        }
        // Its client takes four megabytes that nobody fetches, then reads no more.
        let deaf = try TestNode("a", of: place.cluster, at: try witness.address)
        eventually("it is there") { witness.service.connections.guests == 3 }
        var sent = 0
        try eventually("it is disconnected", within: .seconds(90)) {
            do {
                for _ in 0..<batch { try deaf.send(.read) }
            } catch is LinkError {
                return true
            }
            sent += batch
            return witness.service.connections.guests == 2
        }
        #expect(sent > 40 * batch)
        eventually("only the others are left") { witness.service.connections.guests == 2 }
        #expect(witness.recorder.holds("a node left", "does not read"))
        #expect(try pair.b.ask(.read).record == Ledgers.paired())
    }

    @Test func `a node's fifth connection takes the place of its first`() throws {
        let place = try Place()
        let witness = try place.start()
        let pair = try KnownPair(place.cluster, at: try witness.address)
        let more = try (0..<4).map { _ in try TestNode("a", of: place.cluster, at: try witness.address) }
        #expect(try pair.a.isDismissed())
        for node in more { #expect(try node.ask(.read).generation == 1) }
        #expect(try pair.b.ask(.read).generation == 1)
    }
}
