/// What this node knows of the other one, and since when.
public struct Peer: Hashable, Sendable {
    public internal(set) var session: SessionID?
    public internal(set) var isLinked = false
    public internal(set) var last: Heartbeat?
    public internal(set) var heardAt: Instant?
    /// The newest heartbeat of this node's session that the peer acknowledged.
    public internal(set) var acknowledged: UInt64?
    /// The last order about the standby address that a primary gave, also before its agent was restarted (7).
    public internal(set) var standbyAddressOrder: NodeName?
    /// Sessions that began a connection, and have not been heard yet.
    var candidates: [SessionID] = []
    /// Sessions that are known to be over: a message of theirs that was long on its way means nothing (section 1).
    var over: [SessionID] = []

    /// A connection began. That a session is over is known only when a later one is HEARD: a greeting may be long on its way.
    mutating func begin(_ new: SessionID) {
        isLinked = true
        guard new != session, !over.contains(new), !candidates.contains(new) else { return }
        if session == nil { return change(to: new) }
        candidates.append(new)
        if candidates.count > 16 { candidates.removeFirst() }
    }

    /// Whether a message counts: of the present session or of one that begins with it, and not overtaken.
    mutating func accepts(_ heartbeat: Heartbeat, from sender: SessionID) -> Bool {
        if sender != session, candidates.contains(sender) { change(to: sender) }
        return sender == session && heartbeat.number > (last?.number ?? 0)
    }

    private mutating func change(to new: SessionID) {
        if let session {
            over.append(session)
            if over.count > 64 { over.removeFirst() }
        }
        candidates.removeAll { $0 == new }
        session = new
        last = nil
        heardAt = nil
        acknowledged = nil
    }

    public func isHeard(within patience: Duration, at now: Instant) -> Bool {
        heardAt.map { now - $0 <= patience } ?? false
    }

    public func silence(at now: Instant) -> Duration? { heardAt.map { now - $0 } }

    public func agrees(with ledger: Ledger) -> Bool { last?.ledger == ledger }

    public var report: PeerReport? { last?.report }
}
