import Foundation
import TandemCore
import TandemSystem
import TandemWire
import Testing

@testable import TandemNetwork
@testable import TandemWitness

@Suite("Who is let in by a witness", .serialized, .timeLimit(.minutes(30)))
struct WhoIsLetIn {
    @Test func `a certificate of another authority is refused, although the name is the same`() throws {
        let place = try Place()
        let witness = try place.start()
        let stranger = try Cluster()
        let error = try #require(throws: LinkError.self) { try TestNode("a", of: stranger, at: try witness.address) }
        #expect(error.kind == .refused)
        #expect(witness.service.connections.guests == 0)
        #expect(try TestNode("a", of: place.cluster, at: try witness.address).ask(.read).generation == 1)
    }

    @Test func `a pair whose authority was replaced is refused until it is forgotten`() throws {
        let place = try Place()
        var witness: TestWitness? = try place.start()
        _ = try KnownPair(place.cluster, at: try #require(witness).address, ledger: Ledgers.paired())
        witness = nil
        let other = try Cluster()
        let second = try TestWitness(state: place.state.path, tls: other.witness)
        let words = try TestNode("a", of: other, at: try second.address).refusal()
        #expect(words.contains("another certificate authority") && words.contains("pgtandem witness forget orders"))
        eventually("told") { second.recorder.holds("a connection was refused", "another certificate authority") }
        _ = try WitnessClient(state: place.state.path).forget("orders")
        #expect(try TestNode("a", of: other, at: try second.address).ask(.read).record == nil)
    }

    @Test func `two pairs of one name: the one with another system identifier is refused`() throws {
        let place = try Place()
        let witness = try place.start()
        let pair = try KnownPair(place.cluster, at: try witness.address, ledger: Ledgers.paired())
        let words = try TestNode("a", of: place.cluster, at: try witness.address, system: 8).refusal()
        #expect(words.contains("system identifier 7") && words.contains("node a has 8"))
        #expect(words.contains("pgtandem witness forget orders"))
        #expect(try pair.a.ask(.read).record == Ledgers.paired(), "the first one is served as before")
    }

    @Test func `a third node is refused, also after a restart`() throws {
        let place = try Place()
        var witness: TestWitness? = try place.start()
        _ = try KnownPair(place.cluster, at: try #require(witness).address)
        for _ in 0..<2 {
            let words = try TestNode("c", of: place.cluster, at: try #require(witness).address).refusal()
            #expect(words.contains("the nodes a and b") && words.contains("pgtandem witness forget orders"))
            witness = nil
            witness = try place.start()
        }
    }

    @Test func `a node without a system identifier is refused politely, and leaves no trace`() throws {
        let place = try Place()
        let witness = try place.start()
        let words = try TestNode("a", of: place.cluster, at: try witness.address, system: nil).refusal()
        #expect(words.contains("pgtandem init"))
        eventually("no pair is kept") { witness.service.list()?.pairs.isEmpty == true }
    }

    @Test(arguments: ["cluster", "node", "session", "version"]) func `a hello that cannot be is refused`(part: String) throws {
        let place = try Place()
        let witness = try place.start()
        let node = try TestNode("a", of: place.cluster, at: try witness.address) { hello in
            switch part {
            case "cluster": hello.cluster = "other"
            case "node": hello.node = "b"
            case "session": hello.session = 0
            default: hello.versions = [99]
            }
        }
        #expect(try !node.refusal().isEmpty)
    }

    @Test func `a folder per cluster: the TLS server name chooses`() throws {
        let (orders, billing, unknown) = (try Cluster(), try Cluster("billing"), try Cluster("unknown"))
        let (tls, state) = (try Folder(), try Folder())
        for cluster in [orders, billing] {
            try FileManager.default.copyItem(atPath: cluster.witness, toPath: "\(tls.path)/\(cluster.name)")
        }
        let witness = try TestWitness(state: state.path, tls: tls.path) { $0.look = .zero }
        let first = try KnownPair(orders, at: try witness.address, ledger: Ledgers.paired())
        let second = try KnownPair(billing, at: try witness.address, ledger: Ledgers.sole(cluster: "billing"))
        #expect(try first.b.ask(.read).record == Ledgers.paired())
        #expect(try second.b.ask(.read).record == Ledgers.sole(cluster: "billing"))
        #expect(throws: LinkError.self) { try TestNode("a", of: unknown, at: try witness.address) }
        #expect(witness.recorder.holds("a connection was refused", "no certificates for the cluster unknown"))
        // Added later, it is found without a word.
        try FileManager.default.copyItem(atPath: unknown.witness, toPath: "\(tls.path)/unknown")
        #expect(try TestNode("a", of: unknown, at: try witness.address).ask(.read).record == nil)
        #expect(try first.a.ask(.read).record == Ledgers.paired())
    }

    @Test func `SIGHUP's work: new certificates are used, broken ones are not`() throws {
        let cluster = try Cluster()
        let (tls, state) = (try Folder(), try Folder())
        let folder = "\(tls.path)/orders"
        try FileManager.default.copyItem(atPath: cluster.witness, toPath: folder)
        let witness = try TestWitness(state: state.path, tls: tls.path)
        let good = try #require(try DurableFile.read("\(folder)/node.crt"))
        try DurableFile.write(Array("nothing".utf8), to: "\(folder)/node.crt", mode: 0o644)
        witness.service.reload()
        eventually("told") { witness.recorder.holds("not a PEM certificate") || witness.recorder.holds("no certificate in it") }
        #expect(try TestNode("a", of: cluster, at: try witness.address).ask(.read).record == nil, "the old one is used")
        try DurableFile.write(good, to: "\(folder)/node.crt", mode: 0o644)
        let other = try Cluster()
        for name in ["ca.crt", "node.crt", "node.key"] {
            let bytes = try #require(try DurableFile.read("\(other.witness)/\(name)"))
            try DurableFile.write(bytes, to: "\(folder)/\(name)", mode: 0o600)
        }
        witness.service.reload()
        #expect(try TestNode("a", of: other, at: try witness.address).refusal().contains("another certificate authority"))
    }

    @Test func `a certificate out of date is served, and warned of`() throws {
        let place = try Place()
        try place.cluster.age("a", to: Date() - 30 * 86_400)
        let witness = try place.start()
        #expect(try TestNode("a", of: place.cluster, at: try witness.address).ask(.read).generation == 1)
        #expect(witness.recorder.holds("warning certificate", "a.orders.pgtandem", "it still works"))
    }
}
