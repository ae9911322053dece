import TandemCore
import TandemSystem

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
    /// Throws unless the data directory carries this copy's mark now.
    func requireCopy(_ copy: CopyID) throws
    /// The end of the valid records in `pg_wal`, found by reading on from a record boundary, as recovery would.
    func findEndOfWAL(from start: LSN) throws -> LSN
    /// Of this standby, now.
    func receivedWAL() throws -> ReceivedWAL
    /// Straight from `pg_wal`, for the other node (6.3). May return less than asked, never nothing.
    func readWAL(_ timeline: Timeline, from position: LSN, count: Int) throws -> [UInt8]
    /// Into `pg_wal` of a recovering instance that receives no stream, fsynced.
    func writeWAL(_ timeline: Timeline, _ bytes: [UInt8], at position: LSN) throws
    func recordLineage(term: Term, copy: CopyID, parent: Term, fork: LSN, timeline: Timeline) throws
    /// Of the stopped instance, compared with the other host's (section 6).
    func survey() throws -> Survey
    /// Returns when the directory is like the other host's, with a copy id of its own. Interrupted at any moment: never started again.
    /// - Parameter bell: rings when this agent stops: a new copy, which may take hours, ends with an error then.
    func rejoin(_ way: RejoinWay, endedBy bell: Bell?) throws
    /// The present state, looked at after the call began.
    func look() -> LocalPostgres
}

/// How far a standby is.
public struct ReceivedWAL: Sendable {
    /// The greater of what was received (and flushed) and what was replayed.
    public var position: LSN
    /// The end of the last record replayed.
    public var replayed: LSN
    public var timeline: Timeline
    public var isStreaming: Bool
    public init(position: LSN, replayed: LSN, timeline: Timeline, isStreaming: Bool) {
        self.position = position
        self.replayed = replayed
        self.timeline = timeline
        self.isStreaming = isStreaming
    }
}

/// The addresses of both roles.
public protocol AddressPort: Sendable {
    func claim(_ role: AddressRole, regardless: Bool) throws
    func release(_ role: AddressRole) throws
    /// Looks and tells in one piece: from whichever thread, no look overtakes a newer one. Else an address that was just taken would seem
    /// to be gone, and the role could be given away with it.
    func tellHeld(_ tell: (Event.Held) -> Void) throws
    /// The beat of a loop that lives: while addresses are lent, the kernel takes them away by itself when it stops (section 9). Never
    /// waits for another call.
    func beat(_ lifetimes: AddressLifetimes)
}

/// How long the kernel keeps an address of ours without another beat; nil: until it is taken away.
public struct AddressLifetimes: Hashable, Sendable {
    /// nil: the next beat changes nothing. What is lent goes on for no longer than its lease.
    public var primary: Lifetime?
    public var standby: Lifetime?

    public enum Lifetime: Hashable, Sendable {
        case unlimited
        case seconds(Int)
    }

    /// Whole seconds are all that the kernel knows: the next one above the lease, and one more for a beat that is late (7, 9).
    public init(_ node: Node, at now: Instant) {
        guard let lease = node.lentFor else {
            // Nothing is lent, and the primary address is for whom the ledger names only.
            primary = node.ledger?.primary == node.policy.node || !node.policy.arbiter.lends ? .unlimited : nil
            standby = .unlimited
            return
        }
        let span = Lifetime.seconds(Int((lease.milliseconds + 999) / 1000) + 1)
        primary = node.leaseLeft(at: now).map { $0 > .zero } ?? false ? span : nil
        standby = span
    }
}

/// The process that ends the instance and removes the addresses when the lease runs out (3.2).
public protocol GuardPort: Sendable {
    /// Returns when a guard that lives has seen it; nil: no deadline yet, or the one that it has already.
    func arm(until: Moment?) throws
    /// At once; deadlines only grow.
    func extend(until: Moment)
    func release() throws
}

/// The agents' link: best effort, all paths; what is lost is said again by the next heartbeat.
public protocol LinkPort: Sendable {
    func send(_ kind: UInt8, _ payload: [UInt8])
    /// On each address of the other host once, by one connection and the next: what would be said again if it were lost.
    func sendInTurn(_ kind: UInt8, _ payload: [UInt8])
    /// On one path only: what is large, and repeated by whoever asked for it.
    func sendOnce(_ kind: UInt8, _ payload: [UInt8])
}

/// The ledger on disk, and this node's notes beside it: durable together.
public protocol LedgerPort: Sendable {
    func write(_ ledger: Ledger, _ notes: Notes) throws
}
