import NIOCore

/// What stands behind a `LinkServer`. It lives on the server's loop; every call comes on it.
public protocol LinkService: AnyObject, SendableMetatype {
    /// Ours, for a guest whose certificate is good.
    func hello(for guest: LinkGuest) -> [UInt8]
    /// The guest's first frame; nil: it may stay. A text: closed, with this reason.
    func refusal(of hello: [UInt8], from guest: LinkGuest) -> String?
    func received(_ kind: UInt8, _ payload: [UInt8], from guest: LinkGuest)
    /// Of every guest whose hello was judged or awaited, once.
    func left(_ guest: LinkGuest, _ end: LinkEnd)
}

/// One connection of a node to a server, known by its certificate. On the server's loop only.
public final class LinkGuest {
    /// Unique within the server's life; greater for later ones.
    public let id: UInt64
    public let cluster: String
    public let node: String
    /// Of the authority that signed OUR certificate for this cluster.
    public let authorityFingerprint: String
    public let remote: LinkAddress

    /// Whose it is, in one word.
    let seat: String
    private let connection: LinkConnection
    private let limit: Int
    private var waiting = 0

    init?(_ connection: LinkConnection, limit: Int) {
        guard let identity = connection.judge.identity, let node = connection.judge.node else { return nil }
        id = connection.id
        cluster = identity.cluster
        self.node = node
        authorityFingerprint = identity.authorityFingerprint
        remote = connection.remote
        seat = node + "." + identity.cluster
        self.connection = connection
        self.limit = limit
    }

    /// One that takes too little of what is sent is disconnected: nothing waits without bound.
    public func send(_ kind: UInt8, _ payload: [UInt8]) {
        guard let channel = connection.channel else { return }
        let frame = Frame.encoded(kind: kind, payload: payload)
        let size = frame.readableBytes
        guard waiting + size <= limit else { return connection.end(.doesNotRead(bytes: waiting)) }
        waiting += size
        channel.writeAndFlush(frame).assumeIsolated().whenComplete { [self] _ in waiting -= size }
    }

    public func end(_ why: String) { connection.end(.closedByUs(why)) }
}
