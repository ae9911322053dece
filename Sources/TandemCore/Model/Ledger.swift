/// A counter that only grows; each term has one primary, ever (section 1).
public struct Term: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    public var number: UInt64
    public init(_ number: UInt64) { self.number = number }
    public var description: String { String(number) }
    public static func < (a: Term, b: Term) -> Bool { a.number < b.number }

    /// The next term of `node` above this one: even for the node whose name sorts first, odd for the other, so that two paths
    /// can never number the same term for two nodes (section 1, "term").
    public func next(for node: NodeName, besides other: NodeName) -> Term {
        let parity: UInt64 = node < other ? 0 : 1
        let above = number + 1
        return Term(above % 2 == parity ? above : above + 1)
    }

    /// Above every term that the other node can have taken unheard, with the same owner. Where its commits are given up without knowing what
    /// it did last, it must give way when it hears of that (4.3): its next term would not be enough.
    public var outOfReach: Term { Term(number + 1000) }
}

/// Whether the other node may be promoted (section 1, "bond").
public enum Bond: String, Hashable, Sendable, Codable {
    /// The other node holds every acknowledged commit and may be promoted.
    case paired
    /// The other node must not be promoted. The primary needs nobody's word to go on.
    case sole
}

/// What decides when the two nodes cannot hear each other; exactly one kind per pair (section 1, "arbiter"). The kinds
/// `etcd` and `fencing` have their places in the specification and come with their rules.
public enum ArbiterKind: String, Hashable, Sendable, CaseIterable, Codable {
    /// A person.
    case manual
    /// A third host, whose record and promise decide (3.3).
    case witness

    /// A paired primary writes by a lease, and a guard ends it (3.1, 3.2).
    public var lends: Bool {
        switch self {
        case .manual: false
        case .witness: true
        }
    }
}

/// The mark of a paused pair (4.7): `sole` by every rule, but commits go on waiting for the standby, and addresses stay.
public struct Pause: Hashable, Sendable, Codable {
    /// The copy that was paired; nil: the primary was alone already.
    public var standby: CopyID?
    /// Commits go on waiting for it; not with `--standby-maintenance`, and not once it was away too long.
    public var isAwaited: Bool
    public init(standby: CopyID?, isAwaited: Bool) {
        self.standby = standby
        self.isAwaited = isAwaited
    }
    var awaited: CopyID? { isAwaited ? standby : nil }
}

/// Who is primary, in which term, and whether the other node may be promoted: the one thing that both nodes keep on disk
/// (section 1, "ledger"). It is durable before anything that relies on it happens.
public struct Ledger: Hashable, Sendable, Codable {
    /// Shared by all who hold this ledger, and never changed: it stands in every state, message and note, and is passed on far more often
    /// than made.
    private var page: Page

    private final class Page: Sendable {
        let content: Content
        init(_ content: Content) { self.content = content }
    }

    private struct Content: Hashable, Sendable, Codable {
        var cluster: String
        var term: Term
        var step: UInt64
        var primary: NodeName
        var bond: Bond
        var primaryCopy: CopyID
        var standbyCopy: CopyID?
        var arbiter: ArbiterKind
        var lease: Duration
        var handoverEnd: LSN?
        var began: LSN?
        var forced: Bool
        var paused: Pause?
    }

    public init(
        cluster: String, term: Term, step: UInt64, primary: NodeName, bond: Bond, primaryCopy: CopyID, standbyCopy: CopyID?,
        arbiter: ArbiterKind, lease: Duration = .zero, handoverEnd: LSN? = nil, began: LSN? = nil, forced: Bool = false,
        paused: Pause? = nil
    ) {
        page = Page(
            Content(
                cluster: cluster, term: term, step: step, primary: primary, bond: bond, primaryCopy: primaryCopy,
                standbyCopy: standbyCopy, arbiter: arbiter, lease: lease, handoverEnd: handoverEnd,
                began: handoverEnd ?? began, forced: forced, paused: paused))
    }

    private func changed(_ change: (inout Content) -> Void) -> Ledger {
        var content = page.content
        change(&content)
        var next = self
        next.page = Page(content)
        return next
    }

    public var cluster: String {
        get { page.content.cluster }
        set { self = changed { $0.cluster = newValue } }
    }
    public var term: Term {
        get { page.content.term }
        set { self = changed { $0.term = newValue } }
    }
    /// A counter within the term, one more with every change of the bond.
    public var step: UInt64 {
        get { page.content.step }
        set { self = changed { $0.step = newValue } }
    }
    public var primary: NodeName {
        get { page.content.primary }
        set { self = changed { $0.primary = newValue } }
    }
    public var bond: Bond {
        get { page.content.bond }
        set { self = changed { $0.bond = newValue } }
    }
    public var primaryCopy: CopyID {
        get { page.content.primaryCopy }
        set { self = changed { $0.primaryCopy = newValue } }
    }
    /// The standby's copy; present exactly when `paired`.
    public var standbyCopy: CopyID? {
        get { page.content.standbyCopy }
        set { self = changed { $0.standbyCopy = newValue } }
    }
    public var arbiter: ArbiterKind {
        get { page.content.arbiter }
        set { self = changed { $0.arbiter = newValue } }
    }
    /// The lease L of the pair, which a promise outlives (3.1). The arbiter `manual` has none: zero.
    public var lease: Duration {
        get { page.content.lease }
        set { self = changed { $0.lease = newValue } }
    }
    /// Only in the ledger of a handover, `(T′, 0, B, paired)`: the end of the old primary's WAL. The new primary has received
    /// everything up to here before it is promoted (4.4).
    public var handoverEnd: LSN? {
        get { page.content.handoverEnd }
        set { self = changed { $0.handoverEnd = newValue } }
    }
    /// In every ledger of a term that a handover has begun: where the WAL of the term before ends. nil: it began with a grant, or otherwise. Both
    /// may have been made in one term, of which only one counts (4.3, 4.4).
    public var began: LSN? {
        get { page.content.began }
        set { self = changed { $0.began = newValue } }
    }
    /// A person accepted that commits may be lost (4.3).
    public var forced: Bool {
        get { page.content.forced }
        set { self = changed { $0.forced = newValue } }
    }
    /// No automatic failover while somebody works (4.7); only in a `sole` ledger.
    public var paused: Pause? {
        get { page.content.paused }
        set { self = changed { $0.paused = newValue } }
    }

    public static func == (a: Ledger, b: Ledger) -> Bool { a.page === b.page || a.page.content == b.page.content }
    public func hash(into hasher: inout Hasher) { hasher.combine(page.content) }
    public init(from decoder: any Decoder) throws { page = Page(try Content(from: decoder)) }
    public func encode(to encoder: any Encoder) throws { try page.content.encode(to: encoder) }
}

extension Ledger {
    /// Greater `(term, step)`. A node takes only what is newer; older news has no effect, whenever it comes (section 1).
    public func isNewer(than other: Ledger) -> Bool { (term, step) > (other.term, other.step) }

    /// The same `(term, step)` with other content: impossible, and if it is seen, both nodes stop writing (5.6).
    public func contradicts(_ other: Ledger) -> Bool {
        term == other.term && step == other.step && self != other
    }

    /// The next step of this term, in which the other node may not be promoted (4.1). After a handover one is left out: the
    /// arbiter may grant `(T, 1, X, sole)` while the handover is on its way, and no two contents may carry one number (5.6).
    public func sole() -> Ledger {
        changed {
            $0.step += handoverEnd == nil ? 1 : 2
            $0.bond = .sole
            $0.standbyCopy = nil
            $0.handoverEnd = nil
            $0.paused = nil
        }
    }

    /// `sole` with the mark `paused` (4.7). It takes the step above the plain one: the arbiter may write that at the same time, and the
    /// other node may hold a paused ledger that never was heard of. No two contents may ever carry one number (5.6).
    public func pausing(isAwaited: Bool) -> Ledger {
        var next = sole()
        next.step += 1
        let copy = standbyCopy ?? paused?.standby
        next.paused = Pause(standby: copy, isAwaited: isAwaited && copy != nil)
        return next
    }

    /// The same primary, alone, in its next term: what was granted or asked before is too old wherever it still is (3.3, 4.7, 5.6).
    public func renewed(above term: Term, besides other: NodeName) -> Ledger {
        var next = sole()
        next.paused = paused
        next.term = max(self.term, term).next(for: primary, besides: other)
        next.began = nil
        next.step = 1
        return next
    }

    /// The bond with the node that holds `copy` (4.2). One step is left out: see `pausing`.
    public func paired(with copy: CopyID) -> Ledger {
        changed {
            $0.step += 2
            $0.bond = .paired
            $0.standbyCopy = copy
            $0.handoverEnd = nil
            $0.forced = false
            $0.paused = nil
        }
    }
}

extension Ledger: CustomStringConvertible {
    /// `(8, 2, a, paired)`: the notation of the specification.
    public var description: String {
        "(\(term), \(step), \(primary), \(bond.rawValue)\(forced ? ", forced" : "")\(paused != nil ? ", paused" : ""))"
    }
}
