import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import TandemSystem
import Testing

@testable import TandemNetwork

/// A cable that a test can pull: forwards TCP connections, can freeze them (nothing passes, nothing closes), cut them (all closed,
/// new ones too), and mend.
final class Relay: Sendable {
    enum Mode { case passing, frozen, cut }

    private struct State: Sendable {
        var mode = Mode.passing
        var pairs: [(any Channel, any Channel)] = []
    }

    let address: LinkAddress
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let state = Mutex(State())
    private let listener: any Channel

    init(to target: LinkAddress, on host: String) throws {
        let box = Box()
        let group = group
        listener = try ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                guard let relay = box.relay else { return channel.close() }
                return relay.joined(channel, to: target)
            }
            .bind(host: host, port: 0).wait()
        address = LinkAddress(host: host, port: try #require(listener.localAddress?.port))
        box.relay = self
    }

    private final class Box: Sendable {
        private let value = Mutex<Relay?>(nil)
        var relay: Relay? {
            get { value.withLock { $0 } }
            set { value.withLock { $0 = newValue } }
        }
    }

    private func joined(_ incoming: any Channel, to target: LinkAddress) -> EventLoopFuture<Void> {
        guard state.withLock({ $0.mode }) != .cut else { return incoming.close() }
        return ClientBootstrap(group: incoming.eventLoop)
            .connect(host: target.host, port: target.port)
            .flatMap { [self] outgoing in
                state.withLock { $0.pairs.append((incoming, outgoing)) }
                return incoming.eventLoop.makeCompletedFuture {
                    try incoming.pipeline.syncOperations.addHandler(Forward(to: outgoing))
                    try outgoing.pipeline.syncOperations.addHandler(Forward(to: incoming))
                }
            }
    }

    func become(_ mode: Mode) {
        let pairs = state.withLock { state in
            state.mode = mode
            defer { if mode == .cut { state.pairs = [] } }
            return state.pairs
        }
        for pair in pairs {
            for channel in [pair.0, pair.1] {
                switch mode {
                case .cut: channel.close(promise: nil)
                case .frozen: _ = channel.setOption(.autoRead, value: false)
                case .passing: _ = channel.setOption(.autoRead, value: true)
                }
            }
        }
    }

    func end() throws {
        become(.cut)
        try group.syncShutdownGracefully()
    }

    private final class Forward: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let other: any Channel

        init(to other: any Channel) { self.other = other }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            other.writeAndFlush(unwrapInboundIn(data), promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
    }
}

/// Somebody with a good certificate who then says anything: for the protocol's errors.
final class RawPeer: Sendable {
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let channel: any Channel
    private let closed = Atomic(false)

    init(_ identity: TLSIdentity, peer: String, to address: LinkAddress) throws {
        let host = try identity.host(of: peer)
        channel = try ClientBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // The server's certificate is not its business.
                    let verify: NIOSSLCustomVerificationCallback = { _, promise in promise.succeed(.certificateVerified) }
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLClientHandler(
                            context: identity.clientContext, serverHostname: host, customVerificationCallback: verify))
                }
            }
            .connect(host: address.host, port: address.port).wait()
        channel.closeFuture.whenComplete { [self] _ in closed.store(true, ordering: .releasing) }
    }

    var isClosed: Bool { closed.load(ordering: .acquiring) }

    func send(_ bytes: [UInt8]) { channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }

    func sayHello() { send([0, 0, 0, 6, 0] + Array("hello".utf8)) }

    func stopReading() throws { try channel.setOption(.autoRead, value: false).wait() }

    func end() throws { try group.syncShutdownGracefully() }
}
