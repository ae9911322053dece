import Glibc
import Logging
import Synchronization
import TandemNetwork
import TandemRuntime
import TandemSystem
import TandemWire

/// The witness's control socket: one line of JSON in, one out. The permissions of the state directory are the authorisation. One command
/// at a time, each with deadlines.
final class WitnessControl: Sendable {
    static let owner = SocketOwner(
        name: "witness", start: "`systemctl status pgtandem-witness`, or `pgtandem witness`", option: "`--state`")

    private let path: String
    private let listener: Descriptor
    private let server: LinkServer<WitnessHouse>
    private let log: Logger
    private let isStopped = Mutex(false)
    private let stopping: Bell
    private let ended: Bell

    init(path: String, server: LinkServer<WitnessHouse>, log: Logger) throws {
        self.path = path
        self.server = server
        self.log = log
        stopping = try Bell()
        ended = try Bell()
        listener = try UnixSocket.listen(path, as: Self.owner)
    }

    func start() throws {
        try OwnThread.start("control") { [self] in
            while !isStopped.withLock({ $0 }) {
                guard Poll.readable([stopping.number, listener.number], upTo: nil)[1] else { continue }
                let number = accept(listener.number, nil, nil)
                guard number >= 0 else { continue }
                do {
                    try serve(Descriptor(number))
                } catch {
                    log.debug("a command's connection ended", metadata: ["reason": "\(error)"])
                }
            }
            ended.ring()
        }
    }

    func stop() {
        isStopped.withLock { $0 = true }
        stopping.ring()
        unlink(path)
        ended.wait(upTo: .seconds(3))
    }

    private func serve(_ connection: Descriptor) throws {
        guard let line = try UnixSocket.readLine(connection, limit: 1 << 12, patience: .seconds(2)) else { return }
        let order = try JSON.decode(WitnessOrder.self, from: line)
        var reply = WitnessReply()
        switch (order.command, order.cluster) {
        case ("list", _): reply.list = server.ask { $0.list }
        case ("forget", let cluster?):
            let answer = try Answer()
            server.run { house in house.forget(cluster) { answer.give($0) } }
            guard let outcome = answer.wait(upTo: .seconds(10)) else {
                reply.refused =
                    "the disk did not answer within ten seconds: look at the witness's log, then at `pgtandem witness list`"
                break
            }
            if let problem = outcome { reply.refused = problem } else { reply.done = WitnessClient.forgotten(cluster) }
        default: reply.refused = "the witness does not know the command `\(order.command)`"
        }
        try UnixSocket.write(try JSON.encode(reply) + [UInt8(ascii: "\n")], to: connection, patience: .seconds(2))
    }

    /// What the loop says, for the thread that waits for it.
    private final class Answer: Sendable {
        private let outcome = Mutex<[String?]>([])
        private let bell: Bell

        init() throws { bell = try Bell() }

        func give(_ problem: String?) {
            outcome.withLock { $0 = [problem] }
            bell.ring()
        }

        /// Nil: nothing was said in time.
        func wait(upTo patience: Duration) -> String?? {
            bell.wait(upTo: patience)
            return outcome.withLock { $0.first }
        }
    }
}
