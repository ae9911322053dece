/// A counter that only grows; each term has one primary, ever (section 1).
public struct Term: Hashable, Comparable, Sendable, CustomStringConvertible {
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
}

/// Whether the other node may be promoted (section 1, "bond").
public enum Bond: String, Hashable, Sendable {
    /// The other node holds every acknowledged commit and may be promoted.
    case paired
    /// The other node must not be promoted. The primary needs nobody's word to go on.
    case sole
}

/// What decides when the two nodes cannot hear each other; exactly one kind per pair (section 1, "arbiter"). The kinds
/// `witness`, `etcd` and `fencing` have their places in the specification and come with their rules.
public enum ArbiterKind: String, Hashable, Sendable, CaseIterable {
    case manual
}

/// Who is primary, in which term, and whether the other node may be promoted: the one thing that both nodes keep on disk
/// (section 1, "ledger"). It is durable before anything that relies on it happens.
public struct Ledger: Hashable, Sendable {
    public var cluster: String
    public var term: Term
    /// A counter within the term, one more with every change of the bond.
    public var step: UInt64
    public var primary: NodeName
    public var bond: Bond
    public var primaryCopy: CopyID
    /// The standby's copy; present exactly when `paired`.
    public var standbyCopy: CopyID?
    public var arbiter: ArbiterKind
    /// The lease L of the pair, which a promise outlives (3.1). The arbiter `manual` has none: zero.
    public var lease: Duration
    /// Only in the ledger of a handover, `(T′, 0, B, paired)`: the end of the old primary's WAL. The new primary has received
    /// everything up to here before it is promoted (4.4).
    public var handoverEnd: LSN?
    /// A person accepted that commits may be lost (4.3).
    public var forced: Bool

    public init(
        cluster: String, term: Term, step: UInt64, primary: NodeName, bond: Bond, primaryCopy: CopyID, standbyCopy: CopyID?,
        arbiter: ArbiterKind, lease: Duration = .zero, handoverEnd: LSN? = nil, forced: Bool = false
    ) {
        self.cluster = cluster
        self.term = term
        self.step = step
        self.primary = primary
        self.bond = bond
        self.primaryCopy = primaryCopy
        self.standbyCopy = standbyCopy
        self.arbiter = arbiter
        self.lease = lease
        self.handoverEnd = handoverEnd
        self.forced = forced
    }

    /// Greater `(term, step)`. A node takes only what is newer; older news has no effect, whenever it comes (section 1).
    public func isNewer(than other: Ledger) -> Bool { (term, step) > (other.term, other.step) }

    /// The same `(term, step)` with other content: impossible, and if it is seen, both nodes stop writing (5.6).
    public func contradicts(_ other: Ledger) -> Bool {
        term == other.term && step == other.step && self != other
    }

    /// The next step of this term, in which the other node may not be promoted (4.1).
    public func sole() -> Ledger {
        var next = self
        next.step += 1
        next.bond = .sole
        next.standbyCopy = nil
        next.handoverEnd = nil
        return next
    }

    /// The next step of this term, in which the node that holds `copy` may be promoted (4.2).
    public func paired(with copy: CopyID) -> Ledger {
        var next = self
        next.step += 1
        next.bond = .paired
        next.standbyCopy = copy
        next.handoverEnd = nil
        next.forced = false
        return next
    }
}

extension Ledger: CustomStringConvertible {
    /// `(8, 2, a, paired)`: the notation of the specification.
    public var description: String { "(\(term), \(step), \(primary), \(bond.rawValue))" }
}
