import NIOCore

/// Where an agent listens: a literal IPv4 or IPv6 address and a port.
public struct LinkAddress: Hashable, Sendable, CustomStringConvertible {
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// `10.77.0.13:7433` or `[fd00::13]:7433`: a literal address and a port from 0 to 65535.
    public init?(text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
        let host = text[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        guard isBracketed || !host.contains(":") else { return nil }
        self.init(host: String(isBracketed ? host.dropFirst().dropLast() : host), port: Int(port))
        do { _ = try resolved() } catch { return nil }
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    init?(_ address: SocketAddress?) {
        guard let address, let host = address.ipAddress, let port = address.port else { return nil }
        // An IPv4 connection to a listener on `::` comes under an IPv6 name.
        self.init(host: host.hasPrefix("::ffff:") ? String(host.dropFirst(7)) : host, port: port)
    }

    func resolved() throws(LinkError) -> SocketAddress {
        do {
            return try SocketAddress(ipAddress: host, port: port)
        } catch {
            throw LinkError(
                .notAnAddress, attempted: "use the address \"\(host)\" port \(port)",
                happened: "it is not a literal IPv4 or IPv6 address",
                advice: "Write the address itself, not a name: name resolution may hang while a host fails.")
        }
    }
}

/// One connection to a peer over which frames go both ways. A peer's new connection is a new path, also on the same addresses.
public struct Path: Hashable, Sendable, CustomStringConvertible {
    /// Unique within one link's life.
    public let id: UInt64
    /// The peer's name, from its certificate.
    public let peer: String
    /// Whether we dialled `remote`; else the peer dialled `local`.
    public let dialled: Bool
    public let local: LinkAddress
    public let remote: LinkAddress

    public var description: String { dialled ? "to \(remote)" : "from \(remote)" }
}

/// Which paths a frame takes.
public enum LinkTarget: Sendable, Equatable {
    /// Every path to the peer.
    case all
    /// For each address of the peer that one of its paths that has waited longest for its turn. There are two of an address when both hosts
    /// have dialled; what ends one of them alone (a lost packet, one cable of a bond, a firewall's memory) leaves each second frame to the other.
    case inTurn
    /// The path with the shortest queue; among equals the one that was heard last.
    case any
    case path(Path)
}

/// What the layer above says to a peer's hello.
public enum HelloVerdict: Sendable, Equatable {
    /// A path between agents.
    case peer
    /// A command of the peer's host (`LinkClient`): its frames come to `onFrame`, answers go to `.path`; it is no path for `.all`
    /// and `.any`, `onPathUp` is not called for it (`onPathDown` is), and its silence does not end it.
    case client
    /// Closed, with this reason.
    case refuse(String)
}

/// Bounds of a link. The defaults are the product's; tests shorten them.
public struct LinkLimits: Sendable {
    /// TCP connect.
    public var connect: Duration = .seconds(1)
    /// TLS handshake, from connect or accept.
    public var handshake: Duration = .seconds(2)
    /// The other side's hello, from connect or accept.
    public var hello: Duration = .seconds(3)
    /// A path ends when nothing came for this long although we sent; on an idle path both sides send a frame of the link's own every
    /// quarter of it. It only frees what is dead and starts dialling anew: decisions above have their own, shorter, clocks.
    public var silence: Duration = .seconds(3)
    /// Sent data that nobody confirms ends the connection (TCP_USER_TIMEOUT, tcp(7)); a full window that stays closed does too.
    public var unconfirmed: Duration = .seconds(2)
    /// Bytes that wait to be sent on one path.
    public var queuedBytes = 4 << 20
    /// Accepted connections at a time, known and unknown ones.
    public var accepted = 16
    /// Bounds of the time between two attempts to dial, after a first one at once.
    public var retryFirst: Duration = .milliseconds(50)
    public var retryLast: Duration = .seconds(1)
    /// Between two attempts to listen on an address that is not there.
    public var listenRetry: Duration = .milliseconds(500)
    /// Connections that the kernel keeps until they are accepted.
    public var backlog = 64
    /// Longest payload of a frame that is read, bytes; never beyond the limit of its kind.
    public var longestPayload = Frame.bulkLimit
    /// Frames that one connection may send in a second, with as many again at once; further ones are dropped, and nothing more is read from
    /// it for a while. Nil: as many as it likes.
    public var framesPerSecond: Int?
    /// Bytes that the kernel keeps for one connection to be sent; nil: as many as it thinks right.
    public var sendBuffer: Int?
    /// Bytes that are read from a connection before another one has its turn; nil: as many as NIO thinks right.
    public var readAtOnce: Int?

    public init() {}
}

public struct LinkConfiguration: Sendable {
    /// Ours.
    public var identity: TLSIdentity
    /// The node that we dial, and whose certificate is accepted.
    public var peer: String
    /// Further nodes of the cluster whose certificates are accepted on our listeners.
    public var alsoAccepts: [String] = []
    /// Local addresses to listen on; also `0.0.0.0` and `::`; may be empty.
    public var listen: [String]
    /// Port of every listener; 0 lets the kernel choose (tests).
    public var port: Int
    /// One path each.
    public var peerAddresses: [LinkAddress]
    public var limits = LinkLimits()
    /// Runs once on the loop's thread before anything else: the place to raise its priority.
    public var onLoopStart: (@Sendable () -> Void)?

    public init(identity: TLSIdentity, peer: String, listen: [String], port: Int, peerAddresses: [LinkAddress]) {
        self.identity = identity
        self.peer = peer
        self.listen = listen
        self.port = port
        self.peerAddresses = peerAddresses
    }
}

/// Called on the link's own thread: be quick, post to your own loop. For one path: `onHello`, `onPathUp`, any `onFrame`, `onPathDown`.
public struct LinkCallbacks: Sendable {
    /// Our hello, for each new connection; at most 64 KiB.
    public var helloPayload: @Sendable () -> [UInt8]
    public var onHello: @Sendable (Path, [UInt8]) -> HelloVerdict
    public var onPathUp: @Sendable (Path) -> Void = { _ in }
    public var onPathDown: @Sendable (Path, LinkEnd) -> Void = { _, _ in }
    public var onFrame: @Sendable (Path, _ kind: UInt8, _ payload: [UInt8]) -> Void
    /// Somebody was not let in (or answered at the peer's address and is not the peer): address, reason. At most one call per
    /// address and 10 seconds; the reason then says how many more there were. `statistics` counts all.
    public var onRefused: @Sendable (_ address: String, _ reason: String) -> Void = { _, _ in }
    /// Dialling failed: called when the reason changes, not for every attempt.
    public var onDialFailed: @Sendable (LinkAddress, LinkEnd) -> Void = { _, _ in }
    /// A listener came up (nil) or cannot listen for now and why; it is retried. Called when that changes.
    public var onListener: @Sendable (LinkAddress, String?) -> Void = { _, _ in }
    /// Certificates near or beyond their dates; once per text and hour.
    public var onWarning: @Sendable (String) -> Void = { _ in }

    public init(
        helloPayload: @escaping @Sendable () -> [UInt8],
        onHello: @escaping @Sendable (Path, [UInt8]) -> HelloVerdict,
        onFrame: @escaping @Sendable (Path, _ kind: UInt8, _ payload: [UInt8]) -> Void
    ) {
        self.helloPayload = helloPayload
        self.onHello = onHello
        self.onFrame = onFrame
    }
}

public struct LinkStatistics: Sendable, Equatable {
    /// Connections that we refused or that broke the protocol, accepted and dialled ones.
    public var refused: UInt64 = 0
    /// Accepted connections open now.
    public var accepted = 0
    public var framesReceived: UInt64 = 0
    /// Frames handed to a path.
    public var framesSent: UInt64 = 0
    /// Paths that ended after they were up.
    public var pathsLost: UInt64 = 0
}

extension TimeAmount {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}

extension Duration {
    init(_ amount: TimeAmount) { self = .nanoseconds(amount.nanoseconds) }
}
