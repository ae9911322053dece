import TandemWire

/// One line from a command to the agent on the control socket.
public struct ControlRequest: Codable, Sendable {
    public var command: String
    public var to: String?
    public var dryRun: Bool?
    public var acceptDataLoss: Bool?
    public var maintenance: Bool?
    public var fresh: Bool?
    public init(
        command: String, to: String? = nil, dryRun: Bool? = nil, acceptDataLoss: Bool? = nil, maintenance: Bool? = nil,
        fresh: Bool? = nil
    ) {
        self.command = command
        self.to = to
        self.dryRun = dryRun
        self.acceptDataLoss = acceptDataLoss
        self.maintenance = maintenance
        self.fresh = fresh
    }
}

/// One line back; the last one has `done`, `reasons` or `status`.
public struct ControlAnswer: Codable, Sendable {
    public var progress: String?
    public var done: String?
    public var reasons: [NoteDocument]?
    public var status: StatusDocument?
    public init() {}

    public var isLast: Bool { done != nil || reasons != nil || status != nil }
}
