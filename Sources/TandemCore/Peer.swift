/// What this node knows of the other one, and since when.
public struct Peer: Hashable, Sendable {
    public internal(set) var session: SessionID?
    public internal(set) var isLinked = false
    public internal(set) var last: Heartbeat?
    public internal(set) var heardAt: Instant?
    /// The newest heartbeat of this node's session that the peer acknowledged.
    public internal(set) var acknowledged: UInt64?
    /// Sessions that are known to be over: a message of theirs that was long on its way means nothing (section 1).
    var over: [SessionID] = []

    mutating func begin(_ new: SessionID) {
        isLinked = true
        guard new != session, !over.contains(new) else { return }
        if let session {
            over.append(session)
            if over.count > 64 { over.removeFirst() }
        }
        session = new
        last = nil
        heardAt = nil
        acknowledged = nil
    }

    /// Whether a message counts: of the present session, and not overtaken.
    func accepts(_ heartbeat: Heartbeat, from sender: SessionID) -> Bool {
        sender == session && heartbeat.number > (last?.number ?? 0)
    }

    public func isHeard(within patience: Duration, at now: Instant) -> Bool {
        heardAt.map { now - $0 <= patience } ?? false
    }

    public func silence(at now: Instant) -> Duration? { heardAt.map { now - $0 } }

    public func agrees(with ledger: Ledger) -> Bool { last?.ledger == ledger }

    public var report: PeerReport? { last?.report }
}
