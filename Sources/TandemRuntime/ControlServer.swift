import Glibc
import Logging
import Synchronization
import TandemCore
import TandemSystem
import TandemWire

/// The control socket: commands of this host reach the agent through it, and its file's permissions are the authorisation
/// (`interface.md` 1). One line of JSON in, lines of JSON out. Bounded: connections, line length, time.
public final class ControlServer: Sendable {
    private let path: String
    private let listener: Descriptor
    private let agent: Agent
    private let status: @Sendable () -> StatusDocument
    private let log: Logger
    private let open = Mutex<Int>(0)
    private let isStopped = Mutex<Bool>(false)
    private let stopping: Bell

    static let connections = 16

    public init(path: String, agent: Agent, log: Logger, status: @escaping @Sendable () -> StatusDocument) throws {
        self.path = path
        self.agent = agent
        self.status = status
        self.log = log
        stopping = try Bell()
        listener = try UnixSocket.listen(path)
    }

    public func start() throws {
        try OwnThread.start("control") { [self] in
            while !isStopped.withLock({ $0 }) {
                guard Poll.readable([stopping.number, listener.number], upTo: nil)[1] else { continue }
                let number = accept(listener.number, nil, nil)
                guard number >= 0 else { continue }
                let connection = Descriptor(number)
                let count = open.withLock { count in
                    count += 1
                    return count
                }
                guard count <= Self.connections else {
                    open.withLock { $0 -= 1 }
                    continue
                }
                do {
                    try OwnThread.start("command") { [self] in
                        defer { open.withLock { $0 -= 1 } }
                        do { try serve(connection) } catch {
                            log.debug("a command's connection ended", metadata: ["reason": "\(error)"])
                        }
                    }
                } catch {
                    open.withLock { $0 -= 1 }
                    log.warning("a command could not be served", metadata: ["reason": "\(error)"])
                }
            }
        }
    }

    public func stop() {
        isStopped.withLock { $0 = true }
        stopping.ring()
        unlink(path)
    }

    private func serve(_ connection: Descriptor) throws {
        guard let line = try UnixSocket.readLine(connection, limit: 1 << 16, patience: .seconds(5)) else { return }
        let request = try JSON.decode(ControlRequest.self, from: line)
        switch request.command {
        case "status":
            var answer = ControlAnswer()
            answer.status = status()
            try write(answer, connection)
        case "switchover":
            try relay(.switchover(to: request.to.map { NodeName($0) }, dryRun: request.dryRun ?? false), connection)
        case "failover":
            try relay(.failover(acceptDataLoss: request.acceptDataLoss ?? false), connection)
        case "pause":
            try relay(.pause(maintenance: request.maintenance ?? false), connection)
        case "resume":
            try relay(.resume, connection)
        case "cancel-failback":
            try relay(.cancelFailback, connection)
        case "rejoin":
            try relay(.rejoin(fresh: request.fresh ?? false), connection)
        default:
            var answer = ControlAnswer()
            answer.reasons = [
                NoteDocument(RefusalNote(code: "unknown", text: "the agent does not know the command `\(request.command)`"))
            ]
            try write(answer, connection)
        }
    }

    private func relay(_ command: Command, _ connection: Descriptor) throws {
        let answers = try Mailbox<CommandAnswer>()
        agent.command(command) { answers.post($0) }
        let deadline = SystemClock.after(.seconds(120))
        while SystemClock.now() < deadline {
            for answer in answers.take(waiting: .seconds(1)) {
                var document = ControlAnswer()
                switch answer {
                case .progress(let text): document.progress = text
                case .done(let text): document.done = text
                case .refused(let notes): document.reasons = notes.map(NoteDocument.init)
                }
                try write(document, connection)
                if document.isLast { return }
            }
        }
    }

    private func write(_ answer: ControlAnswer, _ connection: Descriptor) throws {
        try UnixSocket.write(try JSON.encode(answer) + [UInt8(ascii: "\n")], to: connection, patience: .seconds(5))
    }
}
