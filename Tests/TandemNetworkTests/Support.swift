import CLinux
import Foundation
import Glibc
import Synchronization
import TandemSystem
import Testing
import X509

@testable import TandemNetwork

/// A folder of its own, gone at the end.
final class Folder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("tandem-network-\(Random.word())").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            Issue.record("cannot remove \(path): \(error)")
        }
    }
}

/// Certificates of one cluster.
struct Pair {
    let folder: Folder
    let cluster: String

    init(cluster: String = "orders", nodes: [String] = ["a", "b"]) throws {
        folder = try Folder()
        self.cluster = cluster
        _ = try TLSAuthority.create(cluster: cluster, directory: folder.path, nodes: nodes)
    }

    func directory(_ node: String) -> String { "\(folder.path)/\(node)" }

    func identity(_ node: String) throws -> TLSIdentity {
        try TLSIdentity.load(directory: directory(node), cluster: cluster, node: node)
    }

    /// Replaces a node's certificate by one that was made at `date` for one day.
    func age(_ node: String, to date: Date) throws {
        let authority = try TLSFile.certificates("\(folder.path)/ca.crt")[0]
        let key = try TLSFile.key("\(directory(node))/node.key").key
        let certificate = try TLSCertificates.node(
            node, cluster: cluster, key: key.publicKey, days: 1, now: date, authority: authority,
            authorityKey: try TLSFile.key("\(folder.path)/ca.key").key)
        try DurableFile.write(try TLSCertificates.pem(certificate), to: "\(directory(node))/node.crt", mode: 0o644)
    }
}

/// What a link told.
final class Recorder: Sendable {
    struct Told {
        var up: [Path] = []
        var down: [(path: Path, end: LinkEnd)] = []
        var frames: [(path: Path, frame: Frame)] = []
        var hellos: [String] = []
        var refused: [String] = []
        var dialFailed: [String] = []
        var listeners: [(address: LinkAddress, problem: String?)] = []
        var warnings: [String] = []
    }

    private let told = Mutex(Told())

    var now: Told { told.withLock { $0 } }

    func note(_ change: (inout Told) -> Void) { told.withLock { change(&$0) } }

    func callbacks(hello: String, verdict: @escaping @Sendable (String) -> HelloVerdict = { _ in .peer }) -> LinkCallbacks {
        var callbacks = LinkCallbacks(
            helloPayload: { Array(hello.utf8) },
            onHello: { [self] _, payload in
                let text = String(decoding: payload, as: UTF8.self)
                note { $0.hellos.append(text) }
                return verdict(text)
            },
            onFrame: { [self] path, kind, payload in note { $0.frames.append((path, Frame(kind: kind, payload: payload))) } })
        callbacks.onPathUp = { [self] path in note { $0.up.append(path) } }
        callbacks.onPathDown = { [self] path, end in note { $0.down.append((path, end)) } }
        callbacks.onRefused = { [self] address, reason in note { $0.refused.append("\(address): \(reason)") } }
        callbacks.onDialFailed = { [self] address, why in note { $0.dialFailed.append("\(address): \(why)") } }
        callbacks.onListener = { [self] address, problem in note { $0.listeners.append((address, problem)) } }
        callbacks.onWarning = { [self] text in note { $0.warnings.append(text) } }
        return callbacks
    }
}

/// A running link with its record; stopped at the end.
final class Agent: Sendable {
    let link: PeerLink
    let recorder = Recorder()

    init(
        _ identity: TLSIdentity, peer: String, listen: [String] = ["127.0.0.1"], port: Int = 0, dial: [LinkAddress] = [],
        limits: LinkLimits = LinkLimits(), verdict: @escaping @Sendable (String) -> HelloVerdict = { _ in .peer }
    ) throws {
        var configuration = LinkConfiguration(
            identity: identity, peer: peer, listen: listen, port: port, peerAddresses: dial)
        configuration.limits = limits
        link = PeerLink(configuration, callbacks: recorder.callbacks(hello: "hello of \(identity.node)", verdict: verdict))
        try link.start()
    }

    var address: LinkAddress {
        get throws { try #require(link.listening.first) }
    }

    deinit { link.stop() }
}

/// Polls a fact; ten seconds are more than any of them needs, also on a busy machine.
func eventually(
    _ what: String, within patience: Duration = .seconds(10), _ fact: () throws -> Bool,
    location: SourceLocation = #_sourceLocation
) rethrows {
    let came = try SystemClock.wait(upTo: patience, until: fact)
    #expect(came, "\(what)", sourceLocation: location)
}

/// A plain TCP socket, blocking with deadlines: a stranger on the port.
final class Stranger {
    private let socket: Int32

    init(_ address: LinkAddress) throws {
        socket = Glibc.socket(AF_INET, cl_sock_stream, 0)
        try #require(socket >= 0)
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = in_port_t(address.port).bigEndian
        inet_pton(AF_INET, address.host, &target.sin_addr)
        let result = withUnsafePointer(to: &target) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0, "cannot connect to \(address): errno \(errno)")
    }

    deinit { close(socket) }

    func send(_ bytes: [UInt8]) { _ = Glibc.send(socket, bytes, bytes.count, cl_msg_nosignal) }

    /// Whether the other side has closed the connection (what it sent before is thrown away).
    var isClosed: Bool {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(socket, &buffer, buffer.count, cl_msg_dontwait)
            if count == 0 { return true }
            if count < 0 { return errno != EAGAIN }
        }
    }
}
