import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// One connection to an agent from plain synchronous code: the `join` command. Every call blocks at most until its deadline.
///
/// It shows this node's certificate, like the agent does; the other agent's `onHello` tells both apart by the hello's content.
/// Use it from one thread at a time.
public final class LinkClient: Sendable {
    /// What the other side said first.
    public let peerHello: [UInt8]
    /// Of certificates: dates.
    public let warnings: [String]

    private let target: String
    private let group: MultiThreadedEventLoopGroup
    private let mailbox: NIOLoopBound<Mailbox>
    private let channel: any Channel
    private let isClosed = Mutex(false)

    /// Connects, shows certificates both ways, exchanges hello.
    /// - Parameters:
    ///   - peer: the node that must answer there.
    ///   - host: a literal address.
    ///   - hello: at most 64 KiB.
    /// - Throws: `LinkError`: not an address, nothing there, refused on either side, deadline.
    public static func connect(
        identity: TLSIdentity, peer: String, host: String, port: Int, hello: [UInt8], deadline: Duration
    ) throws(LinkError) -> LinkClient {
        let address = LinkAddress(host: host, port: port)
        let socket = try address.resolved()
        _ = try LinkPipeline.limited(kind: Frame.hello, payload: hello)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do {
            return try open(group, identity, peer, address, socket, hello, deadline)
        } catch {
            shutDown(group)
            throw error
        }
    }

    private static func open(
        _ group: MultiThreadedEventLoopGroup, _ identity: TLSIdentity, _ peer: String, _ address: LinkAddress,
        _ socket: SocketAddress,
        _ hello: [UInt8], _ deadline: Duration
    ) throws(LinkError) -> LinkClient {
        let attempted = "connect to \(peer) at \(address)"
        let loop = group.next()
        var limits = LinkLimits()
        limits.connect = deadline
        limits.handshake = deadline
        limits.hello = deadline
        let bounds = limits
        do {
            let mailbox = try loop.submit { NIOLoopBound(Mailbox(loop, hello), eventLoop: loop) }.wait()
            var bootstrap = ClientBootstrap(group: loop)
                .connectTimeout(TimeAmount(deadline))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let judge = try PeerJudge(identity: identity, nodes: [peer])
                        let connection = LinkConnection(
                            id: 0, dialled: true, remote: address, judge: judge, limits: bounds, owner: mailbox.value)
                        mailbox.value.connection = connection
                        try LinkPipeline.build(channel, .dialling(peer), identity: identity, connection: connection)
                    }
                }
            for (option, value) in LinkPipeline.socketOptions(limits) {
                bootstrap = bootstrap.channelOption(option, value: value)
            }
            let channel = try bootstrap.connect(to: socket).wait()
            let greeting = try loop.flatSubmit { mailbox.value.greeting(within: deadline) }.wait()
            return LinkClient(greeting, "\(peer) at \(address)", group, mailbox, channel)
        } catch {
            throw described(error, attempted)
        }
    }

    private init(
        _ greeting: Greeting, _ target: String, _ group: MultiThreadedEventLoopGroup, _ mailbox: NIOLoopBound<Mailbox>,
        _ channel: any Channel
    ) {
        peerHello = greeting.hello
        warnings = greeting.warnings
        self.target = target
        self.group = group
        self.mailbox = mailbox
        self.channel = channel
    }

    /// Returns when the socket took it.
    /// - Throws: `LinkError`: too long, a kind of the link itself, connection over, deadline (the connection is over then).
    public func send(kind: UInt8, payload: [UInt8], deadline: Duration = .seconds(10)) throws(LinkError) {
        let frame = try LinkPipeline.encoded(kind: kind, payload: payload)
        let channel = channel
        try onLoop("send a frame to \(target)") { $0.send(frame, on: channel, within: deadline) }
    }

    /// The next frame of the other side.
    /// - Throws: `LinkError`: connection over, deadline (the connection stays).
    public func receive(deadline: Duration) throws(LinkError) -> Frame {
        try onLoop("receive a frame from \(target)") { $0.next(within: deadline) }
    }

    /// Ends the connection and its thread; a call that waits in another thread ends too. Safe to call twice; later calls fail.
    public func close() {
        let first = isClosed.withLock { closed in
            defer { closed = true }
            return !closed
        }
        guard first else { return }
        let mailbox = mailbox
        mailbox.eventLoop.execute { mailbox.value.connection?.end(.stopped) }
        Self.shutDown(group)
    }

    deinit { close() }

    private func onLoop<Value: Sendable>(
        _ attempted: String, _ work: @escaping @Sendable (Mailbox) -> EventLoopFuture<Value>
    ) throws(LinkError) -> Value {
        let mailbox = mailbox
        // Under the lock: a job that is handed to a loop after its end is neither run nor refused.
        let result = isClosed.withLock { closed in closed ? nil : mailbox.eventLoop.flatSubmit { work(mailbox.value) } }
        guard let result else { throw Self.described(LinkEnd.stopped, attempted) }
        do {
            return try result.wait()
        } catch {
            throw Self.described(error, attempted)
        }
    }

    private static func shutDown(_ group: MultiThreadedEventLoopGroup) {
        do {
            try group.syncShutdownGracefully()
        } catch {
            // Only says that it was shut down before.
        }
    }

    private static func described(_ error: any Error, _ attempted: String) -> LinkError {
        switch error {
        case let error as LinkError: return error
        case let end as LinkEnd: return described(end, attempted)
        case let error as TLSError:
            return LinkError(.identity, attempted: error.attempted, happened: error.found, advice: error.advice)
        case is MailboxTimeout, ChannelError.connectTimeout:
            return LinkError(
                .timedOut, attempted: attempted, happened: "nothing came in time",
                advice: "Look whether the agent runs on the other host and its port is reachable.")
        case let error as IOError:
            return LinkError(
                .cannotConnect, attempted: attempted, happened: LinkEnd.reason(of: error),
                advice: "Start the agent on the other host, and look at address, port and firewall.")
        case EventLoopError.shutdown, ChannelError.ioOnClosedChannel, ChannelError.alreadyClosed:
            return described(LinkEnd.stopped, attempted)
        default:
            return LinkError(
                .cannotConnect, attempted: attempted, happened: "\(error)", advice: "Look at the other host's log.")
        }
    }

    private static func described(_ end: LinkEnd, _ attempted: String) -> LinkError {
        switch end {
        case .certificateRefused, .refusedByPeer, .notTLS, .handshakeFailed:
            LinkError(
                .refused, attempted: attempted, happened: end.description,
                advice:
                    "Copy the certificates of ONE run of `pgtandem tls create` to both hosts, and look at the other host's log.")
        case .noHandshakeInTime, .noHelloInTime:
            LinkError(
                .timedOut, attempted: attempted, happened: end.description,
                advice: "Look whether the agent runs on the other host and its port is reachable.")
        default:
            LinkError(
                .closed, attempted: attempted, happened: end.description, advice: "Look at the other host's log, and try again.")
        }
    }
}

struct MailboxTimeout: Error {}

/// The other side's first words.
struct Greeting: Sendable {
    var hello: [UInt8]
    var warnings: [String]
}
