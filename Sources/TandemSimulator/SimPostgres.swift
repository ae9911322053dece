import TandemCore

/// A PostgreSQL instance as far as the protocol depends on it (`hazards.md` 0.1): WAL as a list of commits and promotions, backends that
/// outlive their postmaster, settings that take effect later than they are written.
struct SimPostgres {
    enum Condition: Hashable {
        case stopped
        case starting(open: Bool)
        case recovering
        case open
        /// The postmaster is dead; the backends write, send and acknowledge for a while.
        case orphaned
        /// Answers nothing; what it was.
        case hung(open: Bool)
    }

    var condition = Condition.stopped
    /// Commits have numbers of their own, promotions too (below zero): one equal place means equal everything before it.
    var wal: [Int32] = []
    var timeline: Timeline = 1
    /// One more with each start: what was under way before belongs to another process.
    var start = 0
    /// It knows no other server.
    var isIsolated = false
    /// By the agent, not by somebody's hand.
    var openedByAgent = false
    var settings = Settings(copy: nil, synchronous: nil, slot: nil)
    /// Who commits wait for now; nil: nobody.
    private(set) var awaited: CopyID?
    /// Where the WAL was when that began: what came before may have been acknowledged without anybody.
    private(set) var awaitedFrom = 0
    /// Where the last promotion left the WAL.
    var openedFrom = 0
    /// Somebody's own `synchronous_standby_names`.
    var override: String?
    /// How much the standby confirmed, as this instance knows.
    var confirmed = 0
    var waiting: [(commit: Int32, place: Int)] = []
    /// When WAL last went over, in either role.
    var streamedAt: Int64 = -1 << 60
    /// What the standby had at the last exchange; confirmed at the next one.
    var sent = 0

    /// In the heartbeat row, as the data files and the WAL here have it.
    var beat: UInt64 = 0
    /// Somebody has paused replay: from then on the data stands still, the WAL does not.
    var pausedAt: (end: LSN, beat: UInt64)?

    mutating func pauseReplay() {
        guard condition == .recovering else { return }
        pausedAt = (end, beat)
    }

    static func position(_ count: Int) -> LSN { LSN(UInt64(count) * 100 + 1000) }
    static func count(_ position: LSN) -> Int { max(0, Int((position.bytes - 1000) / 100)) }

    var end: LSN { Self.position(wal.count) }
    /// Sessions that exist can write.
    var acceptsWrites: Bool { condition == .open || condition == .orphaned }
    var hasProcesses: Bool { condition != .stopped }

    func isPrefix(of other: SimPostgres) -> Bool {
        wal.count <= other.wal.count && (wal.last.map { $0 == other.wal[wal.count - 1] } ?? true)
    }

    /// PostgreSQL compares numbers of timelines and positions: with an equal number it takes the rest of another branch for its own.
    func wouldMix(with other: SimPostgres) -> Bool {
        timeline == other.timeline && wal.count <= other.wal.count && !isPrefix(of: other)
    }

    mutating func awaitNow(_ copy: CopyID?) {
        let next = override == nil ? copy : nil
        if next != awaited || condition != .open { awaitedFrom = wal.count }
        awaited = next
    }

    /// Every process is gone; whoever waited for an answer gets none.
    mutating func endAll() {
        condition = .stopped
        pausedAt = nil
        waiting = []
        start += 1
        openedByAgent = false
        confirmed = 0
        sent = 0
    }
}
