import TandemCore
import TandemWire

/// Feeds a journal to the core of this program, and tells what was decided at each event, with the reasons.
///
/// The events are the agent's, and so are their times; the decisions are made anew. Beside each event the journal has the words of what
/// the agent ordered: where they differ from what is ordered here, this version decides differently.
public struct Replay: Sendable {
    private var reader: JournalReader
    private var node: Node?
    private var ordered: [OperationID: String] = [:]
    private var lastAsk: String?
    private var sight = ReplaySight()
    public private(set) var summary = ReplaySummary()

    public init(_ reader: JournalReader) { self.reader = reader }

    /// What comes next in the journal; nil: that was all.
    public mutating func next() -> ReplayItem? {
        while let record = reader.next() {
            switch record {
            case .header(let header, let line): return .beginning(begin(header, line))
            case .event(let event, let line):
                guard node != nil else { continue }
                return .event(replay(event, line))
            case .damaged(let line, let reason):
                node = nil
                summary.damaged.append(line)
                return .damaged(line: line, reason: reason)
            case .torn(let line): return .torn(line: line)
            }
        }
        return nil
    }

    private mutating func begin(_ header: JournalHeader, _ line: Int) -> ReplayBeginning {
        node = header.node
        ordered = [:]
        lastAsk = nil
        sight = ReplaySight()
        summary.lost += header.lost ?? 0
        summary.parts += 1
        return ReplayBeginning(
            line: line, wall: header.wall, program: header.program, lost: header.lost ?? 0, cluster: header.node.policy.cluster,
            node: header.node.policy.node.text, state: header.node.state.name, ledger: header.node.ledger?.description)
    }

    private mutating func replay(_ recorded: JournalEvent, _ line: Int) -> ReplayStep {
        guard var node else { preconditionFailure("an event before the first header") }
        var operation: String?
        if case .completed(let id, _) = recorded.event { operation = ordered.removeValue(forKey: id) }
        let before = node
        let effects = node.step(recorded.event, at: recorded.moment)
        self.node = node
        for effect in effects {
            if let id = effect.operation { ordered[id] = ReplayText.order(effect) }
        }
        let words = effects.map(\.word)
        var step = ReplayStep(
            line: line, wall: recorded.wall, bootNanoseconds: recorded.moment.boot.nanoseconds, fact: recorded.event,
            operation: operation,
            decisions: decisions(before, node, effects, at: recorded.moment.boot))
        if words != recorded.effects { step.difference = ReplayDifference(recorded: recorded.effects, here: words) }
        summary.count(step)
        return step
    }

    private mutating func decisions(_ before: Node, _ after: Node, _ effects: [Effect], at now: Instant) -> [ReplayDecision] {
        var decisions = after.transitions.map(ReplayText.decision)
        var asked: String?
        for effect in effects {
            if case .askWitness(let request, _) = effect {
                switch request.kind {
                case .heartbeat, .read: continue
                case .sole, .claim, .establish: asked = request.kind.word
                }
                // Asked again with every heartbeat, until it is answered.
                if asked == lastAsk { continue }
            }
            if let decision = ReplayText.decision(effect, ledger: before.ledger) { decisions.append(decision) }
        }
        if let asked { lastAsk = asked }
        if after.state.kind != before.state.kind || after.ledger != before.ledger { lastAsk = nil }
        return decisions + sight.changes(after, at: now)
    }
}

/// What stands at one place of a journal.
public enum ReplayItem: Sendable {
    case beginning(ReplayBeginning)
    case event(ReplayStep)
    /// Nothing up to the next beginning can be replayed.
    case damaged(line: Int, reason: String)
    case torn(line: Int)
}

/// The state that what follows begins with. Times are in milliseconds since 1970, for display only, here and below.
public struct ReplayBeginning: Sendable {
    public var line: Int
    public var wall: Int64
    public var program: String
    /// So many events before it are missing.
    public var lost: Int
    public var cluster: String
    public var node: String
    public var state: String
    public var ledger: String?
}

public struct ReplayStep: Sendable {
    public var line: Int
    public var wall: Int64
    /// The host's clock that counts suspension: by this the core decides.
    public var bootNanoseconds: Int64
    var fact: Event
    /// What the operation was, if the event is its end.
    var operation: String?
    public var decisions: [ReplayDecision]
    /// nil: the agent ordered the same.
    public var difference: ReplayDifference?

    /// One word for the kind of the event.
    public var event: String { fact.word }
    /// The event in a short line.
    public var text: String { ReplayText.event(fact, operation: operation) }
    /// Worth a line: it led to a decision, or a run of the agent begins or ends with it.
    public var isNotable: Bool { !decisions.isEmpty || event == "started" || event == "stopRequested" }
}

/// One thing that was decided, with what it rests on.
public struct ReplayDecision: Codable, Sendable, Equatable {
    /// `transition`, `ledger`, `notes`, `order`, `address`, `ask`, `answer`, `notice`, `exit`; and, as no decision of the core says why
    /// something did not happen, what changed of its view: `peer`, `witness`, `readiness`, `remark`.
    public var kind: String
    public var text: String
    /// Of a transition: its cause, and the section of `protocol.md`.
    public var cause: String?
    public var section: String?
    /// Of a notice.
    public var level: String?
    public var facts: [String: String]?
    /// Of a refusal: each with the code that the status has.
    public var reasons: [NoteDocument]?

    init(
        kind: String, text: String, cause: String? = nil, section: String? = nil, level: String? = nil,
        facts: [String: String]? = nil,
        reasons: [NoteDocument]? = nil
    ) {
        self.kind = kind
        self.text = text
        self.cause = cause
        self.section = section
        self.level = level
        self.facts = facts
        self.reasons = reasons
    }
}

/// Words of effects, in order: what the agent ordered, and what is ordered here.
public struct ReplayDifference: Codable, Sendable, Equatable {
    public var recorded: [String]
    public var here: [String]
}

public struct ReplaySummary: Codable, Sendable {
    public var events = 0
    /// Events that led to a decision.
    public var decisive = 0
    /// Events at which the agent ordered something else.
    public var differing = 0
    /// Events that the journal says are missing.
    public var lost = 0
    /// Runs of the agent, and parts after a gap.
    public var parts = 0
    /// Numbers of lines that cannot be read.
    public var damaged: [Int] = []

    mutating func count(_ step: ReplayStep) {
        events += 1
        if !step.decisions.isEmpty { decisive += 1 }
        if step.difference != nil { differing += 1 }
    }
}
