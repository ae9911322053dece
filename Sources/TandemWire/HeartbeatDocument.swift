import TandemCore

/// One heartbeat with its header, as JSON (version 1 of the link).
public struct HeartbeatDocument: Codable, Sendable {
    public var from: UInt64
    public var to: UInt64
    public var number: UInt64
    public var ledger: LedgerDocument?
    public var report: ReportDocument
    public var acknowledged: UInt64?
    /// What was promised with the acknowledgement.
    public var promised_ms: Int64?
    public var asks_lease: Bool
    public var ask: AskDocument?
    public var answer: AnswerDocument?

    public init(_ heartbeat: Heartbeat, _ header: Heartbeat.Header) {
        from = header.sender.number
        to = header.receiver.number
        number = heartbeat.number
        ledger = heartbeat.ledger.map(LedgerDocument.init)
        report = ReportDocument(heartbeat.report)
        acknowledged = heartbeat.acknowledged
        promised_ms = heartbeat.promised?.milliseconds
        asks_lease = heartbeat.asksLease
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
        var promised: Duration?
        if let promised_ms { promised = try WireLimit.span(promised_ms, "promise") }
        guard promised == nil || acknowledged != nil else { throw WireError("a promise for no heartbeat") }
        let heartbeat = Heartbeat(
            number: number, ledger: ours, report: try report.report(), acknowledged: acknowledged, promised: promised,
            asksLease: asks_lease, ask: asked, answer: answered)
        return (heartbeat, .init(sender: SessionID(from), receiver: SessionID(to)))
    }
}

public struct AskDocument: Codable, Sendable {
    public var kind: String
    public var ledger: LedgerDocument?
    public var id: UInt64?
    public var maintenance: Bool?

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
        case .pause(let request, let isMaintenance):
            kind = "pause"
            id = request
            maintenance = isMaintenance
        case .resume(let request):
            kind = "resume"
            id = request
        case .cancelFailback(let request):
            kind = "cancel_failback"
            id = request
        }
    }

    func ask() throws(WireError) -> Heartbeat.Ask? {
        switch (kind, ledger, id) {
        case ("consent", let ledger?, _): return .consent(try ledger.ledger())
        case ("prepare", _, let id?): return .prepare(handover: id)
        case ("switchover", _, let id?): return .switchover(request: id)
        case ("pause", _, let id?): return .pause(request: id, maintenance: maintenance ?? false)
        case ("resume", _, let id?): return .resume(request: id)
        case ("cancel_failback", _, let id?): return .cancelFailback(request: id)
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
    public var text: String?

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
        case .requestRefused(let request, let notes):
            kind = "request_refused"
            id = request
            reasons = notes.map(NoteDocument.init)
        case .requestDone(let request, let done):
            kind = "request_done"
            id = request
            text = done
        }
    }

    func answer() throws(WireError) -> Heartbeat.Answer? {
        let notes = (reasons ?? []).map(\.note)
        switch kind {
        case "prepared":
            guard let replayed, let lsn = LSN(replayed) else { throw WireError("an answer `prepared` without a WAL position") }
            return .prepared(handover: id, replayed: lsn)
        case "not_prepared": return .notPrepared(handover: id, notes)
        case "request_refused": return .requestRefused(request: id, notes)
        case "request_done": return .requestDone(request: id, text ?? "done")
        default: return nil
        }
    }
}
