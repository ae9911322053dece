import TandemCore

// Five times a second an idle pair says the same again, but for the numbers that count it. Writers and readers of one sender's messages
// keep what has not changed, and give the very bytes and values of the documents (`WitnessTexts` does the same for the witness).

/// With whom it was spoken.
struct Addressed<Content: Equatable & Sendable>: Equatable, Sendable {
    var content: Content
    var header: Heartbeat.Header
}

/// Writes the heartbeats of one node.
public struct HeartbeatWriter: Sendable {
    private(set) var recurring = Recurring<Addressed<Heartbeat>>()

    public init() {}

    /// Whether the last one said what the one before it said, but for the numbers.
    public var isRepetition: Bool { recurring.isRepetition }

    /// The bytes of a `HeartbeatDocument`.
    public mutating func write(_ heartbeat: Heartbeat, _ header: Heartbeat.Header) throws -> [UInt8] {
        let (content, numbers) = heartbeat.parted
        let bare = Addressed(content: content, header: header)
        return try recurring.write(bare, numbers) { try JSON.encode(HeartbeatDocument(heartbeat.with($0), header)) }
    }
}

/// Reads the heartbeats of one node.
public struct HeartbeatReader: Sendable {
    private(set) var recurring = Recurring<Addressed<Heartbeat>>()

    public init() {}

    public mutating func read(_ bytes: [UInt8]) throws(WireError) -> (Heartbeat, Heartbeat.Header) {
        if let (bare, numbers) = recurring.read(bytes) {
            let heartbeat = bare.content.with(numbers)
            // The document knows a bound.
            if heartbeat.report.dataAge ?? .zero < .milliseconds(1 << 40) { return (heartbeat, bare.header) }
        }
        let (heartbeat, header) = try JSON.decode(HeartbeatDocument.self, from: bytes).heartbeat()
        let (content, numbers) = heartbeat.parted
        let bare = Addressed(content: content, header: header)
        do {
            try recurring.learn(bare, numbers, from: bytes) { try JSON.encode(HeartbeatDocument(heartbeat.with($0), header)) }
        } catch {
            throw WireError("a heartbeat that cannot be written: \(error)")
        }
        return (heartbeat, header)
    }
}

/// Writes the requests of one node to the witness.
public struct WitnessRequestWriter: Sendable {
    private(set) var recurring = Recurring<Addressed<WitnessRequest>>()

    public init() {}

    /// The bytes of a `WitnessRequestDocument`.
    public mutating func write(_ request: WitnessRequest, _ header: Heartbeat.Header) throws -> [UInt8] {
        let (content, numbers) = request.parted
        return try recurring.write(Addressed(content: content, header: header), numbers) {
            try JSON.encode(WitnessRequestDocument(request.with($0), header))
        }
    }
}

/// Reads the witness's answers to one node.
public struct WitnessAnswerReader: Sendable {
    private(set) var recurring = Recurring<Addressed<WitnessAnswer>>()

    public init() {}

    public mutating func read(_ bytes: [UInt8]) throws(WireError) -> (WitnessAnswer, Heartbeat.Header) {
        if let (bare, numbers) = recurring.read(bytes), numbers[0] < WireLimit.count {
            return (bare.content.with(numbers), bare.header)
        }
        let (answer, header) = try JSON.decode(WitnessAnswerDocument.self, from: bytes).answer()
        let (content, numbers) = answer.parted
        do {
            try recurring.learn(Addressed(content: content, header: header), numbers, from: bytes) {
                try JSON.encode(WitnessAnswerDocument(answer.with($0), header))
            }
        } catch {
            throw WireError("an answer that cannot be written: \(error)")
        }
        return (answer, header)
    }
}

/// A message of which numbers are told apart: they are new in each of its kind although nothing has happened.
private protocol Numbered {
    /// Puts in the place of each number what `exchange` makes of it, in the order of their places here.
    mutating func exchange(_ exchange: (UInt64, NumberedText.Style) -> UInt64)
}

extension Numbered {
    /// The message with 0 for each number, and these.
    fileprivate var parted: (bare: Self, numbers: Numbers) {
        var (bare, numbers) = (self, Numbers())
        bare.exchange { numbers.part($0, $1) }
        return (bare, numbers)
    }

    /// The same with these.
    fileprivate func with(_ numbers: [UInt64]) -> Self {
        var copy = self
        var next = 0
        copy.exchange { _, _ in
            defer { next += 1 }
            return numbers[next]
        }
        return copy
    }
}

extension Heartbeat: Numbered {
    fileprivate mutating func exchange(_ exchange: (UInt64, NumberedText.Style) -> UInt64) {
        number = exchange(number, .decimal)
        acknowledged = acknowledged.map { exchange($0, .decimal) }
        // As it stands in the document.
        report.dataAge = report.dataAge.map {
            .milliseconds(Int64(clamping: exchange(UInt64(max(0, $0.milliseconds)), .decimal)))
        }
        report.postgres.exchange(exchange)
    }
}

extension LocalPostgres: Numbered {
    /// The heartbeat row alone moves the positions once a second.
    fileprivate mutating func exchange(_ exchange: (UInt64, NumberedText.Style) -> UInt64) {
        func new(_ position: LSN?) -> LSN? { position.map { LSN(exchange($0.bytes, .position)) } }
        flushed = new(flushed)
        received = new(received)
        replayed = new(replayed)
        for index in replicas.indices {
            replicas[index].flushed = new(replicas[index].flushed)
            replicas[index].replayed = new(replicas[index].replayed)
        }
        // The rest of the row is not told.
        row = row.map { HeartbeatRow(beat: exchange($0.beat, .decimal), turn: 0) }
    }
}

extension WitnessRequest: Numbered {
    fileprivate mutating func exchange(_ exchange: (UInt64, NumberedText.Style) -> UInt64) {
        number = exchange(number, .decimal)
        guard case .heartbeat(let ledger, let position?) = kind else { return }
        kind = .heartbeat(ledger, position: LSN(exchange(position.bytes, .position)))
    }
}

extension WitnessAnswer: Numbered {
    fileprivate mutating func exchange(_ exchange: (UInt64, NumberedText.Style) -> UInt64) {
        number = exchange(number, .decimal)
        position = position.map { LSN(exchange($0.bytes, .position)) }
    }
}
