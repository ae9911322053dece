import TandemCore

// What the agent needs of the world, declared where it is called. Every call blocks its own lane, never the agent's loop, has a
// deadline, and may be repeated without harm.

/// PostgreSQL on this host.
public protocol PostgresPort: Sendable {
    func start(_ mode: Effect.StartMode) throws
    /// Returns when no process of the data directory is left.
    func stop(_ mode: Effect.StopMode) throws
    /// Returns when writes are accepted.
    func promote() throws -> (timeline: Timeline, fork: LSN)
    func configure(_ settings: Settings) throws
    /// 4.2, step 1: in effect, and confirmed; the position.
    func confirmSynchronous(_ copy: CopyID) throws -> LSN
    /// 5.3: this copy has everything that recovery brought to light here.
    func confirmPosition(_ copy: CopyID) throws
    func checkpoint() throws
    /// Of a dead instance.
    func findEndOfWAL(from start: LSN) throws -> LSN
    /// Of the standby that is asked, now: greater of received and replayed; the timeline it follows; whether a stream is up.
    func receivedWAL() throws -> (position: LSN, timeline: Timeline, isStreaming: Bool)
    /// Straight from `pg_wal`, for the other node (6.3). May return less than asked, never nothing.
    func readWAL(_ timeline: Timeline, from position: LSN, count: Int) throws -> [UInt8]
    /// Into `pg_wal` of a recovering instance that receives no stream, fsynced.
    func writeWAL(_ timeline: Timeline, _ bytes: [UInt8], at position: LSN) throws
    /// Recovery shall look for new WAL at once.
    func nudgeRecovery() throws
    func recordLineage(term: Term, copy: CopyID, parent: Term, fork: LSN, timeline: Timeline) throws
    /// The present state, looked at after the call began.
    func look() -> LocalPostgres
}

/// The addresses of both roles.
public protocol AddressPort: Sendable {
    func claim(_ role: AddressRole, regardless: Bool) throws
    func release(_ role: AddressRole) throws
    func held() throws -> Event.Held
}

/// The agents' link: best effort, all paths; what is lost is said again by the next heartbeat.
public protocol LinkPort: Sendable {
    func send(_ kind: UInt8, _ payload: [UInt8])
}

/// The ledger on disk.
public protocol LedgerPort: Sendable {
    func write(_ ledger: Ledger, peerHeardIn: BootID?) throws
}
