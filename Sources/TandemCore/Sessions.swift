/// The runs of one sender: messages of a run that is known to be over mean nothing, however long they were on their way (section 1).
struct Sessions: Hashable, Sendable, Codable {
    private(set) var current: SessionID?
    /// Runs that began a connection, and have not been heard yet.
    private(set) var candidates: [SessionID] = []
    private(set) var over: [SessionID] = []

    /// A connection began. That a run is over is known only when a later one is HEARD: a greeting may be long on its way.
    /// `revives`: one that was taken for over greets again, so it lives; what it said before means nothing all the same.
    mutating func begin(_ new: SessionID, revives: Bool = false) {
        guard new != current, !candidates.contains(new) else { return }
        if over.contains(new) {
            guard revives else { return }
            over.removeAll { $0 == new }
        }
        if current == nil {
            current = new
            return
        }
        candidates.append(new)
        if candidates.count > 16 { candidates.removeFirst() }
    }

    /// Whether a message of that sender counts, and whether a new run begins with it.
    mutating func hear(_ sender: SessionID) -> (counts: Bool, isNew: Bool) {
        if sender == current { return (true, false) }
        guard candidates.contains(sender) else { return (false, false) }
        if let current { over.append(current) }
        if over.count > 64 { over.removeFirst() }
        candidates.removeAll { $0 == sender }
        current = sender
        return (true, true)
    }
}
