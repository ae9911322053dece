import Glibc
import NIOCore
import NIOSSL
import NIOTLS
import TandemSystem
import X509

/// Judges the other side's certificate once per connection and keeps the verdict: TLS itself only learns yes or no.
final class PeerJudge {
    private enum Accepted {
        /// TLS names, and the nodes that they stand for.
        case named([String: String])
        /// Every node of the cluster but this one.
        case anyNode
    }

    /// Nil until the other side has said which cluster it wants.
    private(set) var identity: TLSIdentity?
    private let accepted: Accepted
    /// The peer's node name. Nil until judged, so a handshake that somehow went past the judge is not taken for a good one.
    private(set) var node: String?
    private(set) var refusal: PeerCertificate.Refusal?
    private(set) var warnings: [String] = []

    /// - Parameter nodes: whose certificates are accepted.
    init(identity: TLSIdentity, nodes: [String]) throws(TLSError) {
        self.identity = identity
        var hosts: [String: String] = [:]
        for node in nodes { hosts[try identity.host(of: node)] = node }
        accepted = .named(hosts)
    }

    /// For a server that serves several clusters: `take` says which one it is before anything is judged.
    init() { accepted = .anyNode }

    func take(_ identity: TLSIdentity) { self.identity = identity }

    func judge(_ presented: [NIOSSLCertificate]) -> NIOSSLVerificationResult {
        do throws(PeerCertificate.Refusal) {
            let certificate = try PeerCertificate.read(presented)
            guard let identity else { throw .foreignAuthority }
            let name: String
            switch accepted {
            case .named(let nodes):
                name = try PeerCertificate.name(in: certificate, of: identity.authorities, among: nodes.keys.sorted())
                node = nodes[name]
            case .anyNode:
                name = try PeerCertificate.name(in: certificate, of: identity.authorities)
                guard let parts = TLSName.parts(of: name), parts.cluster == identity.cluster, parts.node != identity.node else {
                    throw .foreignName(presented: name, expected: ["a node of the cluster \(identity.cluster)"])
                }
                node = parts.node
            }
            warnings = PeerCertificate.warnings(about: certificate, called: "the certificate of \(name)")
            return .certificateVerified
        } catch {
            refusal = error
            return .failed
        }
    }

    /// Why, for people.
    var refusalText: String? {
        guard let refusal else { return nil }
        if case .foreignName(let presented, _) = refusal, presented == ownHost {
            return "it presented the certificate of this node itself (\(presented))"
        }
        return refusal.description
    }

    private var ownHost: String? {
        guard let identity else { return nil }
        do throws(TLSError) {
            return try identity.host(of: identity.node)
        } catch {
            // Cannot be: `load` made the same name.
            return nil
        }
    }
}

/// Stands next to the socket and closes it without TLS's farewell, which would wait for somebody who does not read.
final class HardClose: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    private var context: ChannelHandlerContext?

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func close() { context?.close(promise: nil) }
}

enum LinkPipeline {
    enum Side {
        case accepting
        /// Dialling this node: its TLS name goes into the greeting.
        case dialling(String)
    }

    /// TLS with mutual certificates, then frames. On the channel's loop.
    static func build(_ channel: any Channel, _ side: Side, identity: TLSIdentity, connection: LinkConnection) throws {
        let pipeline = channel.pipeline.syncOperations
        try closeOnExec(channel)
        let judge = connection.judge
        let verify: NIOSSLCustomVerificationCallback = { presented, promise in promise.succeed(judge.judge(presented)) }
        try pipeline.addHandler(connection.hardClose)
        switch side {
        case .accepting:
            try pipeline.addHandler(NIOSSLServerHandler(context: identity.serverContext, customVerificationCallback: verify))
        case .dialling(let peer):
            let host = try identity.host(of: peer)
            try pipeline.addHandler(
                NIOSSLClientHandler(context: identity.clientContext, serverHostname: host, customVerificationCallback: verify))
        }
        try pipeline.addHandler(connection)
    }

    /// As the accepting side of several clusters: the TLS name that the other side asks for (nil: none) chooses the identity.
    static func serve(
        _ channel: any Channel, connection: LinkConnection, choose: @escaping (String?) -> EventLoopFuture<TLSIdentity>
    ) throws {
        let pipeline = channel.pipeline.syncOperations
        try closeOnExec(channel)
        try pipeline.addHandler(connection.hardClose)
        let bound = NIOLoopBound((connection, choose), eventLoop: channel.eventLoop)
        let chooser = SNIHandler { result in
            let (connection, choose) = bound.value
            let name: String? = if case .hostname(let name) = result { name } else { nil }
            let secured = choose(name).assumeIsolated().flatMapThrowing { identity in
                let judge = connection.judge
                judge.take(identity)
                let verify: NIOSSLCustomVerificationCallback = { presented, promise in promise.succeed(judge.judge(presented)) }
                try channel.pipeline.syncOperations.addHandler(
                    NIOSSLServerHandler(context: identity.serverContext, customVerificationCallback: verify),
                    position: .before(connection))
            }
            secured.whenFailure { error in connection.end(error as? LinkEnd ?? .certificateRefused("\(error)")) }
            return secured.nonisolated()
        }
        // One greeting, whose length two bytes tell.
        try pipeline.addHandler(ByteToMessageHandler(chooser, maximumBufferSize: 1 << 17))
        try pipeline.addHandler(connection)
    }

    /// NIO makes sockets that programs which we start would inherit. A PostgreSQL that holds the agent's port keeps the next agent
    /// from listening, and one that holds a connection keeps the peer from noticing that the agent is gone.
    static func closeOnExec(_ channel: any Channel) throws {
        try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { socket in
            guard fcntl(socket, F_SETFD, FD_CLOEXEC) == 0 else {
                throw LinkEnd.failed(SystemError.last("mark a socket close-on-exec").description)
            }
        }
    }

    /// A frame of the layer above.
    /// - Throws: `LinkError` (frameTooLong, reservedKind): the other side would close the connection for it, or not see it.
    static func encoded(kind: UInt8, payload: [UInt8]) throws(LinkError) -> ByteBuffer {
        guard kind != Frame.hello, kind != Frame.keepAlive else {
            throw LinkError(
                .reservedKind, attempted: "send a frame of kind \(kind)", happened: "the link itself uses this kind",
                advice: "Take another number.")
        }
        return try limited(kind: kind, payload: payload)
    }

    static func limited(kind: UInt8, payload: [UInt8]) throws(LinkError) -> ByteBuffer {
        guard payload.count <= Frame.limit(of: kind) else {
            throw LinkError(
                .frameTooLong, attempted: "send a frame of kind \(kind)",
                happened: "it has \(payload.count) bytes, \(Frame.limit(of: kind)) are allowed", advice: "Send it in pieces.")
        }
        return Frame.encoded(kind: kind, payload: payload)
    }

    /// What both sides set on a connection's socket.
    static func socketOptions(_ limits: LinkLimits) -> [(ChannelOptions.Types.SocketOption, SocketOptionValue)] {
        let milliseconds = TimeAmount(limits.unconfirmed).nanoseconds / 1_000_000
        let buffer = limits.sendBuffer.map { (ChannelOptions.Types.SocketOption.socketOption(.so_sndbuf), SocketOptionValue($0)) }
        return (buffer.map { [$0] } ?? []) + [
            (.socketOption(.so_keepalive), 1),
            (.tcpOption(.tcp_nodelay), 1),
            (.tcpOption(.init(rawValue: SocketNumber.userTimeout)), SocketOptionValue(milliseconds)),
            (.tcpOption(.init(rawValue: SocketNumber.keepIdle)), 1),
            (.tcpOption(.init(rawValue: SocketNumber.keepInterval)), 1),
            (.tcpOption(.init(rawValue: SocketNumber.keepCount)), 3),
        ]
    }

    /// tcp(7), <netinet/tcp.h>
    private enum SocketNumber {
        static let keepIdle: CInt = 4
        static let keepInterval: CInt = 5
        static let keepCount: CInt = 6
        static let userTimeout: CInt = 18
    }
}
