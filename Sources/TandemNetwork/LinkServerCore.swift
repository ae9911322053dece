import NIOCore
import TandemSystem

/// Everything of a server that lives on its loop: the listener, connections of strangers, guests.
final class LinkServerCore<Service: LinkService>: LinkConnectionOwner, ListenerOwner {
    let loop: any EventLoop
    let service: Service
    let portOption = "`--listen`"
    private let configuration: LinkServerConfiguration
    private(set) var shelf: TLSShelf
    private var listener: Listener?
    private var connections: [UInt64: LinkConnection] = [:]
    private var lobby: Lobby
    private let turns: Turns
    private var guests: [UInt64: LinkGuest] = [:]
    /// Guests whose hello was accepted, by cluster and node, the oldest first.
    private var seats: [String: [UInt64]] = [:]
    private var nextID: UInt64 = 1
    private var refusals = RateLimiter(every: .seconds(10))
    private var warnings = RateLimiter(every: .seconds(3600), room: 4096)
    private let lane = Lane(name: "certificates")
    private var lookedAt: NIODeadline?
    private var look: EventLoopFuture<Void>?
    private var looking: EventLoopPromise<TLSShelf>?
    private var stopping = false

    init(_ configuration: LinkServerConfiguration, _ service: Service, loop: any EventLoop) {
        self.configuration = configuration
        self.service = service
        self.loop = loop
        shelf = configuration.shelf
        let limits = configuration.limits
        let places = limits.unknown + limits.unknownPerCluster * shelf.identities.count
        lobby = Lobby(places: places)
        turns = Turns(loop: loop, crowd: places * 2)
    }

    var limits: LinkLimits { configuration.limits.connection }

    // MARK: life

    func open() -> EventLoopFuture<Void> {
        let listener = Listener(configuration.listen, onlyIPv6: false, core: self)
        self.listener = listener
        tellOfShelf()
        return listener.open()
    }

    var bound: LinkAddress? { listener?.bound }

    var connectionCounts: (unknown: Int, guests: Int) { (lobby.count, guests.count) }

    func listens(_ address: LinkAddress, _ problem: String?) { configuration.onListener(address, problem) }

    func replace(_ shelf: TLSShelf) {
        self.shelf = shelf
        tellOfShelf()
    }

    private func tellOfShelf() {
        warn(shelf.problems.sorted { $0.key < $1.key }.map { "\($0.value)" })
        warn(shelf.identities.sorted { $0.key < $1.key }.flatMap(\.value.warnings))
    }

    /// Done when every connection is closed; the caller waits only so long.
    func stop() -> EventLoopFuture<Void> {
        stopping = true
        listener?.stop()
        listener = nil
        let closed = connections.values.compactMap { $0.channel?.closeFuture }
        for connection in connections.values { connection.endGracefully() }
        lane.stop()
        // A look that had not begun will not.
        looking?.fail(LinkEnd.stopped)
        turns.stop()
        return EventLoopFuture.andAllComplete(closed, on: loop)
    }

    // MARK: new connections

    private struct Unwanted: Error {}

    func accepted(_ channel: any Channel) throws {
        guard !stopping, let remote = LinkAddress(channel.remoteAddress) else { throw Unwanted() }
        if let victim = lobby.victim() { connections[victim]?.end(.crowdedOut) }
        let connection = LinkConnection(
            id: nextID, dialled: false, remote: remote, judge: PeerJudge(), limits: limits, owner: self)
        nextID += 1
        connections[connection.id] = connection
        lobby.enter(connection.id, from: remote.host)
        try LinkPipeline.serve(channel, connection: connection) { [weak self, weak connection] name in
            guard let self, let connection else { return channel.eventLoop.makeFailedFuture(LinkEnd.stopped) }
            return choose(name).assumeIsolated().flatMap { [self] identity in
                turns.turn(of: connection).assumeIsolated().map { identity }.nonisolated()
            }.nonisolated()
        }
    }

    /// A cluster that is not known may have been added a moment ago. One look serves all who wait for it, and strangers cannot cause more
    /// than one per second.
    private func choose(_ name: String?) -> EventLoopFuture<TLSIdentity> {
        let found = shelf.identity(for: name)
        guard case .failure = found, name != nil, !stopping else { return loop.makeCompletedFuture(found) }
        if look == nil, lookedAt.map({ NIODeadline.now() - $0 >= TimeAmount(configuration.limits.look) }) ?? true {
            look = lookForFolders()
        }
        guard let look else { return loop.makeCompletedFuture(found) }
        return look.assumeIsolated().flatMapResult { [self] in shelf.identity(for: name) }.nonisolated()
    }

    private func lookForFolders() -> EventLoopFuture<Void> {
        lookedAt = .now()
        let looked = loop.makePromise(of: TLSShelf.self)
        looking = looked
        let old = shelf
        lane.submit {
            do throws(TLSError) {
                looked.succeed(try old.withAddedFolders())
            } catch {
                looked.fail(error)
            }
        }
        let done = loop.makePromise(of: Void.self)
        looked.futureResult.assumeIsolated().whenComplete { [self] result in
            look = nil
            looking = nil
            switch result {
            case .success(let new): replace(new)
            case .failure(let error): warn(["\(error)"])
            }
            done.succeed(())
        }
        return done.futureResult
    }

    // MARK: LinkConnectionOwner

    func hello(for connection: LinkConnection) -> [UInt8] {
        warn(connection.judge.warnings)
        guard let guest = LinkGuest(connection, limit: limits.queuedBytes) else { return [] }
        guests[guest.id] = guest
        return service.hello(for: guest)
    }

    func judge(_ hello: [UInt8], of connection: LinkConnection) -> HelloVerdict {
        guard let guest = guests[connection.id] else { return .refuse("not secured") }
        return service.refusal(of: hello, from: guest).map { .refuse($0) } ?? .peer
    }

    func up(_ connection: LinkConnection, as verdict: HelloVerdict) {
        lobby.leave(connection.id, from: connection.remote.host, isKnown: true)
        guard let guest = guests[connection.id] else { return }
        // A node that lost its connections without a word comes anew, and the newest is the one that lives.
        seats[guest.seat, default: []].append(guest.id)
        guard let same = seats[guest.seat], same.count > configuration.limits.guestsPerNode else { return }
        connections[same[0]]?.end(.crowdedOut)
    }

    func received(_ frame: Frame, on connection: LinkConnection) {
        guard let guest = guests[connection.id] else { return }
        service.received(frame.kind, frame.payload, from: guest)
    }

    func exceeded(_ connection: LinkConnection) {
        report(
            connection.remote, "frames", "it sends more than \(limits.framesPerSecond ?? 0) frames in a second; some are dropped")
    }

    func holdsReading(_ connection: LinkConnection) -> Bool { false }

    func ended(_ connection: LinkConnection, _ end: LinkEnd) {
        connections[connection.id] = nil
        lobby.leave(connection.id, from: connection.remote.host, isKnown: false)
        let guest = guests.removeValue(forKey: connection.id)
        if end.isRefusal(wasUp: connection.upSince != nil, dialled: false) {
            let who = guest.map { "node \($0.node) of cluster \($0.cluster): " } ?? ""
            report(connection.remote, end.kind, who + end.description)
        }
        guard let guest else { return }
        seats[guest.seat]?.removeAll { $0 == guest.id }
        if seats[guest.seat]?.isEmpty == true { seats[guest.seat] = nil }
        service.left(guest, end)
    }

    private func report(_ remote: LinkAddress, _ kind: String, _ why: String) {
        guard let held = refusals.admit("\(remote.host) \(kind)") else { return }
        configuration.onRefused(remote.description, held == 0 ? why : "\(why) (\(held) more since the last report)")
    }

    private func warn(_ texts: [String]) {
        for text in texts where warnings.admit(text) != nil { configuration.onWarning(text) }
    }
}
