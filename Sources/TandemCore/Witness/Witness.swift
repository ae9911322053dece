/// The witness's own machine for one pair (3.3): a durable ledger that only grows, and a promise. Values in, effects out.
///
/// What is durable comes first: an answer leaves only after `persisted`, and while a record is on its way to the disk every other
/// request is left unanswered; it is repeated at the next heartbeat.
public struct Witness: Sendable, Codable {
    public let session: SessionID
    public let generation: UInt64
    /// The names of the nodes, which number the terms (section 1).
    public let nodes: [NodeName]
    /// What is on disk.
    public internal(set) var record: Ledger?
    /// Not to support another primary before this; kept in memory, so a start counts as one (3.1).
    var promise: Moment?
    package internal(set) var position: LSN?
    var desks: [NodeName: Desk] = [:]
    var writing: Pending?
    /// What each node says must stand in the place of a lost record.
    var proposals: [NodeName: Ledger] = [:]
    package var flaw: Flaw?

    struct Pending: Hashable, Sendable, Codable {
        var record: Ledger
        var node: NodeName
        var to: SessionID
        var answer: WitnessAnswer
        var promise: Moment?
        var position: LSN?
    }

    public enum Event: Hashable, Sendable, Codable {
        case hello(NodeName, SessionID)
        case request(WitnessRequest, Heartbeat.Header)
        case persisted(Ledger)
        /// Nothing of it is on disk.
        case notPersisted(Ledger)
    }

    public enum Effect: Hashable, Sendable, Codable {
        /// Write, fsync, rename, fsync of the folder; comes back as `persisted` or `notPersisted`.
        case persist(Ledger)
        case answer(WitnessAnswer, to: NodeName, Heartbeat.Header)
    }

    /// What was promised before this start is not known: bound by the longest that it can have been, which the record names (3.1). Without a
    /// record nothing is granted until it is written anew.
    public init(session: SessionID, generation: UInt64, nodes: [NodeName], record: Ledger?, at now: Moment) {
        self.session = session
        self.generation = generation
        self.nodes = nodes
        self.record = record
        promise = record.map { now + $0.lease }
    }

    public mutating func step(_ event: Event, at now: Moment) -> [Effect] {
        switch event {
        case .hello(let node, let session):
            desks[node, default: Desk()].begin(session)
            return []
        case .request(let request, let header):
            guard header.receiver == session, nodes.contains(request.node) else { return [] }
            guard desks[request.node, default: Desk()].accepts(request.number, from: header.sender) else { return [] }
            guard writing == nil else { return [] }
            return obey(request, from: header.sender, at: now)
        case .persisted(let ledger):
            guard let done = writing, done.record == ledger else { return [] }
            writing = nil
            record = ledger
            proposals = [:]
            if let given = done.promise { promise = given.extended(to: promise) }
            position = done.position ?? position
            return [.answer(done.answer, to: done.node, .init(sender: session, receiver: done.to))]
        case .notPersisted:
            // The request is repeated, and until then the old record stands.
            writing = nil
            return []
        }
    }

    /// One node as a sender.
    struct Desk: Hashable, Sendable, Codable {
        var sessions = Sessions()
        var last: UInt64 = 0

        /// A run that was taken for over, and greets again, lives: what decides here are ledgers, which only grow.
        mutating func begin(_ new: SessionID) { sessions.begin(new, revives: true) }

        /// Of the present session, and not overtaken.
        mutating func accepts(_ number: UInt64, from sender: SessionID) -> Bool {
            let (counts, isNew) = sessions.hear(sender)
            if isNew { last = 0 }
            guard counts, number > last else { return false }
            last = number
            return true
        }
    }
}
