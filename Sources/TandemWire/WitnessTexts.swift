import TandemCore

// A witness hears the same heartbeat a thousand times a second, but for its number and its position, and gives the same answer, but for
// those. Both are told apart here from what has not changed, which costs a tenth of reading and writing JSON anew.

/// Reads the requests of one connection.
public struct WitnessRequestReader: Sendable {
    /// A heartbeat: what stood around its number and its position, byte by byte.
    fileprivate struct Seen {
        var ledger: Ledger
        var node: NodeName
        var header: Heartbeat.Header
        var before: [UInt8]
        var between: [UInt8]
        var after: [UInt8]
    }

    private var seen: Seen?

    public init() {}

    public mutating func read(_ bytes: [UInt8]) throws(WireError) -> (WitnessRequest, Heartbeat.Header) {
        if let seen, let again = seen.request(bytes) { return (again, seen.header) }
        let (request, header) = try JSON.decode(WitnessRequestDocument.self, from: bytes).request()
        if case .heartbeat(let ledger, let position?) = request.kind {
            seen = Seen(bytes, request, ledger, position, header)
        }
        return (request, header)
    }
}

extension WitnessRequestReader.Seen {
    /// Nil: it is written in another way than ours.
    init?(
        _ bytes: [UInt8], _ request: WitnessRequest, _ ledger: Ledger, _ position: LSN, _ header: Heartbeat.Header
    ) {
        let text = String(decoding: bytes, as: UTF8.self)
        let between = ",\"position\":\""
        guard let range = text.ranges(of: "\"number\":\(request.number)\(between)\(position.description)\"").last else {
            return nil
        }
        self.ledger = ledger
        self.node = request.node
        self.header = header
        before = Array(text[..<range.lowerBound].utf8) + Array("\"number\":".utf8)
        self.between = Array(between.utf8)
        after = Array("\"".utf8) + Array(text[range.upperBound...].utf8)
    }

    /// If nothing but the number and the position differs.
    func request(_ bytes: [UInt8]) -> WitnessRequest? {
        guard bytes.count <= before.count + between.count + after.count + 40, bytes.starts(with: before) else { return nil }
        var place = before.count
        var number: UInt64 = 0
        let begin = place
        while place < bytes.count, let digit = Self.digit(bytes[place]), place - begin < 19 {
            number = number * 10 + digit
            place += 1
        }
        guard place > begin, bytes[begin] != UInt8(ascii: "0") || place == begin + 1, number < WireLimit.count,
            bytes[place...].starts(with: between)
        else { return nil }
        place += between.count
        let end = bytes.count - after.count
        guard end > place, bytes[end...].elementsEqual(after),
            let position = LSN(String(decoding: bytes[place..<end], as: UTF8.self))
        else { return nil }
        return WitnessRequest(number: number, node: node, kind: .heartbeat(ledger, position: position))
    }

    private static func digit(_ byte: UInt8) -> UInt64? { (48...57).contains(byte) ? UInt64(byte - 48) : nil }
}

/// Writes the answers of one pair: the text of a record is kept until there is another one.
public struct WitnessAnswerWriter: Sendable {
    private var last: (record: Ledger, text: String)?

    public init() {}

    /// The bytes of a `WitnessAnswerDocument`.
    public mutating func write(_ answer: WitnessAnswer, _ header: Heartbeat.Header) throws -> [UInt8] {
        var text = "{\"from\":\(header.sender.number),\"generation\":\(answer.generation),\"number\":\(answer.number)"
        if let position = answer.position { text += ",\"position\":\"\(position)\"" }
        if let promised = answer.promised { text += ",\"promised_ms\":\(promised.milliseconds)" }
        if let record = answer.record {
            if last?.record != record {
                last = (record, String(decoding: try JSON.encode(LedgerDocument(record)), as: UTF8.self))
            }
            text += ",\"record\":\(last?.text ?? "null")"
        }
        text += ",\"to\":\(header.receiver.number)}"
        return Array(text.utf8)
    }
}
