import TandemCore

/// One request to the witness with its header, as JSON (version 1 of the link). It carries everything that the witness needs to judge
/// it, so that a lost one is made good by the next.
public struct WitnessRequestDocument: Codable, Sendable {
    public var from: UInt64
    public var to: UInt64
    public var number: UInt64
    public var node: String
    /// `heartbeat`, `sole`, `claim`, `read` or `establish`.
    public var kind: String
    /// The asking node's.
    public var ledger: LedgerDocument?
    /// Of a claim: what is to stand in the record.
    public var granted: LedgerDocument?
    /// Of a heartbeat: where the primary's WAL ends.
    public var position: String?
    /// Of `establish`: the session of the witness that lost its record.
    public var empty: UInt64?

    public init(_ request: WitnessRequest, _ header: Heartbeat.Header) {
        from = header.sender.number
        to = header.receiver.number
        number = request.number
        node = request.node.text
        switch request.kind {
        case .heartbeat(let own, let place):
            kind = "heartbeat"
            ledger = LedgerDocument(own)
            position = place?.description
        case .sole(let own):
            kind = "sole"
            ledger = LedgerDocument(own)
        case .claim(let own, let wanted):
            kind = "claim"
            ledger = LedgerDocument(own)
            granted = LedgerDocument(wanted)
        case .read:
            kind = "read"
        case .establish(let own, let session):
            kind = "establish"
            ledger = LedgerDocument(own)
            empty = session.number
        }
    }

    /// Unlike a question between the nodes, a request of an unknown kind is an error: the witness is to say so, not to be silent.
    public func request() throws(WireError) -> (WitnessRequest, Heartbeat.Header) {
        guard number < WireLimit.count else { throw WireError("the number of a request beyond all bounds") }
        guard (1...WireLimit.nameBytes).contains(node.utf8.count) else { throw WireError("a request without the name of a node") }
        let request = WitnessRequest(number: number, node: NodeName(node), kind: try what())
        return (request, .init(sender: SessionID(from), receiver: SessionID(to)))
    }

    private func what() throws(WireError) -> WitnessRequest.Kind {
        var place: LSN?
        if let position {
            guard kind == "heartbeat" else { throw WireError("a request `\(kind)` with a WAL position") }
            place = try WireLimit.position(position)
        }
        switch (kind, ledger, granted, empty) {
        case ("heartbeat", let own?, nil, nil): return .heartbeat(try own.ledger(), position: place)
        case ("sole", let own?, nil, nil): return .sole(try own.ledger())
        case ("claim", let own?, let wanted?, nil): return .claim(try own.ledger(), granted: try wanted.ledger())
        case ("read", nil, nil, nil): return .read
        case ("establish", let own?, nil, let session?): return .establish(try own.ledger(), empty: SessionID(session))
        case ("heartbeat", _, _, _), ("sole", _, _, _), ("claim", _, _, _), ("read", _, _, _), ("establish", _, _, _):
            throw WireError("a request `\(kind)` with other parts than it has")
        default: throw WireError("unknown request `\(kind.prefix(WireLimit.nameBytes))`")
        }
    }
}

/// What the witness answers, with its header.
public struct WitnessAnswerDocument: Codable, Sendable {
    public var from: UInt64
    public var to: UInt64
    /// Of the request that is answered.
    public var number: UInt64
    public var generation: UInt64
    /// Absent: lost, or never written.
    public var record: LedgerDocument?
    /// Absent: nothing was promised.
    public var promised_ms: Int64?
    public var position: String?

    public init(_ answer: WitnessAnswer, _ header: Heartbeat.Header) {
        from = header.sender.number
        to = header.receiver.number
        number = answer.number
        generation = answer.generation
        record = answer.record.map(LedgerDocument.init)
        promised_ms = answer.promised?.milliseconds
        position = answer.position?.description
    }

    public func answer() throws(WireError) -> (WitnessAnswer, Heartbeat.Header) {
        guard number < WireLimit.count, generation < WireLimit.count else {
            throw WireError("the number or the generation of an answer beyond all bounds")
        }
        var ledger: Ledger?
        if let record { ledger = try record.ledger() }
        var promised: Duration?
        if let promised_ms { promised = try WireLimit.span(promised_ms, "promise") }
        guard promised == nil || ledger != nil else { throw WireError("a promise without a record") }
        var place: LSN?
        if let position { place = try WireLimit.position(position) }
        let answer = WitnessAnswer(number: number, generation: generation, record: ledger, promised: promised, position: place)
        return (answer, .init(sender: SessionID(from), receiver: SessionID(to)))
    }
}

extension WireLimit {
    /// The name of a node or cluster, as in certificates (a DNS label).
    static let nameBytes = 63

    static func position(_ text: String) throws(WireError) -> LSN {
        guard let lsn = LSN(text) else { throw WireError("`\(text.prefix(nameBytes))` is no WAL position") }
        return lsn
    }
}
