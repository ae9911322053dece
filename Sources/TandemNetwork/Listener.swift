import Glibc
import NIOCore
import NIOPosix

/// What a listener belongs to, on its loop.
protocol ListenerOwner: AnyObject {
    var loop: any EventLoop { get }
    var limits: LinkLimits { get }
    /// The option of the configuration, or of the command line, by which a person chooses the port.
    var portOption: String { get }
    func accepted(_ channel: any Channel) throws
    /// It came up (nil), or cannot listen for now and why.
    func listens(_ address: LinkAddress, _ problem: String?)
}

/// Listens on one local address; comes back when the address does. On the link's loop.
final class Listener {
    private let asked: LinkAddress
    private let onlyIPv6: Bool
    private let core: NIOLoopBound<any ListenerOwner>
    private let portOption: String
    private let loop: any EventLoop
    private var channel: (any Channel)?
    private var retry: Scheduled<Void>?
    private var told: String?
    private var stopped = false

    /// - Parameter onlyIPv6: for `::` next to an IPv4 listener, which would otherwise be the same port twice.
    init(_ address: LinkAddress, onlyIPv6: Bool, core: any ListenerOwner) {
        asked = address
        self.onlyIPv6 = onlyIPv6
        loop = core.loop
        portOption = core.portOption
        self.core = NIOLoopBound(core, eventLoop: core.loop)
    }

    var bound: LinkAddress? { LinkAddress(channel?.localAddress) }

    /// The first attempt. Fails if a person must act (port in use, not permitted); an address that is not there yet is retried.
    func open() -> EventLoopFuture<Void> {
        let done = loop.makePromise(of: Void.self)
        bind { [self] error in
            guard let error else { return done.succeed(()) }
            if isPassing(error) {
                again(because: error)
                done.succeed(())
            } else {
                done.fail(describe(error))
            }
        }
        return done.futureResult
    }

    func stop() {
        stopped = true
        retry?.cancel()
        channel?.close(promise: nil)
    }

    private func bind(_ then: @escaping ((any Error)?) -> Void) {
        let address: SocketAddress
        do throws(LinkError) {
            address = try asked.resolved()
        } catch {
            return then(error)
        }
        let core = core
        let limits = core.value.limits
        var bootstrap = ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: Int32(limits.backlog))
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try LinkPipeline.closeOnExec(channel) }
            }
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try core.value.accepted(channel) }
            }
        if let bytes = limits.readAtOnce {
            bootstrap =
                bootstrap
                .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: bytes))
                .childChannelOption(.maxMessagesPerRead, value: 1)
        }
        if asked.host.contains(":"), onlyIPv6 {
            bootstrap = bootstrap.serverChannelOption(
                ChannelOptions.Types.SocketOption(level: .ipv6, name: .ipv6_v6only), value: 1)
        }
        for (option, value) in LinkPipeline.socketOptions(limits) {
            bootstrap = bootstrap.childChannelOption(option, value: value)
        }
        bootstrap.bind(to: address).assumeIsolated().whenComplete { [self] result in
            switch result {
            case .failure(let error): then(error)
            case .success(let channel):
                opened(channel)
                then(nil)
            }
        }
    }

    private func opened(_ channel: any Channel) {
        guard !stopped else { return channel.close(promise: nil) }
        self.channel = channel
        tell(nil)
        channel.closeFuture.assumeIsolated().whenComplete { [self] _ in
            self.channel = nil
            if !stopped { again(because: ChannelError.eof) }
        }
    }

    private func again(because error: any Error) {
        guard !stopped else { return }
        tell(describe(error).happened)
        retry = loop.assumeIsolated().scheduleTask(in: TimeAmount(core.value.limits.listenRetry)) { [self] in
            guard !stopped else { return }
            bind { [self] error in
                if let error { again(because: error) }
            }
        }
    }

    /// Each change once; the first success of all is told too.
    private func tell(_ problem: String?) {
        let news = problem ?? ""
        guard told != news else { return }
        told = news
        core.value.listens(bound ?? asked, problem)
    }

    /// Only what passes by itself: the address is not there yet (EADDRNOTAVAIL), its family neither.
    private func isPassing(_ error: any Error) -> Bool {
        guard let error = error as? IOError else { return false }
        return error.errnoCode == EADDRNOTAVAIL || error.errnoCode == EAFNOSUPPORT || error.errnoCode == EMFILE
            || error.errnoCode == ENFILE
    }

    private func describe(_ error: any Error) -> LinkError {
        if let error = error as? LinkError { return error }
        let attempted = "listen on \(asked)"
        guard let error = error as? IOError else {
            return LinkError(
                .cannotListen, attempted: attempted, happened: "the listener closed (\(error))",
                advice: "Look at the log before this.")
        }
        let happened = LinkEnd.reason(of: error)
        switch error.errnoCode {
        case EADDRINUSE:
            return LinkError(
                .portInUse, attempted: attempted, happened: happened,
                advice:
                    "Stop the program that has the port (`ss -ltnp 'sport = :\(asked.port)'` names it), or choose another \(portOption)."
            )
        case EADDRNOTAVAIL:
            return LinkError(
                .cannotListen, attempted: attempted, happened: happened,
                advice: "Give this host the address, or correct where to listen; it is tried again.")
        case EACCES, EPERM:
            return LinkError(
                .cannotListen, attempted: attempted, happened: happened,
                advice: "Choose a port of 1024 or above by \(portOption).")
        default:
            return LinkError(.cannotListen, attempted: attempted, happened: happened, advice: "Look at the address and the port.")
        }
    }
}
