import Logging
import Synchronization
import TandemCore
import TandemSystem
import TandemWire

/// Between the link to the witness and the core: frames in, events out. Runs on the link's thread, so it is quick.
public final class WitnessDesk: Sendable {
    private let agent: Agent
    private let own: @Sendable () -> HelloDocument
    private let log: Logger
    private let trouble: WitnessTrouble
    private let reader = Mutex(WitnessAnswerReader())

    /// - Parameters:
    ///   - trouble: learns why the witness does not serve, and that it does.
    ///   - own: for each connection anew, as the system identifier may not be known yet at the first one.
    public init(agent: Agent, trouble: WitnessTrouble, log: Logger, own: @escaping @Sendable () -> HelloDocument) {
        self.agent = agent
        self.trouble = trouble
        self.own = own
        self.log = log
    }

    public func hello() -> [UInt8] {
        do {
            return try JSON.encode(own())
        } catch {
            log.error("the greeting could not be written", metadata: ["reason": "\(error)"])
            return []
        }
    }

    /// Its certificate is that of this cluster's witness; the hello says only which run of it answers.
    public func judge(_ payload: [UInt8]) -> PeerDesk.Judgement {
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
        guard hello.cluster == own().cluster, hello.session != 0 else {
            return .refuse("it answers for the cluster `\(hello.cluster)`, not for `\(own().cluster)`")
        }
        agent.post(.witnessHello(session: SessionID(hello.session)))
        return .peer
    }

    public func receive(_ kind: UInt8, _ payload: [UInt8]) {
        do {
            switch kind {
            case FrameKind.witnessAnswer:
                let (answer, header) = try reader.withLock { reader in try reader.read(payload) }
                if trouble.answered() { log.info("the witness serves this pair again") }
                agent.post(.witness(answer, header))
            case FrameKind.witnessRefusal: hear(try JSON.decode(NoteDocument.self, from: payload).note)
            default: log.warning("a frame of an unknown kind was dropped", metadata: ["kind": "\(kind)", "from": "witness"])
            }
        } catch {
            log.warning("could not read an answer of the witness", metadata: ["reason": "\(error)"])
        }
    }

    /// Repeated with each attempt; told when it changes.
    private func hear(_ note: RefusalNote) {
        guard trouble.refused(note) else { return }
        // Busy is over at the next attempt.
        log.log(
            level: note.code == "busy" ? .info : .warning, "the witness does not serve this pair",
            metadata: ["reason": "\(note.text)", "code": "\(note.code)"])
    }
}
