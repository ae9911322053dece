import TandemCore

/// One heartbeat with its header, as JSON (version 1 of the link).
public struct HeartbeatDocument: Codable, Sendable {
    public var from: UInt64
    public var to: UInt64
    public var number: UInt64
    public var ledger: LedgerDocument?
    public var report: ReportDocument
    public var acknowledged: UInt64?
    public var ask: AskDocument?
    public var answer: AnswerDocument?

    public init(_ heartbeat: Heartbeat, _ header: Heartbeat.Header) {
        from = header.sender.number
        to = header.receiver.number
        number = heartbeat.number
        ledger = heartbeat.ledger.map(LedgerDocument.init)
        report = ReportDocument(heartbeat.report)
        acknowledged = heartbeat.acknowledged
        ask = heartbeat.ask.map(AskDocument.init)
        answer = heartbeat.answer.map(AnswerDocument.init)
    }

    public func heartbeat() throws(WireError) -> (Heartbeat, Heartbeat.Header) {
        var ours: Ledger?
        if let ledger { ours = try ledger.ledger() }
        var asked: Heartbeat.Ask?
        if let ask { asked = try ask.ask() }
        var answered: Heartbeat.Answer?
        if let answer { answered = try answer.answer() }
        let heartbeat = Heartbeat(
            number: number, ledger: ours, report: try report.report(), acknowledged: acknowledged, ask: asked, answer: answered)
        return (heartbeat, .init(sender: SessionID(from), receiver: SessionID(to)))
    }
}

public struct AskDocument: Codable, Sendable {
    public var kind: String
    public var ledger: LedgerDocument?
    public var id: UInt64?

    init(_ ask: Heartbeat.Ask) {
        switch ask {
        case .consent(let sole):
            kind = "consent"
            ledger = LedgerDocument(sole)
        case .prepare(let handover):
            kind = "prepare"
            id = handover
        case .switchover(let request):
            kind = "switchover"
            id = request
        }
    }

    func ask() throws(WireError) -> Heartbeat.Ask? {
        switch (kind, ledger, id) {
        case ("consent", let ledger?, _): return .consent(try ledger.ledger())
        case ("prepare", _, let id?): return .prepare(handover: id)
        case ("switchover", _, let id?): return .switchover(request: id)
        // A newer version's question: not answered, which is what its asker must reckon with.
        default: return nil
        }
    }
}

public struct NoteDocument: Codable, Hashable, Sendable {
    public var code: String
    public var text: String
    public init(_ note: RefusalNote) {
        code = note.code
        text = note.text
    }
    public var note: RefusalNote { RefusalNote(code: code, text: text) }
}

public struct AnswerDocument: Codable, Sendable {
    public var kind: String
    public var id: UInt64
    public var replayed: String?
    public var reasons: [NoteDocument]?

    init(_ answer: Heartbeat.Answer) {
        switch answer {
        case .prepared(let handover, let lsn):
            kind = "prepared"
            id = handover
            replayed = lsn.description
        case .notPrepared(let handover, let notes):
            kind = "not_prepared"
            id = handover
            reasons = notes.map(NoteDocument.init)
        case .switchoverRefused(let request, let notes):
            kind = "switchover_refused"
            id = request
            reasons = notes.map(NoteDocument.init)
        }
    }

    func answer() throws(WireError) -> Heartbeat.Answer? {
        let notes = (reasons ?? []).map(\.note)
        switch kind {
        case "prepared":
            guard let replayed, let lsn = LSN(replayed) else { throw WireError("an answer `prepared` without a WAL position") }
            return .prepared(handover: id, replayed: lsn)
        case "not_prepared": return .notPrepared(handover: id, notes)
        case "switchover_refused": return .switchoverRefused(request: id, notes)
        default: return nil
        }
    }
}
