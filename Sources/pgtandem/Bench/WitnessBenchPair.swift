import Synchronization
import TandemCore
import TandemNetwork
import TandemSystem
import TandemWire

/// What the pairs of the witness's bench saw.
final class WitnessBenchNotes: Sendable {
    struct Seen: Sendable {
        /// From sending to the answer, nanoseconds.
        var answers: [Int64] = []
        var sent = 0
        /// From the sending of the last acknowledged heartbeat to the next acknowledgement: what counts against L.
        var gaps: [Int64] = []
    }

    private let seen = Mutex(Seen())

    func note(_ change: (inout Seen) -> Void) { seen.withLock { change(&$0) } }

    /// What came since the last call.
    func take() -> Seen {
        seen.withLock { seen in
            defer { seen = Seen() }
            return seen
        }
    }
}

/// Two agents' ends of the link to the witness: a primary that sends heartbeats, and a standby that is only there.
final class WitnessBenchPair: Sendable {
    private struct State: Sendable {
        var witness: SessionID?
        var record: Ledger?
        var number: UInt64 = 0
        var sentAt: [UInt64: Int64] = [:]
        /// When the last heartbeat was sent that was acknowledged.
        var supportedAt: Int64?
    }

    private let cluster: String
    private let session = SessionID(Random.word() >> 1 | 1)
    private let sole: Ledger
    private let paired: Ledger
    private let notes: WitnessBenchNotes
    private let state = Mutex(State())
    private let links = Mutex<[PeerLink]>([])

    init(_ cluster: String, lease: Duration, notes: WitnessBenchNotes) {
        self.cluster = cluster
        self.notes = notes
        let copy = CopyID(high: Random.word(), low: Random.word())
        sole = Ledger(
            cluster: cluster, term: Term(2), step: 1, primary: "a", bond: .sole, primaryCopy: copy, standbyCopy: nil,
            arbiter: .witness, lease: lease)
        paired = sole.paired(with: CopyID(high: Random.word(), low: Random.word()))
    }

    func start(certificates: String, witness: LinkAddress, on threads: LinkThreads) throws {
        let standby = SessionID(Random.word() >> 1 | 1)
        for (node, session) in [("a", session), ("b", standby)] {
            let hello = try JSON.encode(
                HelloDocument(
                    program: Version.text, cluster: cluster, node: node, session: session.number, boot: "bench", digest: "",
                    configuration: [:], systemIdentifier: 7))
            let identity = try TLSIdentity.load(directory: "\(certificates)/\(node)", cluster: cluster, node: node)
            var settings = LinkConfiguration(identity: identity, peer: "witness", listen: [], port: 0, peerAddresses: [witness])
            // All nodes share one thread of this process, which no real node does: what holds them up is not the witness.
            settings.limits.connect = .seconds(20)
            settings.limits.handshake = .seconds(20)
            settings.limits.hello = .seconds(20)
            let isPrimary = node == "a"
            let callbacks = LinkCallbacks(
                helloPayload: { hello },
                onHello: { [self] _, payload in isPrimary ? greeted(payload) : .peer },
                onFrame: { [self] _, kind, payload in if isPrimary, kind == FrameKind.witnessAnswer { heard(payload) } })
            let link = PeerLink(settings, callbacks: callbacks, on: threads)
            try link.start()
            links.withLock { $0.append(link) }
        }
    }

    func stop() { for link in links.withLock({ $0 }) { link.stop(within: .milliseconds(100)) } }

    private func greeted(_ payload: [UInt8]) -> HelloVerdict {
        do {
            let hello = try JSON.decode(HelloDocument.self, from: payload)
            state.withLock { state in
                state.witness = SessionID(hello.session)
                state.record = nil
                state.sentAt = [:]
            }
            return .peer
        } catch {
            return .refuse("\(error)")
        }
    }

    /// One heartbeat, or what has to come before the first one.
    func beat() throws {
        let now = SystemClock.now()
        let (request, witness) = state.withLock { state -> (WitnessRequest, SessionID?) in
            state.number += 1
            state.sentAt[state.number] = now
            let kind: WitnessRequest.Kind =
                if state.record == nil, state.supportedAt == nil, let witness = state.witness {
                    .establish(sole, empty: witness)
                } else {
                    .heartbeat(paired, position: LSN(state.number << 16))
                }
            return (WitnessRequest(number: state.number, node: "a", kind: kind), state.witness)
        }
        guard let witness, let link = links.withLock({ $0.first }) else { return }
        let header = Heartbeat.Header(sender: session, receiver: witness)
        try link.send(
            kind: FrameKind.witnessRequest, payload: try JSON.encode(WitnessRequestDocument(request, header)), on: .any)
        notes.note { $0.sent += 1 }
    }

    private func heard(_ payload: [UInt8]) {
        let now = SystemClock.now()
        do {
            let (answer, _) = try JSON.decode(WitnessAnswerDocument.self, from: payload).answer()
            state.withLock { state in
                state.record = answer.record
                guard let sentAt = state.sentAt[answer.number] else { return }
                state.sentAt = state.sentAt.filter { $0.key > answer.number }
                let gap = state.supportedAt.map { now - $0 }
                if answer.promised != nil { state.supportedAt = sentAt }
                notes.note { seen in
                    seen.answers.append(now - sentAt)
                    if answer.promised != nil, let gap { seen.gaps.append(gap) }
                }
            }
        } catch {
            Terminal.complain("an answer of the witness cannot be read: \(error)")
        }
    }

    /// Both nodes are connected.
    var isWhole: Bool { links.withLock { $0 }.allSatisfy { !$0.paths.isEmpty } }

    /// Whether the witness promises for what was sent after this moment.
    func isSupported(since moment: Int64) -> Bool { state.withLock { ($0.supportedAt ?? 0) > moment } }
}
