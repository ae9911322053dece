import Foundation
import Glibc
import NIOCore
import TandemSystem
import Testing

@testable import TandemNetwork

@Suite("Two agents on a link", .serialized, .timeLimit(.minutes(30)))
struct LinkTests {
    @Test func `both dial, and every connection is a path`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b", listen: ["127.0.0.1", "127.0.0.2"])
        let b = try Agent(try pair.identity("b"), peer: "a", listen: ["127.0.0.1", "127.0.0.2"], dial: a.link.listening)
        try a.link.replace(peerAddresses: b.link.listening)
        eventually("four paths on each side") { a.link.paths.count == 4 && b.link.paths.count == 4 }
        #expect(a.link.paths.filter(\.dialled).count == 2)
        #expect(a.link.paths.allSatisfy { $0.peer == "b" })
        #expect(Set(a.recorder.now.hellos) == ["hello of b"])
        #expect(try a.link.send(kind: 7, payload: [1, 2, 3], on: .all) == 4)
        eventually("the frame arrives on each path") { b.recorder.now.frames.count == 4 }
        #expect(b.recorder.now.frames.allSatisfy { $0.frame == Frame(kind: 7, payload: [1, 2, 3]) })
        #expect(try b.link.send(kind: 8, payload: [], on: .any) == 1)
        eventually("an empty payload arrives once") { a.recorder.now.frames.map(\.frame) == [Frame(kind: 8, payload: [])] }
        #expect(a.recorder.now.refused.isEmpty && b.recorder.now.refused.isEmpty)
    }

    @Test func `what goes in turn takes one connection of an address and then the other`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b")
        let b = try Agent(try pair.identity("b"), peer: "a", dial: a.link.listening)
        try a.link.replace(peerAddresses: b.link.listening)
        eventually("two paths on each side") { a.link.paths.count == 2 && b.link.paths.count == 2 }
        for number in 0..<4 as Range<UInt8> {
            #expect(try a.link.send(kind: 7, payload: [number], on: .inTurn) == 1)
        }
        eventually("they arrive") { b.recorder.now.frames.count == 4 }
        let came = Dictionary(grouping: b.recorder.now.frames) { $0.path.id }.values.map { $0.flatMap(\.frame.payload) }
        #expect(Set(came) == [[0, 2], [1, 3]])
        let lost = try #require(a.link.paths.first)
        a.link.close(lost, because: "a test")
        eventually("it is gone") { a.link.paths.count == 1 }
        for number in 4..<6 as Range<UInt8> { #expect(try a.link.send(kind: 7, payload: [number], on: .inTurn) == 1) }
        eventually("the one that is left takes all") { b.recorder.now.frames.count == 6 }
    }

    @Test func `what goes in turn takes each address of the other host`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b")
        let b = try Agent(try pair.identity("b"), peer: "a", listen: ["127.0.0.2", "127.0.0.3"])
        try a.link.replace(peerAddresses: b.link.listening)
        eventually("two paths") { a.link.paths.count == 2 && b.link.paths.count == 2 }
        #expect(try a.link.send(kind: 7, payload: [1], on: .inTurn) == 2)
        eventually("they arrive") { b.recorder.now.frames.count == 2 }
    }

    @Test func `frames of one thread arrive in order, bulk among them`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b")
        let b = try Agent(try pair.identity("b"), peer: "a", dial: a.link.listening)
        eventually("a path") { b.link.paths.count == 1 && a.link.paths.count == 1 }
        let path = try #require(b.link.paths.first)
        let bulk = [UInt8](repeating: 7, count: 1 << 20)
        for number in 0..<40 {
            #expect(try b.link.send(kind: 1, payload: [UInt8(number)], on: .path(path)) == 1)
            #expect(try b.link.send(kind: 200, payload: bulk, on: .path(path)) == 1)
            eventually("room") { b.link.waiting(on: path) < 2 << 20 }
        }
        eventually("all came") { a.recorder.now.frames.count == 80 }
        let frames = a.recorder.now.frames.map(\.frame)
        #expect(frames.filter { $0.kind == 1 }.map(\.payload) == (0..<40).map { [UInt8($0)] })
        #expect(frames.filter { $0.kind == 200 }.allSatisfy { $0.payload == bulk })
        #expect(a.recorder.now.down.isEmpty)
    }

    @Test func `a longer payload than its kind may have is refused before it is sent`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b", listen: [])
        let error = try #require(throws: LinkError.self) {
            try a.link.send(kind: 1, payload: [UInt8](repeating: 0, count: Frame.ordinaryLimit + 1), on: .all)
        }
        #expect(error.kind == .frameTooLong)
        for kind in [Frame.hello, Frame.keepAlive] {
            let reserved = try #require(throws: LinkError.self) { try a.link.send(kind: kind, payload: [], on: .all) }
            #expect(reserved.kind == .reservedKind)
        }
    }

    @Test func `one path is lost, frames take the other, and it returns`() throws {
        let pair = try Pair()
        let b = try Agent(try pair.identity("b"), peer: "a", listen: ["127.0.0.1", "127.0.0.2"])
        let relays = try b.link.listening.map { try Relay(to: $0, on: $0.host) }
        defer { end(relays) }
        let a = try Agent(try pair.identity("a"), peer: "b", listen: [], dial: relays.map(\.address))
        eventually("two paths") { a.link.paths.count == 2 && b.link.paths.count == 2 }
        relays[0].become(.cut)
        eventually("one path is told to be down") { a.recorder.now.down.count == 1 && b.link.paths.count == 1 }
        #expect(a.recorder.now.down.first?.path.remote == relays[0].address)
        #expect(a.link.paths.map(\.remote) == [relays[1].address])
        #expect(try a.link.send(kind: 1, payload: [1], on: .any) == 1)
        #expect(try a.link.send(kind: 1, payload: [2], on: .all) == 1)
        eventually("both came over the other path") { b.recorder.now.frames.map(\.frame.payload) == [[1], [2]] }
        relays[0].become(.passing)
        eventually("the path is back") { a.link.paths.count == 2 && a.recorder.now.up.count == 3 }
        #expect(try a.link.send(kind: 1, payload: [3], on: .all) == 2)
        eventually("and carries frames") { b.recorder.now.frames.count == 4 }
    }

    @Test func `a path that swallows everything is given up, the other one stays`() throws {
        let pair = try Pair()
        var limits = LinkLimits()
        limits.silence = .milliseconds(400)
        let b = try Agent(try pair.identity("b"), peer: "a", listen: ["127.0.0.1", "127.0.0.2"], limits: limits)
        let relays = try b.link.listening.map { try Relay(to: $0, on: $0.host) }
        defer { end(relays) }
        let a = try Agent(try pair.identity("a"), peer: "b", listen: [], dial: relays.map(\.address), limits: limits)
        eventually("two paths") { a.link.paths.count == 2 && b.link.paths.count == 2 }
        relays[0].become(.frozen)
        try eventually("the silent path ends") {
            _ = try a.link.send(kind: 1, payload: [1], on: .all)
            _ = try b.link.send(kind: 1, payload: [1], on: .all)
            return a.recorder.now.down.contains { $0.path.remote == relays[0].address }
        }
        // Whoever notices first closes, and the other one sees that.
        let ends = (a.recorder.now.down + b.recorder.now.down).map(\.end)
        #expect(ends.contains(.silent(.milliseconds(400))))
        #expect(a.link.paths.contains { $0.remote == relays[1].address })
        #expect(!a.recorder.now.down.contains { $0.path.remote == relays[1].address })
    }

    @Test func `an idle path stays, and a dead one is noticed although nobody sends`() throws {
        let pair = try Pair()
        var limits = LinkLimits()
        limits.silence = .milliseconds(400)
        let b = try Agent(try pair.identity("b"), peer: "a", limits: limits)
        let relay = try Relay(to: try b.address, on: "127.0.0.1")
        defer { end([relay]) }
        let a = try Agent(try pair.identity("a"), peer: "b", listen: [], dial: [relay.address], limits: limits)
        eventually("a path") { a.link.paths.count == 1 && b.link.paths.count == 1 }
        // One direction only: its answers would be on another path.
        _ = SystemClock.wait(upTo: .milliseconds(1500)) {
            do {
                return try a.link.send(kind: 1, payload: [], on: .all) == 0
            } catch {
                Issue.record("\(error)")
                return true
            }
        }
        #expect(a.recorder.now.down.isEmpty && b.recorder.now.down.isEmpty)
        _ = SystemClock.wait(upTo: .milliseconds(1500)) { !a.recorder.now.down.isEmpty }
        #expect(a.recorder.now.down.isEmpty && b.recorder.now.down.isEmpty)
        #expect(a.recorder.now.frames.isEmpty, "the link's own frames are delivered to nobody")
        relay.become(.frozen)
        eventually("noticed") { !a.recorder.now.down.isEmpty && !b.recorder.now.down.isEmpty }
    }

    @Test func `an agent that stops ends its paths, one that starts again finds them`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b")
        let port = try a.address.port
        let b = try Agent(try pair.identity("b"), peer: "a", dial: a.link.listening)
        eventually("a path") { b.link.paths.count == 1 && a.link.paths.count == 1 }
        // The last words before a stop are not lost.
        #expect(try a.link.send(kind: 9, payload: [9], on: .any) == 1)
        a.link.stop()
        eventually("the last frame and the end came") {
            b.recorder.now.frames.map(\.frame.kind) == [9] && b.recorder.now.down.map(\.end) == [.closedByPeer]
        }
        #expect(a.recorder.now.down.map(\.end) == [.stopped])
        eventually("dialling is told as failing") { b.recorder.now.dialFailed.contains { $0.contains("refused") } }
        let again = try Agent(try pair.identity("a"), peer: "b", port: port)
        eventually("it is found again") { again.link.paths.count == 1 && b.link.paths.count == 1 }
    }

    @Test func `a hello that is refused makes no path and is not dialled in a tight loop`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b", verdict: { _ in .refuse("versions differ") })
        let b = try Agent(try pair.identity("b"), peer: "a", dial: a.link.listening)
        eventually("it was tried several times") { a.link.statistics.refused >= 4 }
        #expect(a.recorder.now.refused.first?.contains("versions differ") == true)
        #expect(a.recorder.now.refused.count == 1, "reports are limited")
        #expect(a.recorder.now.up.isEmpty && a.link.paths.isEmpty)
        // Attempts come after 0, 50, 100, 200 … ms: a tight loop would make hundreds in the time that four took.
        #expect(a.link.statistics.refused < 10)
        withExtendedLifetime(b) {}
    }

    @Test func `a new identity serves new connections, those that are up stay`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b")
        let b = try Agent(try pair.identity("b"), peer: "a", dial: a.link.listening)
        eventually("a path") { b.link.paths.count == 1 && a.link.paths.count == 1 }
        let other = try Pair()
        a.link.replace(identity: try other.identity("a"))
        b.link.replace(identity: try other.identity("b"))
        #expect(try b.link.send(kind: 1, payload: [1], on: .any) == 1)
        eventually("the old one works") { a.recorder.now.frames.count == 1 }
        b.link.close(try #require(b.link.paths.first), because: "test")
        eventually("a new path with the new certificates") { b.recorder.now.up.count == 2 && b.link.paths.count == 1 }
        #expect(a.recorder.now.refused.isEmpty)
    }

    @Test func `expired certificates work and warn`() throws {
        let pair = try Pair()
        try pair.age("b", to: Date() - 400 * 86_400)
        let a = try Agent(try pair.identity("a"), peer: "b")
        let b = try Agent(try pair.identity("b"), peer: "a", dial: a.link.listening)
        eventually("a path") { b.link.paths.count == 1 && a.link.paths.count == 1 }
        #expect(a.recorder.now.warnings.count == 1 && a.recorder.now.warnings[0].contains("b.orders.pgtandem ended on"))
        #expect(b.recorder.now.warnings.contains { $0.contains("node.crt ended on") })
    }

    @Test func `a port in use is told with the remedy`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b")
        let port = try a.address.port
        let error = try #require(throws: LinkError.self) { try Agent(try pair.identity("a"), peer: "b", port: port) }
        #expect(error.kind == .portInUse)
        #expect(error.description.contains("127.0.0.1:\(port)") && error.advice.contains("ss -ltnp"))
    }

    @Test func `an address that is not here yet is reported and does not stop the others`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b", listen: ["192.0.2.77", "127.0.0.1"])
        #expect(a.link.listening.map(\.host) == ["127.0.0.1"])
        #expect(a.recorder.now.listeners.contains { $0.address.host == "192.0.2.77" && $0.problem != nil })
        let names = try #require(throws: LinkError.self) { try Agent(try pair.identity("a"), peer: "b", listen: ["localhost"]) }
        #expect(names.kind == .notAnAddress)
    }

    @Test func `every local address, of both families`() throws {
        let pair = try Pair()
        var port = 0
        // A port that is free for one family may be taken for the other: look for one that is free for both.
        let a: Agent = try {
            for _ in 0..<20 {
                let probe = try Agent(try pair.identity("a"), peer: "b", listen: ["0.0.0.0"])
                port = try probe.address.port
                probe.link.stop()
                do {
                    return try Agent(try pair.identity("a"), peer: "b", listen: ["0.0.0.0", "::"], port: port)
                } catch let error as LinkError where error.kind == .portInUse {
                    continue
                }
            }
            throw LinkError(.portInUse, attempted: "find a port", happened: "none free", advice: "")
        }()
        let b = try Agent(
            try pair.identity("b"), peer: "a", listen: [],
            dial: [LinkAddress(host: "127.0.0.5", port: port), LinkAddress(host: "::1", port: port)])
        eventually("a path of each family") { Set(b.link.paths.map(\.remote.host)) == ["127.0.0.5", "::1"] }
        withExtendedLifetime(a) {}
    }

    @Test func `the hook runs on the loop's thread, and stop does not wait for a callback that hangs`() throws {
        let pair = try Pair()
        let recorder = Recorder()
        var configuration = LinkConfiguration(
            identity: try pair.identity("a"), peer: "b", listen: ["127.0.0.1"], port: 0, peerAddresses: [])
        configuration.onLoopStart = { recorder.note { $0.warnings.append("hook") } }
        var callbacks = recorder.callbacks(hello: "a")
        let release = Release()
        callbacks.onPathUp = { _ in _ = SystemClock.wait(upTo: .seconds(20)) { release.isSet } }
        let link = PeerLink(configuration, callbacks: callbacks)
        try link.start()
        #expect(recorder.now.warnings == ["hook"])
        let b = try Agent(try pair.identity("b"), peer: "a", dial: link.listening)
        eventually("the callback hangs") { b.link.paths.count == 1 }
        let began = SystemClock.now()
        link.stop(within: .milliseconds(300))
        #expect(SystemClock.now() - began < 3_000_000_000)
        release.set()
    }

    @Test func `no program that we start inherits a socket of the link`() throws {
        let pair = try Pair()
        let a = try Agent(try pair.identity("a"), peer: "b")
        let b = try Agent(try pair.identity("b"), peer: "a", dial: a.link.listening)
        eventually("a path") { b.link.paths.count == 1 && a.link.paths.count == 1 }
        let ports = Set(try [a.address.port] + (a.link.paths + b.link.paths).map(\.local.port))
        var found = 0
        for descriptor in Int32(3)..<1024 {
            var name = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let known = withUnsafeMutablePointer(to: &name) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
            }
            guard known == 0, name.sin_family == sa_family_t(AF_INET), ports.contains(Int(in_port_t(bigEndian: name.sin_port)))
            else { continue }
            found += 1
            #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
        }
        #expect(found >= 3, "the listener, the accepted and the dialled socket")
    }

    @Test func `pauses between attempts grow and stay bounded`() {
        let limits = LinkLimits()
        #expect(Dialler.pause(after: 1, limits) == .zero)
        for (failures, full) in [(2, 50), (3, 100), (4, 200), (7, 1000), (100, 1000)] {
            for _ in 0..<50 {
                let pause = Dialler.pause(after: failures, limits)
                #expect(pause <= .milliseconds(Int64(full)) && pause >= .milliseconds(Int64(full * 3 / 4)))
            }
        }
    }

    private func end(_ relays: [Relay]) {
        for relay in relays {
            do {
                try relay.end()
            } catch {
                Issue.record("\(error)")
            }
        }
    }
}
