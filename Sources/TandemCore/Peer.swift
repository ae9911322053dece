/// What this node knows of the other one, and since when.
public struct Peer: Hashable, Sendable, Codable {
    public var session: SessionID? { sessions.current }
    public internal(set) var isLinked = false
    public internal(set) var last: Heartbeat?
    public internal(set) var heardAt: Instant?
    /// Since when it was heard that its instance is not open, in this boot of its host: also if its agent ends again and again.
    public internal(set) var notOpenSince: Instant?
    /// When this run of its agent asked for a lease last: it knows its position, and if it asks no more, that is so that this node may claim
    /// (3.1, 4.4).
    var leaseAskedAt: Instant?
    /// The boot of its host that was heard last, whichever run of its agent said so.
    var boot: BootID?
    /// The newest ledger that it ever said to this session: what it says of an older one is an old word (S2).
    var newestLedger: Ledger?
    /// The newest heartbeat of this node's session that the peer acknowledged.
    public internal(set) var acknowledged: UInt64?
    /// The last order about the standby address that a primary gave, also before its agent was restarted (7).
    public internal(set) var standbyAddressOrder: NodeName?
    /// When the newest of them was sent (7).
    var acknowledgedSentAt: Instant?
    var sessions = Sessions()

    mutating func begin(_ new: SessionID) {
        isLinked = true
        sessions.begin(new, revives: true)
    }

    /// Whether a message counts: of the present session or of one that begins with it, and not overtaken.
    mutating func accepts(_ heartbeat: Heartbeat, from sender: SessionID) -> Bool {
        let (counts, isNew) = sessions.hear(sender)
        if isNew {
            last = nil
            heardAt = nil
            acknowledged = nil
            leaseAskedAt = nil
        }
        return counts && heartbeat.number > (last?.number ?? 0)
    }

    mutating func note(_ heartbeat: Heartbeat, at now: Instant) {
        let report = heartbeat.report
        if report.postgres.isOpen || boot != report.boot { notOpenSince = nil }
        if !report.postgres.isOpen, notOpenSince == nil { notOpenSince = now }
        boot = report.boot
        if heartbeat.asksLease { leaseAskedAt = now }
        last = heartbeat
        heardAt = now
    }

    public func isHeard(within patience: Duration, at now: Instant) -> Bool {
        heardAt.map { now - $0 <= patience } ?? false
    }

    public func silence(at now: Instant) -> Duration? { heardAt.map { now - $0 } }

    public func agrees(with ledger: Ledger) -> Bool { last?.ledger == ledger }

    public var report: PeerReport? { last?.report }
}
