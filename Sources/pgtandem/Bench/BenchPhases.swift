import TandemLab
import TandemSystem

/// A part of a change of roles, each up to an event that somebody has seen.
enum BenchPhase: String, CaseIterable, Encodable {
    case detection, arbitration, ending, handover, promotion, address, client

    /// For people: up to when it lasts.
    func meaning(_ kind: BenchKind) -> String {
        switch self {
        case .detection:
            switch kind {
            case .crash, .switchover: "until the agent says that PostgreSQL has ended"
            case .powerOff, .cutOff: "until the standby's promise is over, and it asks the witness"
            case .hang: "until the agent says that PostgreSQL answers nothing"
            }
        case .arbitration: "until the witness has granted the role"
        case .ending: "until no process of it is left"
        case .handover: "until the old primary has no address, and has given the role away durably"
        case .promotion: "until the other host's PostgreSQL accepts writes"
        case .address: "until the address is there and announced"
        case .client: "until the first commit is acknowledged"
        }
    }
}

/// Where the time of one change of roles went.
struct BenchPhases {
    typealias End = (phase: BenchPhase, ended: Int64)

    /// Milliseconds from the end of the phase before; the first, from the beginning.
    private(set) var lengths: [BenchPhase: Double] = [:]

    /// - Parameters:
    ///   - began: the fault, or the last commit before a switchover; so are all times: CLOCK_BOOTTIME, ns.
    ///   - ends: in their order.
    init(began: Int64, ends: [End], firstCommit: Int64) {
        var last = began
        for (phase, ended) in ends + [(.client, firstCommit)] {
            lengths[phase] = Double(ended - last) / 1_000_000
            last = ended
        }
    }

    init(_ kind: BenchKind, _ view: ClientsView, _ ends: [End]) {
        self.init(
            began: kind == .switchover ? view.outage.began : view.change.began, ends: ends, firstCommit: view.outage.ended)
    }
}

/// Both agents' words about one change of roles.
struct BenchWitnesses {
    private let old: LabHost
    private let new: LabHost
    private let oldStart: Int
    private let newStart: Int
    private let journalStart: Int

    /// What is said from now on.
    init(old: LabHost, new: LabHost) throws {
        (self.old, self.new) = (old, new)
        (oldStart, newStart) = (try AgentLog.length(old), try AgentLog.length(new))
        journalStart = try AgentJournal.length(new)
    }

    /// When each phase ended, in their order; the old primary says the first ones, the new one the others.
    func ends(_ kind: BenchKind) throws -> [BenchPhases.End] {
        let (gone, come) = (try AgentLog(old, from: oldStart), try AgentLog(new, from: newStart))
        var ends: [(BenchPhase, Int64?)] = []
        switch kind {
        case .powerOff, .cutOff:
            // The standby says nothing when it asks, several times within a moment; its journal holds every question.
            ends = [
                (.detection, try AgentJournal.time(of: "askWitness claim", on: new, from: journalStart)),
                (.arbitration, come.time(of: ": the witness grants the role")),
            ]
        case .crash, .switchover, .hang:
            let words =
                kind == .hang ? ": PostgreSQL answers nothing here" : ": PostgreSQL has ended here: the standby takes over"
            ends = [
                (.detection, gone.time(of: words)), (.ending, gone.time(of: ": PostgreSQL stopped")),
                (.handover, gone.time(of: ": handed over to")),
            ]
        }
        ends += [
            (.promotion, come.time(of: ": PostgreSQL promoted")),
            (.address, come.time(of: ": address taken", and: "role=primary")),
        ]
        return ends.compactMap { phase, time in time.map { (phase, $0) } }
    }
}
