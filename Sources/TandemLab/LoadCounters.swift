/// Running totals of the client, for a display; a few times a second the client writes them to a file.
public struct LoadCounters: Sendable, Equatable {
    public var acknowledged = 0
    public var uncertain = 0
    public var refused = 0
    public var failedConnections = 0
    public var reads = 0
    public var failedReads = 0
    /// CLOCK_BOOTTIME in nanoseconds; 0: none yet.
    public var lastAcknowledgement: Int64 = 0
    public var lastRead: Int64 = 0
    /// Who acknowledged last, who answered the last read; "-": nobody yet.
    public var writeNode = "-"
    public var readNode = "-"

    public init() {}

    /// One line of fixed length: rewritten in place. A number at both ends tells a line that was read while half written.
    func line(generation: UInt64) -> [UInt8] {
        let fields =
            [acknowledged, uncertain, refused, failedConnections, reads, failedReads].map(String.init)
            + ["\(lastAcknowledgement)", "\(lastRead)", writeNode, readNode]
        let text = "\(generation) \(fields.joined(separator: " ")) \(generation)"
        let padding = max(0, 511 - text.utf8.count)
        return Array((text + String(repeating: " ", count: padding) + "\n").utf8)
    }

    /// Nil: half written, or nothing yet.
    init?(line: String) {
        let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
        guard words.count == 12, words[0] == words[11] else { return nil }
        let numbers = words[1...8].compactMap { Int64($0) }
        guard numbers.count == 8 else { return nil }
        acknowledged = Int(numbers[0])
        uncertain = Int(numbers[1])
        refused = Int(numbers[2])
        failedConnections = Int(numbers[3])
        reads = Int(numbers[4])
        failedReads = Int(numbers[5])
        lastAcknowledgement = numbers[6]
        lastRead = numbers[7]
        writeNode = words[9]
        readNode = words[10]
    }
}
