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

    /// The bytes of a `HeartbeatDocument`.
    public mutating func write(_ heartbeat: Heartbeat, _ header: Heartbeat.Header) throws -> [UInt8] {
        let numbers = heartbeat.numbers
        let bare = Addressed(content: heartbeat.with(numbers.map { _ in 0 }), header: header)
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
        let numbers = heartbeat.numbers
        let bare = Addressed(content: heartbeat.with(numbers.map { _ in 0 }), header: header)
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
        var bare = Addressed(content: request, header: header)
        bare.content.number = 0
        return try recurring.write(bare, [request.number]) { numbers in
            var request = request
            request.number = numbers[0]
            return try JSON.encode(WitnessRequestDocument(request, header))
        }
    }
}

/// Reads the witness's answers to one node.
public struct WitnessAnswerReader: Sendable {
    private(set) var recurring = Recurring<Addressed<WitnessAnswer>>()

    public init() {}

    public mutating func read(_ bytes: [UInt8]) throws(WireError) -> (WitnessAnswer, Heartbeat.Header) {
        if let (bare, numbers) = recurring.read(bytes), numbers[0] < WireLimit.count {
            return (bare.content.numbered(numbers[0]), bare.header)
        }
        let (answer, header) = try JSON.decode(WitnessAnswerDocument.self, from: bytes).answer()
        let bare = Addressed(content: answer.numbered(0), header: header)
        do {
            try recurring.learn(bare, [answer.number], from: bytes) {
                try JSON.encode(WitnessAnswerDocument(answer.numbered($0[0]), header))
            }
        } catch {
            throw WireError("an answer that cannot be written: \(error)")
        }
        return (answer, header)
    }
}

extension Heartbeat {
    /// What is new in each of them although nothing has happened, as it stands in the document.
    fileprivate var numbers: [UInt64] {
        var numbers = [number]
        if let acknowledged { numbers.append(acknowledged) }
        if let age = report.dataAge { numbers.append(UInt64(max(0, age.milliseconds))) }
        return numbers
    }

    /// The same with these.
    fileprivate func with(_ numbers: [UInt64]) -> Heartbeat {
        var copy = self
        copy.number = numbers[0]
        var next = 1
        if acknowledged != nil {
            copy.acknowledged = numbers[next]
            next += 1
        }
        if report.dataAge != nil { copy.report.dataAge = .milliseconds(Int64(clamping: numbers[next])) }
        return copy
    }
}

extension WitnessAnswer {
    fileprivate func numbered(_ number: UInt64) -> WitnessAnswer {
        var copy = self
        copy.number = number
        return copy
    }
}
