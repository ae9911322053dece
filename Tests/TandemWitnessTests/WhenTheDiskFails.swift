import Foundation
import Glibc
import TandemCore
import TandemSystem
import TandemWire
import Testing

@testable import TandemWitness

@Suite("A witness and its disk", .serialized, .timeLimit(.minutes(30)))
struct WhenTheDiskFails {
    private let file = PairFile(
        cluster: "orders", pin: .init(authority: "ab", systemIdentifier: .max, nodes: ["a", "b"]), record: Ledgers.paired())

    @Test func `the file of a pair comes back as it was`() throws {
        #expect(try PairFile(try file.bytes(), cluster: "orders") == file)
        var first = file
        first.record = nil
        first.pin.nodes = ["b"]
        #expect(try PairFile(try first.bytes(), cluster: "orders") == first)
    }

    @Test func `every damaged byte and every truncation is an error`() throws {
        let good = try file.bytes()
        for index in good.indices {
            var bad = good
            bad[index] ^= 0x01
            #expect(throws: (any Error).self, "byte \(index)") { try PairFile(bad, cluster: "orders") }
            #expect(throws: (any Error).self, "\(index) bytes") { try PairFile(Array(good[..<index]), cluster: "orders") }
        }
    }

    @Test func `a file that the witness cannot have written is an error`() throws {
        func refused(_ change: (inout PairFile) -> Void, as cluster: String = "orders") throws {
            var other = file
            change(&other)
            let bytes = try other.bytes()
            #expect(throws: WireError.self) { try PairFile(bytes, cluster: cluster) }
        }
        try refused({ _ in }, as: "other")
        try refused { $0.record = Ledgers.paired(cluster: "other") }
        try refused { $0.record?.primary = "c" }
        try refused { $0.pin.nodes = [] }
        try refused { $0.pin.nodes = ["a", "a"] }
        try refused { $0.pin.nodes = ["a", "b", "c"] }
        try refused { $0.pin.nodes = ["a", "../b"] }
    }

    @Test func `a damaged record gets no answers, the other pair does, and forget makes it good`() throws {
        let (orders, billing) = (try Cluster(), try Cluster("billing"))
        let (tls, state) = (try Folder(), try Folder())
        for cluster in [orders, billing] {
            try FileManager.default.copyItem(atPath: cluster.witness, toPath: "\(tls.path)/\(cluster.name)")
        }
        let paired = Ledgers.paired()
        var witness: TestWitness? = try TestWitness(state: state.path, tls: tls.path)
        _ = try KnownPair(orders, at: try #require(witness).address, ledger: paired)
        _ = try KnownPair(billing, at: try #require(witness).address, ledger: Ledgers.paired(cluster: "billing"))
        witness = nil
        let path = "\(state.path)/pairs/orders"
        var bytes = try #require(try DurableFile.read(path))
        bytes[bytes.count / 2] ^= 0x40
        try DurableFile.write(bytes, to: path, mode: 0o600)
        let second = try TestWitness(state: state.path, tls: tls.path)
        let a = try TestNode("a", of: orders, at: try second.address)
        let words = try a.refusal()
        #expect(words.contains("checksum does not fit") && words.contains("pgtandem witness forget orders"))
        #expect(second.recorder.holds("error", "damaged", "cluster=orders", "pgtandem witness forget orders"))
        #expect(try TestNode("a", of: billing, at: try second.address).ask(.read).record == Ledgers.paired(cluster: "billing"))
        #expect(try #require(try second.pair()?.problem).contains("checksum"))
        #expect(try DurableFile.read(path) == bytes, "what is damaged is not touched")
        _ = try WitnessClient(state: state.path).forget("orders")
        #expect(try TestNode("a", of: orders, at: try second.address).ask(.read).record == nil)
    }

    @Test func `a damaged or missing generation is an error that says what to do`() throws {
        let place = try Place()
        var witness: TestWitness? = try place.start()
        _ = try KnownPair(place.cluster, at: try #require(witness).address)
        witness = nil
        let path = "\(place.state.path)/generation"
        let good = try #require(try DurableFile.read(path))
        for bad in [Array("7\n".utf8), [], nil, Array(good.dropLast(2))] {
            if let bad { try DurableFile.write(bad, to: path, mode: 0o600) } else { try DurableFile.remove(path) }
            let error = try #require(throws: WitnessError.self) { _ = try place.start() }
            #expect(error.description.contains("Move the folder \(place.state.path) away"))
            #expect(try DurableFile.read(path) == bad, "it is left for a person")
        }
        try DurableFile.write(good, to: path, mode: 0o600)
        #expect(try place.start().service.generation == 2)
    }

    @Test func `records in a folder that was restored from a backup do not count, and the names stay`() throws {
        let place = try Place()
        let paired = Ledgers.paired()
        let folder = place.state.path
        let first = try place.start()
        _ = try KnownPair(place.cluster, at: try first.address, ledger: paired)
        first.service.stop()
        let ways = [
            "cp -a \(folder).kept \(folder)", "mkdir \(folder) && cd \(folder).kept && tar c . | tar xp -C \(folder)",
        ]
        for way in ways {
            let script = "cp -a \(folder) \(folder).kept && rm -r \(folder) && \(way) && rm -r \(folder).kept"
            #expect(try Tool("/bin/sh", ["-c", script]).run(deadline: .seconds(10)).succeeded)
            let restored = try place.start()
            #expect(restored.recorder.holds("warning", "restored from a backup", "clusters=orders"), "told")
            let found = try #require(try restored.pair())
            #expect(found.record == nil && found.nodes.map(\.name) == ["a", "b"] && found.system_identifier == 7)
            let b = try TestNode("b", of: place.cluster, at: try restored.address)
            #expect(try b.ask(.claim(paired, granted: Ledgers.granted(paired))).record == nil, "nothing is granted")
            // Its own folder from here on, also after another start.
            let a = try TestNode("a", of: place.cluster, at: try restored.address)
            #expect(try a.ask(.establish(Ledgers.sole(), empty: a.witness)).record == Ledgers.sole())
            restored.service.stop()
            let again = try place.start()
            #expect(try again.pair()?.record?.ledger() == Ledgers.sole(), "a start alone drops nothing")
            again.service.stop()
        }
    }

    /// The one file `<cluster>.<count>` of a pair in `written/`.
    private func count(_ place: Place, _ cluster: String = "orders") throws -> UInt64 {
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(place.state.path)/written")
        let own = names.filter { $0.hasPrefix(cluster + ".") }
        try #require(own.count == 1, "\(names)")
        return try #require(UInt64(own[0].dropFirst(cluster.count + 1)))
    }

    @Test func `a single record that was restored from a backup does not count, and the names stay`() throws {
        let place = try Place()
        let paired = Ledgers.paired()
        let path = "\(place.state.path)/pairs/orders"
        let first = try place.start()
        let pair = try KnownPair(place.cluster, at: try first.address, ledger: paired)
        let backup = try #require(try DurableFile.read(path))
        #expect(try pair.a.ask(.sole(paired)).record == paired.sole())
        first.service.stop()
        #expect(try count(place) == PairFile(backup, cluster: "orders").written + 1)

        let untouched = try place.start()
        #expect(try untouched.pair()?.record?.ledger() == paired.sole())
        #expect(!untouched.recorder.holds("warning", "backup"))
        untouched.service.stop()

        try DurableFile.write(backup, to: path, mode: 0o600)
        let restored = try place.start()
        #expect(restored.recorder.holds("warning", "(a backup?)", "cluster=orders", path))
        let found = try #require(try restored.pair())
        #expect(found.record == nil && found.nodes.map(\.name) == ["a", "b"] && found.system_identifier == 7)
        let b = try TestNode("b", of: place.cluster, at: try restored.address)
        #expect(
            try b.ask(.claim(paired, granted: Ledgers.granted(paired))).record == nil,
            "by the restored record it would be granted")
        let a = try TestNode("a", of: place.cluster, at: try restored.address)
        #expect(try a.ask(.establish(Ledgers.sole(), empty: a.witness)).record == Ledgers.sole())
        restored.service.stop()
        #expect(try place.start().pair()?.record?.ledger() == Ledgers.sole(), "from here on it is the one")
    }

    @Test func `a record that was written and not yet counted stands, and one that is further ahead does not`() throws {
        let place = try Place()
        let first = try place.start()
        _ = try KnownPair(place.cluster, at: try first.address, ledger: Ledgers.paired())
        first.service.stop()
        let last = try count(place)
        func recount(_ count: UInt64) throws {
            let folder = "\(place.state.path)/written"
            try FileManager.default.moveItem(
                atPath: "\(folder)/orders.\(try self.count(place))", toPath: "\(folder)/orders.\(count)")
        }
        // As a crash leaves it between the two.
        try recount(last - 1)
        let second = try place.start()
        #expect(try second.pair()?.record?.ledger() == Ledgers.paired())
        #expect(try count(place) == last)
        second.service.stop()
        try recount(last - 2)
        let third = try place.start()
        let found = try #require(try third.pair())
        #expect(found.record == nil && found.nodes.map(\.name) == ["a", "b"])
    }

    @Test func `a forgotten pair whose file is brought back has no record`() throws {
        let place = try Place()
        let path = "\(place.state.path)/pairs/orders"
        let first = try place.start()
        _ = try KnownPair(place.cluster, at: try first.address, ledger: Ledgers.paired())
        let backup = try #require(try DurableFile.read(path))
        first.service.stop()
        _ = try WitnessClient(state: place.state.path).forget("orders")
        try DurableFile.write(backup, to: path, mode: 0o600)
        let second = try place.start()
        #expect(try second.pair()?.record == nil)
    }

    /// A pair that is quiet for months is protected from the first start on, too.
    @Test func `a record of before files were counted is counted at the next start`() throws {
        let place = try Place()
        let path = "\(place.state.path)/pairs/orders"
        let first = try place.start()
        _ = try KnownPair(place.cluster, at: try first.address, ledger: Ledgers.paired())
        first.service.stop()
        let body = try CheckedText.body(of: try #require(try DurableFile.read(path)), heading: PairFile.heading)
        let uncounted = CheckedText.bytes(heading: PairFile.heading, body: body.replacing(/,?"written":[0-9]+/, with: ""))
        try DurableFile.write(uncounted, to: path, mode: 0o600)
        try FileManager.default.removeItem(atPath: "\(place.state.path)/written")
        let second = try place.start()
        #expect(try second.pair()?.record?.ledger() == Ledgers.paired())
        #expect(try count(place) == 1)
        second.service.stop()
        try DurableFile.write(uncounted, to: path, mode: 0o600)
        #expect(try place.start().pair()?.record == nil, "that one was restored")
    }

    @Test func `two witnesses of one state directory: the second one is refused`() throws {
        let place = try Place()
        let witness = try place.start()
        let error = try #require(throws: WitnessError.self) { _ = try place.start() }
        #expect(error.description.contains("\(place.state.path)/lock"))
        #expect(try TestNode("a", of: place.cluster, at: try witness.address).ask(.read).generation == 1)
    }

    @Test func `list and forget work on the files where no witness runs`() throws {
        let place = try Place()
        var witness: TestWitness? = try place.start()
        _ = try KnownPair(place.cluster, at: try #require(witness).address, ledger: Ledgers.paired())
        let client = WitnessClient(state: place.state.path)
        let live = try client.list()
        #expect(live.running && live.generation == 1)
        #expect(live.pairs.first?.nodes.map(\.name) == ["a", "b"])
        #expect(try #require(live.pairs.first?.promise_ms) > 0)
        witness = nil
        let list = try client.list()
        #expect(!list.running && list.generation == 1)
        #expect(try list.pairs.first?.record?.ledger() == Ledgers.paired())
        #expect(try client.forget("orders").contains("forgotten"))
        #expect(try client.list().pairs.isEmpty)
        #expect(throws: WitnessClient.Failure.self) { _ = try client.forget("orders") }
        let error = try #require(throws: WitnessClient.Failure.self) { _ = try WitnessClient(state: "/nowhere").list() }
        guard case .unreachable(let words) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(words.contains("--state"))
    }

    /// Mounting needs root.
    static let mayMount = geteuid() == 0

    @Test(.enabled(if: mayMount, "a tiny file system is mounted, which only root may"))
    func `on a full disk the old record stands, reads go on, and it heals by itself`() throws {
        let (cluster, state) = (try Cluster(), try Folder())
        try #require(mount("none", state.path, "tmpfs", 0, "size=64k") == 0, "errno \(errno)")
        defer { #expect(umount2(state.path, Int32(MNT_DETACH)) == 0) }
        let witness = try TestWitness(state: state.path, tls: cluster.witness)
        let paired = Ledgers.paired()
        let pair = try KnownPair(cluster, at: try witness.address, ledger: paired)
        let filler = "\(state.path)/filler"
        #expect(throws: SystemError.self) {
            try DurableFile.write([UInt8](repeating: 1, count: 1 << 17), to: filler, mode: 0o600)
        }
        var size = 40 << 10
        while size > 0 {
            // Until not even one block is left.
            do { try DurableFile.write([UInt8](repeating: 1, count: size), to: "\(filler)-\(size)", mode: 0o600) } catch {
                size /= 2
            }
        }
        try pair.a.send(.sole(paired))
        for node in [pair.a, pair.b] {
            let complaint = try node.complaint()
            #expect(complaint.code == "cannotWrite" && complaint.text.contains("No space left"), "both are told: \(complaint)")
        }
        #expect(try pair.a.hear(within: .seconds(1)) == nil, "what is not durable is not answered")
        #expect(witness.recorder.holds("error", "cannot be written", "cluster=orders", "No space left"))
        #expect(try pair.b.ask(.read).record == paired)
        #expect(try pair.a.ask(.heartbeat(paired, position: nil)).promised == .seconds(2), "nothing needs to be written for it")
        for name in try FileManager.default.contentsOfDirectory(atPath: state.path) where name.hasPrefix("filler") {
            try DurableFile.remove("\(state.path)/\(name)")
        }
        #expect(try pair.a.ask(.sole(paired)).record == paired.sole())
    }
}
