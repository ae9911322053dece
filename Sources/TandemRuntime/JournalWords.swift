import TandemCore

// The words of the journal. They stand in files that another version reads: a word once used keeps its meaning.

extension Event {
    /// The event without its content.
    var word: String {
        switch self {
        case .started: "started"
        case .tick: "tick"
        case .postgres: "postgres"
        case .hello: "hello"
        case .linkLost: "linkLost"
        case .heartbeat: "heartbeat"
        case .witnessHello: "witnessHello"
        case .witness: "witness"
        case .guardEnded: "guardEnded"
        case .gateway: "gateway"
        case .storage: "storage"
        case .windows: "windows"
        case .ledgerWritten: "ledgerWritten"
        case .ledgerNotWritten: "ledgerNotWritten"
        case .completed: "completed"
        case .addresses: "addresses"
        case .configurationsCompared: "configurationsCompared"
        case .command: "command"
        case .stopRequested: "stopRequested"
        }
    }
}

extension Effect {
    /// What was ordered, and on what; without numbers that mean nothing elsewhere, and without texts that a later version may word
    /// better. Two versions that decide alike order the same words in the same order.
    var word: String {
        switch self {
        case .writeLedger(let ledger, _): "writeLedger \(Self.number(ledger)) \(ledger.primary) \(ledger.bond.rawValue)"
        case .send: "send"
        case .askWitness(let request, _): "askWitness \(request.kind.word)"
        case .armGuard: "armGuard"
        case .extendGuard: "extendGuard"
        case .releaseGuard: "releaseGuard"
        case .start(let mode, _):
            switch mode {
            case .standby: "start standby"
            case .isolated: "start isolated"
            case .follower(let fork): "start follower \(fork)"
            case .primary: "start primary"
            }
        case .stop(let mode, _): "stop \(mode.rawValue)"
        case .promote: "promote"
        case .configure: "configure"
        case .confirmSynchronous: "confirmSynchronous"
        case .confirmPosition: "confirmPosition"
        case .checkpoint: "checkpoint"
        case .survey: "survey"
        case .rejoin(let way, _): "rejoin \(way.rawValue)"
        case .findEndOfWAL(let start, _, _): "findEndOfWAL \(start)"
        case .receiveWAL(let end, _): "receiveWAL \(end)"
        case .claimAddress(let role, let regardless, _, _): "claimAddress \(role.rawValue)\(regardless ? " regardless" : "")"
        case .releaseAddress(let role, _): "releaseAddress \(role.rawValue)"
        case .recordLineage(let term, _, let parent, let fork, _): "recordLineage \(term) \(parent) \(fork)"
        case .answer(_, let answer):
            switch answer {
            case .progress: "answer progress"
            case .done: "answer done"
            case .refused: "answer refused"
            }
        case .notice(let notice): "notice \(notice.level.rawValue)"
        case .exit: "exit"
        }
    }

    private static func number(_ ledger: Ledger) -> String { "\(ledger.term).\(ledger.step)" }

    /// The number under which its outcome comes back; nil: none comes.
    var operation: OperationID? {
        switch self {
        case .start(_, let id), .stop(_, let id), .promote(let id), .configure(_, let id), .confirmSynchronous(_, let id),
            .confirmPosition(_, let id), .checkpoint(let id), .survey(let id), .rejoin(_, let id), .findEndOfWAL(_, _, let id),
            .receiveWAL(_, let id),
            .claimAddress(_, _, _, let id), .releaseAddress(_, let id), .armGuard(_, let id), .releaseGuard(let id):
            id
        case .writeLedger, .send, .askWitness, .extendGuard, .recordLineage, .answer, .notice, .exit: nil
        }
    }
}

extension WitnessRequest.Kind {
    var word: String {
        switch self {
        case .heartbeat: "heartbeat"
        case .sole: "sole"
        case .claim: "claim"
        case .read: "read"
        case .establish: "establish"
        }
    }
}
