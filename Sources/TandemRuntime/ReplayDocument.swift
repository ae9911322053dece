import TandemWire

/// A replayed journal for programs: one object per line.
public struct ReplayDocument: Encodable, Sendable {
    /// `beginning`, `gap`, `event`, `damaged`, `torn`, `summary`.
    public var kind: String
    public var line: Int?
    /// Milliseconds since 1970.
    public var time_ms: Int64?
    /// The clock that decides, in nanoseconds since the host booted.
    public var boot_ns: Int64?
    public var event: String?
    public var text: String?
    public var decisions: [ReplayDecision]?
    public var difference: ReplayDifference?
    public var program: String?
    public var cluster: String?
    public var node: String?
    public var state: String?
    public var ledger: String?
    public var lost: Int?
    public var summary: ReplaySummary?

    public init(_ item: ReplayItem) {
        switch item {
        case .beginning(let beginning):
            kind = beginning.lost > 0 ? "gap" : "beginning"
            line = beginning.line
            time_ms = beginning.wall
            program = beginning.program
            cluster = beginning.cluster
            node = beginning.node
            state = beginning.state
            ledger = beginning.ledger
            lost = beginning.lost > 0 ? beginning.lost : nil
        case .event(let step):
            kind = "event"
            line = step.line
            time_ms = step.wall
            boot_ns = step.bootNanoseconds
            event = step.event
            text = step.text
            decisions = step.decisions
            difference = step.difference
        case .damaged(let number, let reason):
            kind = "damaged"
            line = number
            text = reason
        case .torn(let number):
            kind = "torn"
            line = number
        }
    }

    public init(_ summary: ReplaySummary) {
        kind = "summary"
        self.summary = summary
    }

    public func encoded() throws -> String { String(decoding: try JSON.encode(self), as: UTF8.self) }
}
