import NIOCore
import NIOPosix
import Synchronization
import TandemSystem

/// Bounds of a server, beside those of each connection.
public struct LinkServerLimits: Sendable {
    public var connection = LinkLimits()
    /// Connections at a time of which nobody knows yet who they are.
    public var unknown = 256
    /// So many more for each cluster: all of them come at once after a start.
    public var unknownPerCluster = 4
    /// Connections of one node; a new one takes the place of its oldest.
    public var guestsPerNode = 4
    /// Between two looks for new certificate folders, however many strangers ask for unknown clusters.
    public var look: Duration = .seconds(1)

    public init() {
        connection.silence = .seconds(6)
        // Longer than a node waits: a place is given away as soon as somebody else needs it.
        connection.handshake = .seconds(5)
        connection.hello = .seconds(6)
        connection.longestPayload = 16 << 10
        connection.framesPerSecond = 200
        connection.queuedBytes = 256 << 10
        connection.sendBuffer = 64 << 10
        connection.readAtOnce = 4 << 10
        connection.backlog = 4096
    }
}

public struct LinkServerConfiguration: Sendable {
    public var listen: LinkAddress
    public var shelf: TLSShelf
    public var limits = LinkServerLimits()
    /// Runs once on the loop's thread before anything else: the place to raise its priority.
    public var onLoopStart: (@Sendable () -> Void)?
    /// Somebody was not let in, or broke the protocol; at most once per address and 10 seconds.
    public var onRefused: @Sendable (_ address: String, _ reason: String) -> Void = { _, _ in }
    /// Certificates near or beyond their dates, folders that cannot be used; once per text and hour.
    public var onWarning: @Sendable (String) -> Void = { _ in }
    /// It listens (nil), or cannot for now and why; it is tried again.
    public var onListener: @Sendable (LinkAddress, String?) -> Void = { _, _ in }

    public init(listen: LinkAddress, shelf: TLSShelf) {
        self.listen = listen
        self.shelf = shelf
    }
}

/// The accepting side of the agents' link for many clusters on one port: TLS 1.3 with certificates both ways, the cluster chosen by the
/// TLS server name, frames and hello as between agents. One event loop, on which the service runs too.
public final class LinkServer<Service: LinkService>: Sendable {
    private struct Running: Sendable {
        var group: MultiThreadedEventLoopGroup
        var core: NIOLoopBound<LinkServerCore<Service>>
    }

    private let running = Mutex<Running?>(nil)

    public init() {}

    /// Returns when it listens.
    /// - Parameter service: called on the loop, to make what the connections are for.
    /// - Throws: `LinkError`: port in use, not permitted, not an address.
    public func start(
        _ configuration: LinkServerConfiguration, service: @escaping @Sendable (any EventLoop) -> Service
    ) throws(LinkError) {
        _ = try configuration.listen.resolved()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        do {
            let core = try loop.submit {
                configuration.onLoopStart?()
                return NIOLoopBound(LinkServerCore(configuration, service(loop), loop: loop), eventLoop: loop)
            }.wait()
            running.withLock { $0 = Running(group: group, core: core) }
            try loop.flatSubmit { core.value.open() }.wait()
        } catch {
            stop(within: .seconds(1))
            throw error as? LinkError
                ?? LinkError(
                    .cannotListen, attempted: "listen on \(configuration.listen)", happened: "\(error)",
                    advice: "Look at the address and the port.")
        }
    }

    /// Where it listens, with the real port.
    public var listening: LinkAddress? { ask { $0.bound } ?? nil }

    /// Connections that are open: unknown ones, and guests.
    public var connections: (unknown: Int, guests: Int) { ask { $0.connectionCounts } ?? (0, 0) }

    /// What it serves by now.
    public var shelf: TLSShelf? { ask { $0.shelf } }

    /// For new connections; those that are up stay.
    public func replace(shelf: TLSShelf) { onLoop { $0.replace(shelf) } }

    /// Runs on the loop, in the order of the calls; not at all once it has stopped.
    public func run(_ work: @escaping @Sendable (Service) -> Void) { onLoop { work($0.service) } }

    /// Runs on the loop and waits for the answer; nil once it has stopped. Never from the loop itself.
    public func ask<Value: Sendable>(service work: @escaping @Sendable (Service) -> Value) -> Value? { ask { work($0.service) } }

    /// What is queued is still sent where the guests take it. Returns within about two seconds.
    public func stop(within patience: Duration = .seconds(1)) {
        let last = running.withLock { running in
            defer { running = nil }
            return running
        }
        guard let last else { return }
        let isClosed = Mutex(false)
        last.core.eventLoop.flatSubmit { last.core.value.stop() }.whenComplete { _ in isClosed.withLock { $0 = true } }
        _ = SystemClock.wait(upTo: patience) { isClosed.withLock { $0 } }
        do {
            try last.group.syncShutdownGracefully()
        } catch {
            // Only says that it was shut down before.
        }
    }

    private func onLoop(_ work: @escaping @Sendable (LinkServerCore<Service>) -> Void) {
        // Under the lock: once stopped, the loop takes no more jobs.
        running.withLock { running in
            guard let running else { return }
            running.core.eventLoop.execute { work(running.core.value) }
        }
    }

    private func ask<Value: Sendable>(_ work: @escaping @Sendable (LinkServerCore<Service>) -> Value) -> Value? {
        let answer = running.withLock { running in
            running.map { running in running.core.eventLoop.submit { work(running.core.value) } }
        }
        do {
            return try answer?.wait()
        } catch {
            // The loop ended in between.
            return nil
        }
    }
}
