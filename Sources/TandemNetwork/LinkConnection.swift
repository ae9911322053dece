import NIOCore
import NIOSSL
import NIOTLS

/// Whom a connection belongs to. Everything on the connection's event loop.
protocol LinkConnectionOwner: AnyObject {
    func hello(for connection: LinkConnection) -> [UInt8]
    /// The other side's first frame.
    func judge(_ hello: [UInt8], of connection: LinkConnection) -> HelloVerdict
    /// After the verdict: the connection is a path now.
    func up(_ connection: LinkConnection, as verdict: HelloVerdict)
    func received(_ frame: Frame, on connection: LinkConnection)
    /// Once, whatever happened.
    func ended(_ connection: LinkConnection, _ end: LinkEnd)
    /// While true nothing more is read from the socket.
    func holdsReading(_ connection: LinkConnection) -> Bool
    /// It sends more frames than it may; some were dropped.
    func exceeded(_ connection: LinkConnection)
}

extension LinkConnectionOwner {
    func exceeded(_ connection: LinkConnection) {}
}

/// One TLS connection: handshake, hello both ways, then frames, with a deadline on each step. The last handler of its pipeline; lives on
/// its event loop only.
final class LinkConnection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum State {
        case handshaking
        /// The certificate is good; the other side's hello has not come.
        case secured
        case up(HelloVerdict)
        case over
    }

    let id: UInt64
    let dialled: Bool
    let remote: LinkAddress
    let judge: PeerJudge
    let hardClose = HardClose()
    private(set) var state = State.handshaking
    private(set) var path: Path?
    let opened = NIODeadline.now()
    private(set) var upSince: NIODeadline?

    /// TCP was up. A connect that fails ends the connection too, but was no connection.
    private(set) var wasConnected = false

    private weak var owner: (any LinkConnectionOwner)?
    private let limits: LinkLimits
    private var context: ChannelHandlerContext?
    private var reader: FrameReader
    private var budget: FrameBudget?
    /// Nothing is read until it fires.
    private var pause: Scheduled<Void>?
    /// Of the timer that counts; older ones mean nothing.
    private var clock: UInt64 = 0
    /// When the oldest frame was sent after which nothing came.
    private var unansweredSince: NIODeadline?
    private var lastWrite = NIODeadline.now()
    private var heldRead = false

    init(
        id: UInt64, dialled: Bool, remote: LinkAddress, judge: PeerJudge, limits: LinkLimits, owner: any LinkConnectionOwner
    ) {
        self.id = id
        self.dialled = dialled
        self.remote = remote
        self.judge = judge
        self.limits = limits
        self.owner = owner
        reader = FrameReader(longest: limits.longestPayload)
        budget = limits.framesPerSecond.map { FrameBudget(perSecond: $0) }
    }

    var channel: (any Channel)? { context?.channel }

    var isOver: Bool { if case .over = state { true } else { false } }

    // MARK: life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        wake(after: min(limits.handshake, limits.hello))
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end(.closedByPeer)
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        wasConnected = true
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent { secured(context) }
        context.fireUserInboundEventTriggered(event)
    }

    private func secured(_ context: ChannelHandlerContext) {
        guard case .handshaking = state else { return }
        guard let node = judge.node, let local = LinkAddress(context.localAddress) else {
            end(.certificateRefused(judge.refusalText ?? PeerCertificate.Refusal.missing.description))
            return
        }
        path = Path(id: id, peer: node, dialled: dialled, local: local, remote: remote)
        state = .secured
        // In TLS 1.3 the dialler is done before the other side has judged its certificate, so this proves nothing yet;
        // the path is up when THEIR hello is here, which they send after judging.
        guard let owner else { return end(.stopped) }
        context.writeAndFlush(wrapOutboundOut(Frame.encoded(kind: Frame.hello, payload: owner.hello(for: self))), promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let refused = judge.refusalText { return end(.certificateRefused(refused)) }
        if case .uncleanShutdown? = error as? NIOSSLError { return end(closed) }
        end(LinkEnd.from(error))
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(closed)
        context.fireChannelInactive()
    }

    private var closed: LinkEnd {
        reader.hasPart ? .truncatedFrame(bytes: reader.partLength) : .closedByPeer
    }

    /// Ends the connection at once; the first reason counts.
    func end(_ reason: LinkEnd) {
        if case .over = state { return }
        state = .over
        pause?.cancel()
        pause = nil
        hardClose.close()
        owner?.ended(self, reason)
        owner = nil
    }

    /// Ends the connection after what is queued was sent, with TLS's farewell.
    func endGracefully() {
        if case .over = state { return }
        let channel = context?.channel
        state = .over
        pause?.cancel()
        pause = nil
        owner?.ended(self, .stopped)
        owner = nil
        channel?.close(promise: nil)
    }

    // MARK: reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .over = state { return }
        unansweredSince = nil
        reader.append(unwrapInboundIn(data))
        do throws(LinkEnd) {
            if case .secured = state, let kind = reader.pendingKind, kind != Frame.hello { throw .frameBeforeHello(kind: kind) }
            while let frame = try reader.next() {
                try take(frame)
                if case .over = state { return }
            }
        } catch {
            end(error)
        }
    }

    private func take(_ frame: Frame) throws(LinkEnd) {
        switch state {
        case .handshaking, .over: return
        case .secured: try greet(frame)
        case .up:
            guard frame.kind != Frame.hello else { throw .secondHello }
            guard isWithinBudget() else { return }
            guard frame.kind != Frame.keepAlive else { return }
            owner?.received(frame, on: self)
        }
    }

    /// Every frame counts, the link's own too: each costs the same work.
    private func isWithinBudget() -> Bool {
        guard var budget else { return true }
        let isWithin = budget.take()
        self.budget = budget
        if !isWithin, pause == nil, let context {
            pause = context.eventLoop.assumeIsolated().scheduleTask(in: FrameBudget.pause) { [self] in
                pause = nil
                resumeReading()
            }
            owner?.exceeded(self)
        }
        return isWithin
    }

    private func greet(_ frame: Frame) throws(LinkEnd) {
        guard frame.kind == Frame.hello else { throw .frameBeforeHello(kind: frame.kind) }
        guard let owner else { throw .stopped }
        let verdict = owner.judge(frame.payload, of: self)
        if case .refuse(let why) = verdict { throw .helloRefused(why) }
        state = .up(verdict)
        upSince = .now()
        if verdict == .peer { wake(after: limits.silence / 4) }
        owner.up(self, as: verdict)
    }

    func read(context: ChannelHandlerContext) {
        if case .up = state, pause != nil || owner?.holdsReading(self) == true {
            heldRead = true
        } else {
            context.read()
        }
    }

    /// The owner no longer holds reading.
    func resumeReading() {
        guard heldRead else { return }
        heldRead = false
        context?.read()
    }

    // MARK: writing

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        noteWrite()
        context.write(data, promise: promise)
    }

    private func noteWrite() {
        lastWrite = .now()
        if unansweredSince == nil { unansweredSince = lastWrite }
    }

    /// Orders from other threads (`PathBook`) come as events, so they keep their place among the frames.
    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard let reason = event as? LinkEnd else { return context.triggerUserOutboundEvent(event, promise: promise) }
        end(reason)
        promise?.succeed(())
    }

    // MARK: time

    /// One timer at a time, never cancelled: on a loop with thousands of connections, to take one out is to search through all of them. What
    /// it finds when it fires says what is to be done.
    private func wake(after delay: Duration) {
        guard let context else { return }
        clock += 1
        let expected = clock
        context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(max(.zero, delay))) { [weak self] in
            guard let self, clock == expected else { return }
            woken()
        }
    }

    private func woken() {
        let age = Duration(NIODeadline.now() - opened)
        switch state {
        case .over: return
        case .handshaking: age >= limits.handshake ? end(.noHandshakeInTime) : wake(after: limits.handshake - age)
        case .secured: age >= limits.hello ? end(.noHelloInTime) : wake(after: limits.hello - age)
        case .up(let verdict): if verdict == .peer { watch() }
        }
    }

    /// Speaks when nothing was said for a while, and ends the connection when nothing is heard. So an idle path is known to be good, and
    /// answers above may take one path although questions took all.
    private func watch() {
        guard let context else { return }
        let now = NIODeadline.now()
        if let since = unansweredSince, now - since > TimeAmount(limits.silence) { return end(.silent(limits.silence)) }
        if now - lastWrite >= TimeAmount(limits.silence / 4) {
            context.writeAndFlush(wrapOutboundOut(Frame.encoded(kind: Frame.keepAlive, payload: [])), promise: nil)
            noteWrite()
        }
        wake(after: limits.silence / 4)
    }
}
