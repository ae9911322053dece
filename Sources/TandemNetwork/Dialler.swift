import NIOCore
import NIOPosix

/// Keeps one connection to one address of the peer. On the link's loop.
final class Dialler {
    let address: LinkAddress
    private let core: NIOLoopBound<LinkCore>
    private let loop: any EventLoop
    private var retry: Scheduled<Void>?
    private var connection: LinkConnection?
    /// Attempts in a row that brought no lasting path.
    private var failures = 0
    private var told: LinkEnd?
    private var stopped = false

    init(_ address: LinkAddress, core: LinkCore) {
        self.address = address
        loop = core.loop
        self.core = NIOLoopBound(core, eventLoop: core.loop)
    }

    func dial() {
        guard !stopped else { return }
        let target: SocketAddress
        do throws(LinkError) {
            target = try address.resolved()
        } catch {
            return tell(.failed(error.description))
        }
        let core = core
        let bound = NIOLoopBound(self, eventLoop: loop)
        var bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(TimeAmount(core.value.limits.connect))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    bound.value.connection = try core.value.dialled(channel, bound.value.address)
                }
            }
        for (option, value) in LinkPipeline.socketOptions(core.value.limits) {
            bootstrap = bootstrap.channelOption(option, value: value)
        }
        bootstrap.connect(to: target).assumeIsolated().whenFailure { [self] error in
            // The connection's own end comes as well, or it was never made; only one of both schedules the next attempt.
            let why: String
            switch error {
            case let error as IOError: why = LinkEnd.reason(of: error)
            case ChannelError.connectTimeout: why = "nothing answered within \(core.value.limits.connect)"
            default: why = "\(error)"
            }
            tell(.failed(why))
            connection = nil
            again()
        }
    }

    /// The core tells how our connection ended. A refused TCP connect ends it too; `dial` handles that one.
    func ended(_ ended: LinkConnection, _ end: LinkEnd) {
        guard let connection, ended === connection, ended.wasConnected else { return }
        self.connection = nil
        // A path that is closed right after its hello must not be dialled in a tight loop.
        if let since = ended.upSince, NIODeadline.now() - since > .seconds(1) { failures = 0 }
        if ended.upSince == nil { tell(end) }
        again()
    }

    func cameUp(_ up: LinkConnection) {
        if let connection, up === connection { told = nil }
    }

    /// Closes its connection and dials no more.
    func stop() {
        stopped = true
        retry?.cancel()
        connection?.endGracefully()
        connection = nil
    }

    private func again() {
        guard !stopped else { return }
        failures += 1
        let limits = core.value.limits
        retry?.cancel()
        retry = loop.assumeIsolated().scheduleTask(in: Self.pause(after: failures, limits)) { [self] in dial() }
    }

    /// At once, then 50 ms, 100 ms … 1 s, each shortened by up to a quarter by chance, so that two hosts do not stay in step.
    static func pause(after failures: Int, _ limits: LinkLimits) -> TimeAmount {
        guard failures > 1 else { return .zero }
        let first = TimeAmount(limits.retryFirst).nanoseconds
        let last = max(first, TimeAmount(limits.retryLast).nanoseconds)
        let full = min(last, first << min(failures - 2, 20))
        return .nanoseconds(full - Int64.random(in: 0...(full / 4)))
    }

    private func tell(_ problem: LinkEnd) {
        guard told != problem else { return }
        told = problem
        core.value.callbacks.onDialFailed(address, problem)
    }
}
