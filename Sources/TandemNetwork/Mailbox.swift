import NIOCore

/// What a blocking client's connection received and nobody fetched yet. On its loop.
final class Mailbox: LinkConnectionOwner {
    /// More than this waits in the sockets of both sides instead.
    private static let room = 4 << 20

    var connection: LinkConnection?
    private let loop: any EventLoop
    private let hello: [UInt8]
    private var greeting: Greeting?
    private var frames: [Frame] = []
    private var bytes = 0
    private var over: LinkEnd?
    private var waitingForGreeting: EventLoopPromise<Greeting>?
    private var waitingForFrame: EventLoopPromise<Frame>?

    init(_ loop: any EventLoop, _ hello: [UInt8]) {
        self.loop = loop
        self.hello = hello
    }

    func greeting(within deadline: Duration) -> EventLoopFuture<Greeting> {
        if let over { return loop.makeFailedFuture(over) }
        if let greeting { return loop.makeSucceededFuture(greeting) }
        let promise = loop.makePromise(of: Greeting.self)
        waitingForGreeting = promise
        return limited(promise, deadline)
    }

    func next(within deadline: Duration) -> EventLoopFuture<Frame> {
        if !frames.isEmpty {
            let frame = frames.removeFirst()
            bytes -= frame.payload.count
            if bytes < Self.room { connection?.resumeReading() }
            return loop.makeSucceededFuture(frame)
        }
        if let over { return loop.makeFailedFuture(over) }
        let promise = loop.makePromise(of: Frame.self)
        waitingForFrame = promise
        return limited(promise, deadline)
    }

    func send(_ frame: ByteBuffer, on channel: any Channel, within deadline: Duration) -> EventLoopFuture<Void> {
        if let over { return loop.makeFailedFuture(over) }
        let promise = loop.makePromise(of: Void.self)
        channel.writeAndFlush(frame, promise: promise)
        let late = loop.assumeIsolated().scheduleTask(in: TimeAmount(deadline)) { [self] in
            connection?.end(.doesNotRead(bytes: frame.readableBytes))
        }
        promise.futureResult.assumeIsolated().whenComplete { _ in late.cancel() }
        // A write that failed because the connection ended: say why it ended.
        return promise.futureResult.assumeIsolated().flatMapErrorThrowing { [self] error in throw over ?? error }.nonisolated()
    }

    private func limited<Value: Sendable>(_ promise: EventLoopPromise<Value>, _ deadline: Duration) -> EventLoopFuture<Value> {
        let late = loop.assumeIsolated().scheduleTask(in: TimeAmount(deadline)) { [self] in
            waitingForFrame = nil
            waitingForGreeting = nil
            promise.fail(MailboxTimeout())
        }
        promise.futureResult.assumeIsolated().whenComplete { _ in late.cancel() }
        return promise.futureResult
    }

    // MARK: LinkConnectionOwner

    func hello(for connection: LinkConnection) -> [UInt8] { hello }

    func judge(_ hello: [UInt8], of connection: LinkConnection) -> HelloVerdict {
        let greeting = Greeting(hello: hello, warnings: connection.judge.warnings)
        self.greeting = greeting
        waitingForGreeting?.succeed(greeting)
        waitingForGreeting = nil
        return .client
    }

    func up(_ connection: LinkConnection, as verdict: HelloVerdict) {}

    func received(_ frame: Frame, on connection: LinkConnection) {
        if let waiting = waitingForFrame {
            waitingForFrame = nil
            waiting.succeed(frame)
        } else {
            frames.append(frame)
            bytes += frame.payload.count
        }
    }

    func holdsReading(_ connection: LinkConnection) -> Bool { bytes >= Self.room }

    func ended(_ connection: LinkConnection, _ end: LinkEnd) {
        over = end
        waitingForGreeting?.fail(end)
        waitingForGreeting = nil
        waitingForFrame?.fail(end)
        waitingForFrame = nil
    }
}
