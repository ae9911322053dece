/// The one row of `pgtandem.heartbeat`, as one node sees it: what was committed or read, in the database itself.
public struct HeartbeatRow: Hashable, Sendable, Codable {
    /// Grows by one with each writing, over every change of the primary.
    public var beat: UInt64
    /// Grows with each writing or reading here: the same beat, read once more, is news.
    public var turn: UInt64
    /// On a standby: `now() - at` by its wall clock. For people; nothing is decided by it.
    public var shownAge: Duration?
    public init(beat: UInt64, turn: UInt64, shownAge: Duration? = nil) {
        self.beat = beat
        self.turn = turn
        self.shownAge = shownAge
    }
}
