import NIOCore

/// Who may begin a TLS handshake next: one at a time, the newest first, and never one whose other side has gone.
///
/// After a start of the server all nodes come at once, and each of them waits only so long. Served in the order in which they came, on a
/// slow host every one of them would be served just when it has given up, and come again: work without end. Between two turns the loop
/// looks at its sockets, so that handshakes under way end before new ones begin.
final class Turns {
    private static let pause = TimeAmount.microseconds(100)

    private let loop: any EventLoop
    private var waiting: [(connection: LinkConnection, promise: EventLoopPromise<Void>)] = []
    private var isRunning = false
    /// Those that have gone are thrown out when so many wait.
    private let crowd: Int

    init(loop: any EventLoop, crowd: Int) {
        self.loop = loop
        self.crowd = crowd
    }

    func turn(of connection: LinkConnection) -> EventLoopFuture<Void> {
        let promise = loop.makePromise(of: Void.self)
        waiting.append((connection, promise))
        if waiting.count > crowd { tidy() }
        if !isRunning { again() }
        return promise.futureResult
    }

    /// Nobody has a turn any more.
    func stop() {
        for entry in waiting { entry.promise.fail(LinkEnd.stopped) }
        waiting = []
    }

    private func again() {
        isRunning = true
        // Not at once: first the loop hears who has gone.
        loop.assumeIsolated().scheduleTask(in: Self.pause) { [self] in next() }
    }

    private func next() {
        while let entry = waiting.popLast() {
            guard !entry.connection.isOver else {
                entry.promise.fail(LinkEnd.closedByPeer)
                continue
            }
            entry.promise.succeed(())
            break
        }
        if waiting.isEmpty { isRunning = false } else { again() }
    }

    private func tidy() {
        for entry in waiting where entry.connection.isOver { entry.promise.fail(LinkEnd.closedByPeer) }
        waiting.removeAll { $0.connection.isOver }
    }
}
