import TandemCore
import TandemSystem
import TandemWire
import Testing

@testable import TandemNetwork
@testable import TandemWitness

@Suite("A witness that is asked", .serialized, .timeLimit(.minutes(30)))
struct WhenNodesAsk {
    @Test func `read, establish, heartbeat, sole and claim, end to end`() throws {
        let place = try Place()
        let witness = try place.start()
        let pair = try KnownPair(place.cluster, at: try witness.address)
        let empty = try pair.a.ask(.read)
        #expect(empty.record == nil && empty.promised == nil && empty.generation == witness.service.generation)
        let sole = Ledgers.sole()
        #expect(try pair.a.ask(.establish(sole, empty: pair.a.witness)).record == sole)
        let paired = Ledgers.paired()
        let beat = try pair.a.ask(.heartbeat(paired, position: LSN(0x305_5400)))
        #expect(beat.record == paired)
        #expect(beat.promised == .seconds(2))
        let seen = try pair.b.ask(.read)
        #expect(seen.record == paired && seen.position == LSN(0x305_5400) && seen.promised == nil)
        // While the promise is open a claim is answered with the record as it is.
        #expect(try pair.b.ask(.claim(paired, granted: Ledgers.granted(paired))).record == paired)
        #expect(try pair.a.ask(.sole(paired)).record == paired.sole())
        // A repeated request succeeds again; and `sole` cannot be claimed.
        #expect(try pair.a.ask(.sole(paired)).record == paired.sole())
        #expect(try pair.b.ask(.claim(paired, granted: Ledgers.granted(paired))).record == paired.sole())
        let again = paired.sole().paired(with: Ledgers.copyB)
        #expect(try pair.a.ask(.heartbeat(again, position: nil)).record == again)
        try eventually("a claim is granted once the promise is over") {
            try pair.b.ask(.claim(again, granted: Ledgers.granted(again))).record == Ledgers.granted(again)
        }
        let late = try pair.a.ask(.heartbeat(again, position: nil))
        #expect(late.record == Ledgers.granted(again) && late.promised == nil)
    }

    @Test func `a restart keeps the record and raises the generation`() throws {
        let place = try Place()
        let paired = Ledgers.paired()
        var witness: TestWitness? = try place.start()
        let first = try #require(witness).service.generation
        var pair: KnownPair? = try KnownPair(place.cluster, at: try #require(witness).address, ledger: paired)
        let session = pair?.a.witness
        pair = nil
        witness = nil
        let second = try place.start()
        #expect(second.service.generation == first + 1)
        let a = try TestNode("a", of: place.cluster, at: try second.address)
        #expect(a.witness != session)
        let answer = try a.ask(.read)
        #expect(answer.record == paired)
        #expect(answer.generation == first + 1)
        #expect(try second.pair()?.nodes.map(\.name) == ["a", "b"])
    }

    @Test func `after a restart nothing is granted before what was promised is over`() throws {
        let place = try Place()
        let paired = Ledgers.paired(lease: .seconds(3))
        var witness: TestWitness? = try place.start()
        _ = try KnownPair(place.cluster, at: try #require(witness).address, ledger: paired)
        witness = nil
        // The last heartbeat was before this moment.
        let stopped = SystemClock.now()
        let second = try place.start()
        let b = try TestNode("b", of: place.cluster, at: try second.address)
        let granted = Ledgers.granted(paired)
        var refused = 0
        while try b.ask(.claim(paired, granted: granted)).record == paired { refused += 1 }
        #expect(SystemClock.now() - stopped >= Duration.seconds(3).nanoseconds)
        #expect(refused > 0)
        #expect(try b.ask(.read).record == granted)
    }

    @Test func `an older backup of the state has an older generation`() throws {
        let place = try Place()
        let paired = Ledgers.paired()
        var witness: TestWitness? = try place.start()
        _ = try KnownPair(place.cluster, at: try #require(witness).address, ledger: paired)
        witness = nil
        let generation = try #require(try DurableFile.read("\(place.state.path)/generation"))
        for _ in 0..<3 { witness = try place.start(); witness = nil }
        witness = try place.start()
        let seen = try TestNode("a", of: place.cluster, at: try #require(witness).address).ask(.read).generation
        witness = nil
        try DurableFile.write(generation, to: "\(place.state.path)/generation", mode: 0o600)
        let restored = try place.start()
        let answer = try TestNode("a", of: place.cluster, at: try restored.address).ask(.read)
        #expect(answer.generation < seen, "a node that has seen \(seen) does not believe it")
        #expect(answer.record == paired)
    }

    @Test func `a lost record is written anew by both nodes, not by one for both`() throws {
        let place = try Place()
        let witness = try place.start()
        let paired = Ledgers.paired()
        let first = try TestNode("a", of: place.cluster, at: try witness.address)
        #expect(try first.ask(.establish(paired, empty: first.witness)).record == nil, "the other node is not even known")
        let pair = try KnownPairAgain(place.cluster, first, at: try witness.address)
        #expect(try pair.a.ask(.establish(paired, empty: pair.a.witness)).record == nil)
        #expect(try pair.a.ask(.heartbeat(paired, position: nil)).record == nil)
        #expect(try pair.b.ask(.claim(paired, granted: Ledgers.granted(paired))).record == nil)
        #expect(try pair.b.ask(.establish(paired, empty: pair.b.witness)).record == paired)
        #expect(try pair.b.ask(.claim(paired, granted: Ledgers.granted(paired))).record == paired, "L since then")
    }

    @Test func `forget removes the record and the names, and another run of the machine begins`() throws {
        let place = try Place()
        let witness = try place.start()
        let paired = Ledgers.paired()
        let pair = try KnownPair(place.cluster, at: try witness.address, ledger: paired)
        let done = try WitnessClient(state: place.state.path).forget("orders")
        #expect(done.contains("forgotten: orders"))
        #expect(try pair.a.isDismissed() && pair.b.isDismissed())
        #expect(try DurableFile.read("\(place.state.path)/pairs/orders") == nil)
        let b = try TestNode("b", of: place.cluster, at: try witness.address, system: 8)
        #expect(b.witness != pair.b.witness)
        #expect(try b.ask(.claim(paired, granted: Ledgers.granted(paired))).record == nil)
        #expect(try witness.pair()?.nodes.map(\.name) == ["b"])
        #expect(try witness.pair()?.system_identifier == 8)
        #expect(throws: WitnessClient.Failure.self) { _ = try WitnessClient(state: place.state.path).forget("other") }
    }

    @Test func `what cannot be understood ends the connection, and is told`() throws {
        let place = try Place()
        let witness = try place.start()
        let pair = try KnownPair(place.cluster, at: try witness.address)
        try pair.a.sendRaw(Array("{}".utf8))
        #expect(try pair.a.isDismissed())
        try pair.b.send(.read, as: "a")
        #expect(try pair.b.isDismissed())
        #expect(witness.recorder.holds("a request cannot be understood", "node=a"))
        let a = try TestNode("a", of: place.cluster, at: try witness.address)
        try a.send(.establish(Ledgers.sole(cluster: "other"), empty: a.witness))
        #expect(try a.isDismissed())
        #expect(try witness.pair()?.record == nil)
    }

    /// Both nodes, where the first one was there already.
    private struct KnownPairAgain {
        let a: TestNode
        let b: TestNode
        init(_ cluster: Cluster, _ first: TestNode, at address: LinkAddress) throws {
            let second = try TestNode("b", of: cluster, at: address)
            #expect(try first.isDismissed() && second.isDismissed())
            a = try TestNode("a", of: cluster, at: address)
            #expect(a.witness != first.witness, "another run of the machine")
            b = try TestNode("b", of: cluster, at: address)
        }
    }
}
