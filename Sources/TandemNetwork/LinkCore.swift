import NIOCore

/// Everything of a link that lives on its loop: listeners, diallers, connections.
final class LinkCore: LinkConnectionOwner, ListenerOwner {
    let loop: any EventLoop
    let callbacks: LinkCallbacks
    let limits: LinkLimits
    let portOption = "`agent_port`"
    private let configuration: LinkConfiguration
    private let book: PathBook
    private var identity: TLSIdentity
    private var listeners: [Listener] = []
    private var diallers: [Dialler] = []
    private var connections: [UInt64: LinkConnection] = [:]
    private var nextID: UInt64 = 1
    private var refusals = RateLimiter(every: .seconds(10))
    private var warnings = RateLimiter(every: .seconds(3600))
    private var stopping = false

    init(_ configuration: LinkConfiguration, _ callbacks: LinkCallbacks, _ book: PathBook, loop: any EventLoop) {
        self.configuration = configuration
        self.callbacks = callbacks
        self.book = book
        self.loop = loop
        limits = configuration.limits
        identity = configuration.identity
    }

    // MARK: life

    func open() -> EventLoopFuture<Void> {
        let hasIPv4 = configuration.listen.contains { !$0.contains(":") }
        listeners = configuration.listen.map {
            Listener(LinkAddress(host: $0, port: configuration.port), onlyIPv6: hasIPv4, core: self)
        }
        warn(identity.warnings)
        let opened = EventLoopFuture.andAllSucceed(listeners.map { $0.open() }, on: loop)
        opened.assumeIsolated().whenSuccess { [self] in dial(configuration.peerAddresses) }
        return opened
    }

    func listens(_ address: LinkAddress, _ problem: String?) {
        listenersChanged()
        callbacks.onListener(address, problem)
    }

    private func listenersChanged() { book.listening = stopping ? [] : listeners.compactMap(\.bound) }

    /// Addresses that stay keep their connection.
    func dial(_ addresses: [LinkAddress]) {
        guard !stopping else { return }
        let gone = diallers.filter { !addresses.contains($0.address) }
        diallers.removeAll { dialler in gone.contains { $0 === dialler } }
        for dialler in gone { dialler.stop() }
        for address in addresses where !diallers.contains(where: { $0.address == address }) {
            let dialler = Dialler(address, core: self)
            diallers.append(dialler)
            dialler.dial()
        }
    }

    func replace(_ identity: TLSIdentity) {
        self.identity = identity
        warn(identity.warnings)
    }

    /// Done when every connection is closed; the caller waits only so long.
    func stop() -> EventLoopFuture<Void> {
        stopping = true
        let closed = connections.values.compactMap { $0.channel?.closeFuture }
        for listener in listeners { listener.stop() }
        for dialler in diallers { dialler.stop() }
        for connection in connections.values { connection.endGracefully() }
        // They hold the core, the core holds them.
        listeners = []
        listenersChanged()
        diallers = []
        return EventLoopFuture.andAllComplete(closed, on: loop)
    }

    // MARK: new connections

    private struct Unwanted: Error {}

    func accepted(_ channel: any Channel) throws {
        guard !stopping, let remote = LinkAddress(channel.remoteAddress) else { throw Unwanted() }
        try makeRoom(for: remote)
        let judge = try PeerJudge(identity: identity, nodes: [configuration.peer] + configuration.alsoAccepts)
        let connection = make(dialled: false, remote, judge)
        try LinkPipeline.build(channel, .accepting, identity: identity, connection: connection)
        book.count { $0.accepted += 1 }
    }

    func dialled(_ channel: any Channel, _ address: LinkAddress) throws -> LinkConnection {
        guard !stopping else { throw Unwanted() }
        let connection = make(dialled: true, address, try PeerJudge(identity: identity, nodes: [configuration.peer]))
        try LinkPipeline.build(channel, .dialling(configuration.peer), identity: identity, connection: connection)
        return connection
    }

    private func make(dialled: Bool, _ remote: LinkAddress, _ judge: PeerJudge) -> LinkConnection {
        let connection = LinkConnection(id: nextID, dialled: dialled, remote: remote, judge: judge, limits: limits, owner: self)
        nextID += 1
        connections[connection.id] = connection
        return connection
    }

    /// When all places are taken the oldest connection that has not shown a certificate yet goes, strangers' addresses first: otherwise
    /// a few idle sockets from anywhere could keep the peer out for as long as a handshake may take.
    private func makeRoom(for remote: LinkAddress) throws {
        let open = connections.values.filter { !$0.dialled }
        guard open.count >= limits.accepted else { return }
        let unknown = open.filter { if case .handshaking = $0.state { true } else { false } }.sorted { $0.id < $1.id }
        let peers = Set(diallers.map(\.address.host))
        guard let victim = unknown.first(where: { !peers.contains($0.remote.host) }) ?? unknown.first else {
            refused(remote, .crowdedOut)
            throw Unwanted()
        }
        victim.end(.crowdedOut)
    }

    // MARK: LinkConnectionOwner

    func hello(for connection: LinkConnection) -> [UInt8] {
        warn(connection.judge.warnings)
        return callbacks.helloPayload()
    }

    func judge(_ hello: [UInt8], of connection: LinkConnection) -> HelloVerdict {
        guard let path = connection.path else { return .refuse("not secured") }
        return callbacks.onHello(path, hello)
    }

    func up(_ connection: LinkConnection, as verdict: HelloVerdict) {
        guard let path = connection.path, let channel = connection.channel else { return }
        book.add(path, on: channel, isPeer: verdict == .peer)
        for dialler in diallers { dialler.cameUp(connection) }
        if verdict == .peer { callbacks.onPathUp(path) }
    }

    func received(_ frame: Frame, on connection: LinkConnection) {
        guard let path = connection.path else { return }
        book.heard(path)
        callbacks.onFrame(path, frame.kind, frame.payload)
    }

    func holdsReading(_ connection: LinkConnection) -> Bool { false }

    func ended(_ connection: LinkConnection, _ end: LinkEnd) {
        connections[connection.id] = nil
        if !connection.dialled { book.count { $0.accepted -= 1 } }
        if let path = connection.path, connection.upSince != nil {
            book.remove(path)
            callbacks.onPathDown(path, end)
        }
        if end.isRefusal(wasUp: connection.upSince != nil, dialled: connection.dialled) { refused(connection.remote, end) }
        for dialler in diallers { dialler.ended(connection, end) }
    }

    private func refused(_ remote: LinkAddress, _ end: LinkEnd) {
        book.count { $0.refused += 1 }
        guard let held = refusals.admit("\(remote.host) \(end.kind)") else { return }
        callbacks.onRefused(remote.description, held == 0 ? end.description : "\(end) (\(held) more since the last report)")
    }

    private func warn(_ texts: [String]) {
        for text in texts where warnings.admit(text) != nil { callbacks.onWarning(text) }
    }
}

extension LinkEnd {
    /// One word per reason: each is told of its own, or the first to come would hide the others.
    var kind: String {
        switch self {
        case .emptyFrame, .frameTooLong, .frameBeforeHello, .secondHello, .truncatedFrame: "protocol"
        case .helloRefused: "hello"
        case .noHelloInTime: "noHello"
        case .noHandshakeInTime: "noHandshake"
        case .notTLS, .handshakeFailed: "handshake"
        case .certificateRefused, .refusedByPeer: "certificate"
        case .crowdedOut: "crowd"
        case .closedByPeer, .failed, .stopped, .closedByUs, .silent, .doesNotRead: "closed"
        }
    }

    /// Whether somebody was not let in, or broke the protocol; else a connection simply ended.
    func isRefusal(wasUp: Bool, dialled: Bool) -> Bool {
        switch self {
        case .emptyFrame, .frameTooLong, .frameBeforeHello, .secondHello, .truncatedFrame: true
        case .helloRefused, .noHelloInTime, .noHandshakeInTime, .notTLS, .handshakeFailed, .certificateRefused, .crowdedOut: true
        // A dialler's own failures are told by `onDialFailed`.
        case .closedByPeer, .failed, .refusedByPeer: !wasUp && !dialled
        case .stopped, .closedByUs, .silent, .doesNotRead: false
        }
    }
}
