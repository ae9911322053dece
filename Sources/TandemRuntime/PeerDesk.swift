import Logging
import Synchronization
import TandemCore
import TandemSystem
import TandemWire

/// Between the agents' link and the core: frames in, events out. Runs on the link's thread, so it is quick.
public final class PeerDesk: Sendable {
    private let agent: Agent
    private let tail: TailTransfer
    private let join: any JoinPort
    private let history: HistoryFile
    private let own: HelloDocument
    private let peer: NodeName
    private let compare: @Sendable (_ theirs: [String: String]) -> [String]
    private let log: Logger
    private let lane = Lane(name: "peer-desk")
    private let paths = Mutex<Set<UInt64>>([])
    private let heard = Mutex(Heard())

    /// Each heartbeat comes by every path. The core drops what it has taken already; what it never gets costs less.
    private struct Heard {
        var reader = HeartbeatReader()
        /// The last ones that it was given: paths are not equally fast, and two heartbeats may follow each other at once.
        var recent: [[UInt8]] = []
        static let kept = 4
    }

    public enum Judgement: Sendable { case peer, client, refuse(String) }

    public init(
        agent: Agent, tail: TailTransfer, join: any JoinPort, history: HistoryFile, own: HelloDocument, peer: NodeName,
        log: Logger, compare: @escaping @Sendable (_ theirs: [String: String]) -> [String]
    ) {
        self.agent = agent
        self.tail = tail
        self.join = join
        self.history = history
        self.own = own
        self.peer = peer
        self.log = log
        self.compare = compare
    }

    public func hello() -> [UInt8] {
        do {
            return try JSON.encode(own)
        } catch {
            log.error("the greeting could not be written", metadata: ["reason": "\(error)"])
            return []
        }
    }

    /// Section 5.8: another cluster or node is refused. The hello grants nothing; it only says whose words follow.
    public func judge(_ payload: [UInt8]) -> Judgement {
        let hello: HelloDocument
        do {
            hello = try JSON.decode(HelloDocument.self, from: payload)
        } catch {
            return .refuse("\(error)")
        }
        guard !Set(hello.versions).isDisjoint(with: HelloDocument.spoken) else {
            return .refuse(
                "it speaks versions \(hello.versions) of the link, this agent \(HelloDocument.spoken): upgrade the older one")
        }
        guard hello.cluster == own.cluster else {
            return .refuse("it belongs to the cluster `\(hello.cluster)`, not to `\(own.cluster)`")
        }
        guard hello.node == peer.text else {
            return .refuse(
                "it calls itself `\(hello.node)`; the other node here is `\(peer)`: is `node:` the same in both files?")
        }
        if hello.session == 0 { return .client }
        // A run that was taken for over lives after all: what it said before the greeting is new behind it.
        heard.withLock { heard in
            heard.recent = []
            agent.post(.hello(session: SessionID(hello.session)))
        }
        agent.post(.configurationsCompared(differing: hello.digest == own.digest ? [] : compare(hello.configuration)))
        return .peer
    }

    public func pathUp(_ id: UInt64) { paths.withLock { _ = $0.insert(id) } }

    public func pathDown(_ id: UInt64) {
        let wasLast = paths.withLock { $0.remove(id) != nil && $0.isEmpty }
        if wasLast { agent.post(.linkLost) }
    }

    public func receive(_ kind: UInt8, _ payload: [UInt8], reply: @escaping @Sendable (UInt8, [UInt8]) -> Void) {
        switch kind {
        case FrameKind.heartbeat:
            attempt("read a heartbeat") { try hear(payload) }
        case FrameKind.walData:
            tail.received(payload)
        case FrameKind.walRequest:
            lane.submit { [self] in attempt("read WAL for the other host") { try tail.serve(payload, reply: reply) } }
        case FrameKind.joinRequest:
            lane.submit { [self] in attempt("answer `pgtandem join`") { try answer(payload, reply) } }
        case FrameKind.historyRequest:
            attempt("answer `pgtandem history`") {
                let request = try JSON.decode(HistoryRequestDocument.self, from: payload)
                history.answer(request, as: own.node) { reply(FrameKind.historyAnswer, $0) }
            }
        default:
            log.warning("a frame of an unknown kind was dropped", metadata: ["kind": "\(kind)"])
        }
    }

    private func hear(_ payload: [UInt8]) throws {
        // Posted under the lock: whoever greets meanwhile comes before it or behind it.
        try heard.withLock { heard in
            guard !heard.recent.contains(payload) else { return }
            let (heartbeat, header) = try heard.reader.read(payload)
            agent.post(.heartbeat(heartbeat, header))
            if heard.recent.count == Heard.kept { heard.recent.removeFirst() }
            heard.recent.append(payload)
        }
    }

    private func answer(_ payload: [UInt8], _ reply: @escaping @Sendable (UInt8, [UInt8]) -> Void) throws {
        let request = try JSON.decode(JoinRequestDocument.self, from: payload)
        let node = agent.present.node
        func send(_ answer: JoinAnswerDocument) {
            attempt("write an answer") { reply(FrameKind.joinAnswer, try JSON.encode(answer)) }
        }
        func refuse(_ text: String, code: String = "joinRefused") {
            var answer = JoinAnswerDocument()
            answer.reasons = [NoteDocument(RefusalNote(code: code, text: text))]
            send(answer)
        }
        guard node.role == .primary || node.role == .primaryStandby else {
            return refuse(
                "the agent there is not primary now (role \(node.role.rawValue), \(node.state.name))",
                code: JoinAnswerDocument.notPrimary)
        }
        switch (request.step, request.copy.flatMap { CopyID($0) }) {
        case ("facts", _), ("prepare", _):
            guard node.ledger?.bond == .sole else {
                return refuse(
                    "the other host is a standby already: stop its agent first (`systemctl stop pgtandem` there), or, if it is gone for good, "
                        + "say so on the primary (`pgtandem failover --peer-is-down`); then join again")
            }
            do {
                if request.step == "facts" { return send(try join.facts()) }
                guard let copy = request.copy.flatMap({ CopyID($0) }) else { return refuse("the request names no copy") }
                try join.prepare(copy)
                send(JoinAnswerDocument())
            } catch { refuse("\(error)") }
        case ("ledger", let copy?):
            // Once more: what an interrupted copy had left running has ended by now.
            do { try join.prepare(copy) } catch { return refuse("\(error)") }
            agent.command(.join(copy: copy)) { [self] result in
                switch result {
                case .progress: break
                case .done:
                    var answer = JoinAnswerDocument()
                    answer.ledger = agent.present.node.ledger.map(LedgerDocument.init)
                    do { reply(FrameKind.joinAnswer, try JSON.encode(answer)) } catch {
                        log.warning("could not write an answer", metadata: ["reason": "\(error)"])
                    }
                case .refused(let notes):
                    var answer = JoinAnswerDocument()
                    answer.reasons = notes.map(NoteDocument.init)
                    do { reply(FrameKind.joinAnswer, try JSON.encode(answer)) } catch {
                        log.warning("could not write an answer", metadata: ["reason": "\(error)"])
                    }
                }
            }
        default:
            refuse("a request `\(request.step)` that this version does not know")
        }
    }

    private func attempt(_ what: String, _ work: () throws -> Void) {
        do { try work() } catch { log.warning("could not \(what)", metadata: ["reason": "\(error)"]) }
    }
}

/// What `pgtandem join` needs of the first host.
public protocol JoinPort: Sendable {
    /// Changes nothing.
    func facts() throws -> JoinAnswerDocument
    /// From now on the WAL that this copy will ask for is kept, and none for copies that were never finished.
    func prepare(_ copy: CopyID) throws
}
