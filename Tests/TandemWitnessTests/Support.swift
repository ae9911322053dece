import Foundation
import Glibc
import Logging
import Synchronization
import TandemCore
import TandemSystem
import TandemWire
import Testing

@testable import TandemNetwork
@testable import TandemWitness

/// A folder of its own, gone at the end.
final class Folder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("tandem-witness-\(Random.word())").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        do { try FileManager.default.removeItem(atPath: path) } catch { Issue.record("cannot remove \(path): \(error)") }
    }
}

/// What the witness logs.
final class Recorder: Sendable {
    private let entries = Mutex<[String]>([])
    var lines: [String] { entries.withLock { $0 } }
    func holds(_ words: String...) -> Bool { lines.contains { line in words.allSatisfy { line.contains($0) } } }

    fileprivate func note(_ line: String) { entries.withLock { $0.append(line) } }

    var log: Logger { Logger(label: "witness") { [self] _ in Handler(recorder: self) } }

    private struct Handler: LogHandler {
        let recorder: Recorder
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.debug

        init(recorder: Recorder) { self.recorder = recorder }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let facts = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            recorder.note("\(event.level.rawValue) \(event.message) \(facts.joined(separator: " "))")
        }
    }
}

/// Certificates of one cluster.
struct Cluster {
    let name: String
    let folder: Folder

    init(_ name: String = "orders", nodes: [String] = ["a", "b", "c"]) throws {
        self.name = name
        folder = try Folder()
        _ = try TLSAuthority.create(cluster: name, directory: folder.path, nodes: nodes)
    }

    var witness: String { "\(folder.path)/witness" }

    func identity(_ node: String) throws -> TLSIdentity {
        try TLSIdentity.load(directory: "\(folder.path)/\(node)", cluster: name, node: node)
    }

    /// Replaces a node's certificate by one that was made at `date` for one day.
    func age(_ node: String, to date: Date) throws {
        let authority = try TLSFile.certificates("\(folder.path)/ca.crt")[0]
        let key = try TLSFile.key("\(folder.path)/\(node)/node.key").key
        let certificate = try TLSCertificates.node(
            node, cluster: name, key: key.publicKey, days: 1, now: date, authority: authority,
            authorityKey: try TLSFile.key("\(folder.path)/ca.key").key)
        try DurableFile.write(try TLSCertificates.pem(certificate), to: "\(folder.path)/\(node)/node.crt", mode: 0o644)
    }
}

/// A witness in this process, on a port of the kernel's choice.
final class TestWitness: Sendable {
    let service: WitnessService
    let recorder: Recorder
    let state: String

    init(
        state: String, tls: String, recorder: Recorder = Recorder(), limits: (inout LinkServerLimits) -> Void = { _ in }
    ) throws {
        var options = WitnessOptions(
            listen: LinkAddress(host: "127.0.0.1", port: 0), state: state, tls: tls, program: "test")
        // A node of these tests sends nothing by itself: no test is to pass because it was silent.
        options.limits.connection.silence = .seconds(60)
        limits(&options.limits)
        self.state = state
        self.recorder = recorder
        service = try WitnessService(options, log: recorder.log)
        try service.start()
    }

    var address: LinkAddress { get throws { try #require(service.listening) } }

    func pair(_ cluster: String = "orders") throws -> WitnessList.Pair? {
        try #require(service.list()).pairs.first { $0.cluster == cluster }
    }

    deinit { service.stop() }
}

/// A folder of state, and one cluster's certificates: the usual witness, which can be started again and again.
struct Place {
    let cluster: Cluster
    let state: Folder

    init() throws {
        cluster = try Cluster()
        state = try Folder()
    }

    func start(_ recorder: Recorder = Recorder(), limits: (inout LinkServerLimits) -> Void = { _ in }) throws -> TestWitness {
        try TestWitness(state: state.path, tls: cluster.witness, recorder: recorder, limits: limits)
    }
}

/// A node's side, in plain synchronous code.
final class TestNode {
    let name: String
    let session = SessionID(Random.word() >> 1 | 1)
    /// The witness's, from its hello.
    let witness: SessionID
    private let link: LinkClient
    private var number: UInt64 = 0

    init(
        _ name: String, of cluster: Cluster, at address: LinkAddress, system: UInt64? = 7, certificate: String? = nil,
        change: (inout HelloDocument) -> Void = { _ in }
    ) throws {
        self.name = name
        var hello = HelloDocument(
            program: "test", cluster: cluster.name, node: name, session: session.number, boot: "boot", digest: "",
            configuration: [:], systemIdentifier: system)
        change(&hello)
        link = try LinkClient.connect(
            identity: try cluster.identity(certificate ?? name), peer: "witness", host: address.host, port: address.port,
            hello: try JSON.encode(hello), deadline: .seconds(10))
        let answer = try JSON.decode(HelloDocument.self, from: link.peerHello)
        #expect(answer.node == "witness" && answer.cluster == cluster.name)
        witness = SessionID(answer.session)
    }

    deinit { link.close() }

    func close() { link.close() }

    func send(_ kind: WitnessRequest.Kind, as node: String? = nil) throws {
        number += 1
        let request = WitnessRequest(number: number, node: NodeName(node ?? name), kind: kind)
        try link.send(
            kind: FrameKind.witnessRequest,
            payload: try JSON.encode(WitnessRequestDocument(request, .init(sender: session, receiver: witness))))
    }

    func sendRaw(_ bytes: [UInt8]) throws { try link.send(kind: FrameKind.witnessRequest, payload: bytes) }

    /// The next answer, whichever request it is of; nil: none in time.
    func hear(within patience: Duration = .milliseconds(300)) throws -> WitnessAnswer? {
        do throws(LinkError) {
            let frame = try link.receive(deadline: patience)
            guard frame.kind == FrameKind.witnessAnswer else { return nil }
            let (answer, header) = try parsed(frame.payload)
            #expect(header.receiver == session)
            return answer
        } catch {
            guard error.kind == .timedOut else { throw error }
            return nil
        }
    }

    private func parsed(_ payload: [UInt8]) throws(LinkError) -> (WitnessAnswer, Heartbeat.Header) {
        do {
            return try JSON.decode(WitnessAnswerDocument.self, from: payload).answer()
        } catch {
            throw LinkError(.closed, attempted: "read an answer", happened: "\(error)", advice: "")
        }
    }

    /// Asks until it is answered, as a node does with every heartbeat.
    func ask(_ kind: WitnessRequest.Kind, within patience: Duration = .seconds(10)) throws -> WitnessAnswer {
        let end = SystemClock.after(patience)
        while SystemClock.now() < end {
            try send(kind)
            while let answer = try hear() {
                if answer.number == number { return answer }
            }
        }
        throw Unanswered(request: "\(kind)")
    }

    /// What the witness says of a request that it does not answer; the connection stays.
    func complaint() throws -> NoteDocument {
        let end = SystemClock.after(.seconds(10))
        while SystemClock.now() < end {
            let frame = try link.receive(deadline: .seconds(10))
            if frame.kind == FrameKind.witnessRefusal { return try JSON.decode(NoteDocument.self, from: frame.payload) }
        }
        throw Unanswered(request: "no complaint")
    }

    /// The words by which the witness refuses this node, and then the end of the connection.
    func refusal() throws -> String {
        let frame = try link.receive(deadline: .seconds(10))
        try #require(frame.kind == FrameKind.witnessRefusal)
        #expect(try isDismissed())
        return try JSON.decode(NoteDocument.self, from: frame.payload).text
    }

    /// Whether the witness ends the connection.
    func isDismissed() throws -> Bool {
        let end = SystemClock.after(.seconds(10))
        while SystemClock.now() < end {
            do throws(LinkError) {
                _ = try link.receive(deadline: .milliseconds(200))
            } catch {
                if error.kind != .timedOut { return true }
            }
        }
        return false
    }
}

struct Unanswered: Error { var request: String }

/// Ledgers of a pair.
enum Ledgers {
    static let copyA = CopyID(high: 1, low: 2)
    static let copyB = CopyID(high: 3, low: 4)

    static func sole(_ term: UInt64 = 8, cluster: String = "orders", lease: Duration = .seconds(2)) -> Ledger {
        Ledger(
            cluster: cluster, term: Term(term), step: 1, primary: "a", bond: .sole, primaryCopy: copyA, standbyCopy: nil,
            arbiter: .witness, lease: lease)
    }

    static func paired(_ term: UInt64 = 8, cluster: String = "orders", lease: Duration = .seconds(2)) -> Ledger {
        sole(term, cluster: cluster, lease: lease).paired(with: copyB)
    }

    /// What b claims over a's ledger.
    static func granted(_ ledger: Ledger) -> Ledger {
        var granted = ledger
        granted.term = ledger.term.next(for: "b", besides: "a")
        granted.step = 1
        granted.primary = "b"
        granted.bond = .sole
        granted.primaryCopy = copyB
        granted.standbyCopy = nil
        return granted
    }
}

/// A pair whose nodes are known, and whose record is what `ledger` says; both are connected.
struct KnownPair {
    let a: TestNode
    let b: TestNode

    init(_ cluster: Cluster, at address: LinkAddress, ledger: Ledger? = nil) throws {
        let first = try TestNode("a", of: cluster, at: address)
        _ = try first.ask(.read)
        // With the second name the machine begins anew, and both connect again.
        let second = try TestNode("b", of: cluster, at: address)
        #expect(try first.isDismissed() && second.isDismissed())
        a = try TestNode("a", of: cluster, at: address)
        b = try TestNode("b", of: cluster, at: address)
        guard let ledger else { return }
        let sole = Ledgers.sole(ledger.term.number, cluster: ledger.cluster, lease: ledger.lease)
        #expect(try a.ask(.establish(sole, empty: a.witness)).record == sole)
        guard ledger != sole else { return }
        #expect(try a.ask(.heartbeat(ledger, position: nil)).record == ledger)
    }
}

func eventually(
    _ what: String, within patience: Duration = .seconds(10), _ fact: () throws -> Bool,
    location: SourceLocation = #_sourceLocation
) rethrows {
    let came = try SystemClock.wait(upTo: patience, until: fact)
    #expect(came, "\(what)", sourceLocation: location)
}
