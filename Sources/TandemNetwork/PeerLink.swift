import Foundation
import NIOCore
import NIOPosix
import Synchronization
import TandemSystem

/// The link between this agent and its peer: both listen, both dial each address of the other; each connection that is up is a path.
///
/// TLS 1.3 with certificates on both sides, one event loop of its own. A path is up when the peer's hello arrived and was accepted.
/// Frames are delivered at most once per path and in order on it; what goes over `.all` arrives once per path (the layer above drops
/// what it has seen). All methods can be called from any thread; callbacks come on the link's thread.
public final class PeerLink: Sendable {
    private struct Running: Sendable {
        var group: MultiThreadedEventLoopGroup
        var core: NIOLoopBound<LinkCore>
    }

    private enum State: Sendable {
        case idle
        case starting
        case running(Running)
        case stopped
    }

    private let configuration: LinkConfiguration
    private let callbacks: LinkCallbacks
    private let book: PathBook
    /// Whose threads many links share; it outlives this one.
    private let shared: MultiThreadedEventLoopGroup?
    private let state = Mutex(State.idle)

    /// - Parameter shared: for a process with many links (a bench); nil: a thread of its own.
    public init(_ configuration: LinkConfiguration, callbacks: LinkCallbacks, on shared: LinkThreads? = nil) {
        self.configuration = configuration
        self.shared = shared?.group
        self.callbacks = callbacks
        book = PathBook(limit: configuration.limits.queuedBytes)
    }

    /// Listens and begins to dial. Returns when each listener is open or waits for its address to appear (`onListener`).
    /// - Throws: `LinkError`: port in use, not permitted, not an address, started before. Then this link is over; another try takes a
    ///   new one.
    public func start() throws(LinkError) {
        try check()
        let began = state.withLock { state in
            guard case .idle = state else { return false }
            state = .starting
            return true
        }
        guard began else {
            throw LinkError(
                .wrongState, attempted: "start the link", happened: "it was started before", advice: "Make a new link.")
        }
        let group = shared ?? MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        do {
            let core = try loop.submit { [configuration, callbacks, book] in
                configuration.onLoopStart?()
                return NIOLoopBound(LinkCore(configuration, callbacks, book, loop: loop), eventLoop: loop)
            }.wait()
            state.withLock { $0 = .running(Running(group: group, core: core)) }
            try loop.flatSubmit { core.value.open() }.wait()
        } catch {
            stop(within: .seconds(1))
            throw error as? LinkError
                ?? LinkError(.cannotListen, attempted: "start the link", happened: "\(error)", advice: "Look at the addresses.")
        }
    }

    /// Closes everything: queued frames are still sent where the peer takes them. Returns within about `patience`, also if
    /// a callback hangs; then the thread is left behind. Safe to call twice, and from a callback (which does not wait).
    public func stop(within patience: Duration = .seconds(2)) {
        let running: Running? = state.withLock { state in
            defer { state = .stopped }
            if case .running(let running) = state { return running }
            return nil
        }
        guard let running else { return }
        let finished = Flag()
        Thread.detachNewThread {
            let closed = Flag()
            running.core.eventLoop.flatSubmit { running.core.value.stop() }.whenComplete { _ in closed.set() }
            _ = SystemClock.wait(upTo: min(.milliseconds(500), patience / 2)) { closed.isSet }
            _ = SystemClock.wait(upTo: .seconds(1)) { self.book.shut() }
            do {
                if self.shared == nil { try running.group.syncShutdownGracefully() }
            } catch {
                // Only says that it was shut down before, which is what we want.
            }
            finished.set()
        }
        guard MultiThreadedEventLoopGroup.currentEventLoop == nil else { return }
        _ = SystemClock.wait(upTo: patience) { finished.isSet }
    }

    /// Hands a frame to paths; it is sent in the order of the calls of one thread.
    /// - Returns: how many paths took it; 0: none is up. A path whose queue is full is closed instead (`doesNotRead`).
    /// - Throws: `LinkError` (frameTooLong, reservedKind).
    @discardableResult
    public func send(kind: UInt8, payload: [UInt8], on target: LinkTarget) throws(LinkError) -> Int {
        book.send(try LinkPipeline.encoded(kind: kind, payload: payload), on: target)
    }

    /// Bytes handed over and not yet taken by the socket: whoever sends bulk waits for this to fall.
    public func waiting(on path: Path) -> Int { book.waiting(on: path) }

    /// Paths to the peer that are up, oldest first.
    public var paths: [Path] { book.paths }

    public var statistics: LinkStatistics { book.statistics }

    /// Where it listens now (with the real port if 0 was asked for).
    public var listening: [LinkAddress] { book.listening }

    public func close(_ path: Path, because why: String) { book.close(path, .closedByUs(why)) }

    /// For new connections; those that are up stay (SIGHUP).
    public func replace(identity: TLSIdentity) { onLoop { $0.replace(identity) } }

    /// Dials these addresses from now on; connections to others are closed, those to the same ones stay.
    /// - Throws: `LinkError` (notAnAddress); nothing is changed then.
    public func replace(peerAddresses: [LinkAddress]) throws(LinkError) {
        for address in peerAddresses { _ = try address.resolved() }
        onLoop { $0.dial(peerAddresses) }
    }

    private func onLoop(_ work: @escaping @Sendable (LinkCore) -> Void) {
        // Under the lock: once stopped, the loop takes no more jobs.
        state.withLock { state in
            guard case .running(let running) = state else { return }
            running.core.eventLoop.execute { work(running.core.value) }
        }
    }

    /// What would fail for each connection anew is refused before anything starts.
    private func check() throws(LinkError) {
        for host in configuration.listen { _ = try LinkAddress(host: host, port: configuration.port).resolved() }
        for address in configuration.peerAddresses { _ = try address.resolved() }
        let identity = configuration.identity
        do throws(TLSError) {
            for node in [configuration.peer] + configuration.alsoAccepts { _ = try identity.host(of: node) }
        } catch {
            throw LinkError(.identity, attempted: error.attempted, happened: error.found, advice: error.advice)
        }
        guard configuration.peer != identity.node, !configuration.alsoAccepts.contains(identity.node) else {
            throw LinkError(
                .identity, attempted: "link node \(identity.node) to \(configuration.peer)", happened: "both are the same node",
                advice: "Correct `node` in the configuration, or copy the folder of this node's certificates.")
        }
    }
}

/// Event loops for many links of one process.
public final class LinkThreads: Sendable {
    let group: MultiThreadedEventLoopGroup

    public init(count: Int) { group = MultiThreadedEventLoopGroup(numberOfThreads: count) }
}

/// A fact that becomes true once.
private final class Flag: Sendable {
    private let value = Atomic(false)

    func set() { value.store(true, ordering: .releasing) }

    var isSet: Bool { value.load(ordering: .acquiring) }
}
