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
    /// No automatic failover while somebody works (4.7); only in a `sole` ledger.
    public var paused: Pause?

    public init(
        cluster: String, term: Term, step: UInt64, primary: NodeName, bond: Bond, primaryCopy: CopyID, standbyCopy: CopyID?,
        arbiter: ArbiterKind, lease: Duration = .zero, handoverEnd: LSN? = nil, forced: Bool = false, paused: Pause? = nil
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
        self.paused = paused
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
        next.paused = nil
        return next
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
        next.step = 1
        return next
    }

    /// The bond with the node that holds `copy` (4.2). One step is left out: see `pausing`.
    public func paired(with copy: CopyID) -> Ledger {
        var next = self
        next.step += 2
        next.bond = .paired
        next.standbyCopy = copy
        next.handoverEnd = nil
        next.forced = false
        next.paused = nil
        return next
    }
}

extension Ledger: CustomStringConvertible {
    /// `(8, 2, a, paired)`: the notation of the specification.
    public var description: String {
        "(\(term), \(step), \(primary), \(bond.rawValue)\(forced ? ", forced" : "")\(paused != nil ? ", paused" : ""))"
    }
}
