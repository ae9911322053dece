import Logging
import Synchronization
import TandemCore
import TandemSystem
import TandemWire

/// The agent: one thread on which the core lives. Facts come in by `post`, effects go out through the interpreter.
public final class Agent: Sendable {
    private let mailbox: Mailbox<Event>
    private let view: Mutex<View>
    private let requests = Mutex<Requests>(Requests())
    private let finished = Mutex<Bool>(false)
    private let policy: Policy
    private let log: Logger

    /// The core as it was after the last step, for whoever asks.
    public struct View: Sendable {
        public var node: Node
        public var at: Instant
    }

    private struct Requests {
        var last: UInt64 = 0
        var waiting: [RequestID: @Sendable (CommandAnswer) -> Void] = [:]
    }

    public init(policy: Policy, log: Logger) throws {
        self.policy = policy
        self.log = log
        mailbox = try Mailbox()
        view = Mutex(View(node: Node(policy: policy), at: Instant(nanoseconds: 0)))
    }

    public func post(_ event: Event) { mailbox.post(event) }

    public var present: View { view.withLock { $0 } }

    /// A person's command; the closure gets progress, and last `done` or `refused`. It runs on the agent's thread: be quick.
    public func command(_ command: Command, _ reply: @escaping @Sendable (CommandAnswer) -> Void) {
        let id = requests.withLock { requests in
            requests.last += 1
            let id = RequestID(requests.last)
            requests.waiting[id] = reply
            return id
        }
        post(.command(command, id))
    }

    public struct Parts: Sendable {
        public var postgres: any PostgresPort
        public var addresses: any AddressPort
        public var ledger: any LedgerPort
        public var link: any LinkPort
        public var witness: any LinkPort
        public var guardian: any GuardPort
        public var tail: TailTransfer
        public var journal: Journal
        public var history: HistoryKeeper
        public init(
            postgres: any PostgresPort, addresses: any AddressPort, ledger: any LedgerPort, link: any LinkPort,
            witness: any LinkPort, guardian: any GuardPort, tail: TailTransfer, journal: Journal,
            history: HistoryKeeper
        ) {
            self.postgres = postgres
            self.addresses = addresses
            self.ledger = ledger
            self.link = link
            self.witness = witness
            self.guardian = guardian
            self.tail = tail
            self.journal = journal
            self.history = history
        }
    }

    /// Runs until the core says `exit`: on the calling thread.
    public func run(_ start: Event.Start, _ parts: Parts) {
        let log = self.log
        let texts = Texts()
        let interpreter = Interpreter(
            postgres: parts.postgres, addresses: parts.addresses, ledger: parts.ledger, link: parts.link, witness: parts.witness,
            guardian: parts.guardian, tail: parts.tail,
            encode: { heartbeat, header in
                texts.heartbeats.withLock { texts in
                    (Self.written("a heartbeat", log) { try texts.write(heartbeat, header) }, texts.isRepetition)
                }
            },
            // A connection that lost a packet stands still for 0.2 s at least, which is TCP's shortest repetition. Where the lease is many times
            // that, the other connection has the next heartbeat in time; else each heartbeat takes all of them.
            turns: policy.timing.lease >= .seconds(1),
            encodeRequest: { request, header in
                Self.written("a request to the witness", log) { try texts.requests.withLock { try $0.write(request, header) } }
            },
            post: { [self] in post($0) },
            answer: { [self] in reply($0, $1) },
            exit: { [self] in finished.withLock { $0 = true } },
            log: log, lanes: Interpreter.Lanes())
        // A guard must be armed within m, also on a busy host.
        interpreter.lanes.guardian.submit { _ = RealTime.raise() }
        var node = Node(policy: policy)
        var nextTick = Moment.now().boot
        feed(&node, .started(start), interpreter, parts)
        while !finished.withLock({ $0 }) {
            let now = Moment.now().boot
            if now >= nextTick {
                feed(&node, .tick, interpreter, parts)
                parts.addresses.beat(AddressLifetimes(node, at: now))
                // After a pause, one beat, not the missed ones.
                nextTick = max(nextTick + policy.heartbeat, now + policy.heartbeat / 2)
            }
            if let wish = node.wish(at: Moment.now().boot) { nextTick = min(nextTick, Moment.now().boot + wish) }
            for event in mailbox.take(waiting: max(.milliseconds(1), nextTick - Moment.now().boot)) {
                feed(&node, event, interpreter, parts)
            }
        }
        interpreter.lanes.stop()
        parts.journal.close()
        parts.history.close()
    }

    /// What this run says to each of the others.
    private final class Texts: Sendable {
        let heartbeats = Mutex(HeartbeatWriter())
        let requests = Mutex(WitnessRequestWriter())
    }

    private static func written(_ what: String, _ log: Logger, _ text: () throws -> [UInt8]) -> [UInt8] {
        do {
            return try text()
        } catch {
            log.error("\(what) could not be written", metadata: ["reason": "\(error)"])
            return []
        }
    }

    private func feed(_ node: inout Node, _ event: Event, _ interpreter: Interpreter, _ parts: Parts) {
        let now = Moment.now()
        let before = node
        let effects = node.step(event, at: now)
        view.withLock { $0 = View(node: node, at: now.boot) }
        if (before.state.name, before.role, before.ledger) != (node.state.name, node.role, node.ledger) {
            log.info(
                "state",
                metadata: [
                    "state": "\(node.state.name)", "role": "\(node.role.rawValue)",
                    "ledger": "\(node.ledger.map { $0.description } ?? "none")",
                ])
        }
        for effect in effects { interpreter.perform(effect) }
        // Last: nobody waits for it.
        parts.journal.record(event, at: now, before: before, effects: effects)
        parts.history.observe(before, node, effects, at: now.boot)
    }

    private func reply(_ id: RequestID, _ answer: CommandAnswer) {
        let closure = requests.withLock { requests -> (@Sendable (CommandAnswer) -> Void)? in
            if case .progress = answer { return requests.waiting[id] }
            return requests.waiting.removeValue(forKey: id)
        }
        closure?(answer)
    }
}
