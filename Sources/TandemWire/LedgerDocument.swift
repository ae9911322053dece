import TandemCore

/// The ledger as it leaves the process: in messages, on disk, in the status. Its names are a format, not the core's.
public struct LedgerDocument: Codable, Hashable, Sendable {
    public var cluster: String
    public var term: UInt64
    public var step: UInt64
    public var primary: String
    public var bond: String
    public var primary_copy: String
    public var standby_copy: String?
    public var arbiter: String
    public var lease_ms: Int64
    public var handover_end: String?
    /// After the handover that began this term: its end.
    public var term_began: String?
    public var forced: Bool?
    public var paused: Paused?

    /// The mark of a paused pair.
    public struct Paused: Codable, Hashable, Sendable {
        /// The copy that was paired when the pause began.
        public var standby_copy: String?
        /// Commits go on waiting for it.
        public var awaited: Bool
    }

    public init(_ ledger: Ledger) {
        cluster = ledger.cluster
        term = ledger.term.number
        step = ledger.step
        primary = ledger.primary.text
        bond = ledger.bond.rawValue
        primary_copy = ledger.primaryCopy.text
        standby_copy = ledger.standbyCopy?.text
        arbiter = ledger.arbiter.rawValue
        lease_ms = ledger.lease.milliseconds
        handover_end = ledger.handoverEnd?.description
        term_began = ledger.handoverEnd == nil ? ledger.began?.description : nil
        forced = ledger.forced ? true : nil
        paused = ledger.paused.map { Paused(standby_copy: $0.standby?.text, awaited: $0.isAwaited) }
    }

    /// Nothing is guessed: a word that this version does not know, or a ledger that no node can have written, is an error.
    public func ledger() throws(WireError) -> Ledger {
        guard let bond = Bond(rawValue: bond) else { throw WireError("unknown bond `\(bond)`") }
        guard let arbiter = ArbiterKind(rawValue: arbiter) else {
            throw WireError("arbiter `\(arbiter)` is not known to this version of pgtandem")
        }
        let standbyCopy = try standby_copy.map(Self.copy)
        guard (bond == .paired) == (standbyCopy != nil) else {
            throw WireError("a \(bond.rawValue) ledger with a wrong number of copies")
        }
        var end: LSN?
        if let text = handover_end {
            guard let lsn = LSN(text) else { throw WireError("`\(text)` is no WAL position") }
            guard bond == .paired else { throw WireError("a sole ledger with the end of a handover") }
            end = lsn
        }
        var began: LSN?
        if let text = term_began {
            guard let lsn = LSN(text), end == nil else { throw WireError("`\(text)` is no position that a term began at") }
            began = lsn
        }
        guard !primary.isEmpty, !cluster.isEmpty else { throw WireError("an empty name") }
        // Far beyond what a pair can reach, and far below where counting would overflow.
        guard term < WireLimit.count, step < WireLimit.count else { throw WireError("a term or step beyond all bounds") }
        let lease = try WireLimit.span(lease_ms, "lease")
        guard !arbiter.lends || lease > .zero else {
            throw WireError("the arbiter `\(arbiter.rawValue)` without the lease that it lends")
        }
        return Ledger(
            cluster: cluster, term: Term(term), step: step, primary: NodeName(primary), bond: bond,
            primaryCopy: try Self.copy(primary_copy), standbyCopy: standbyCopy, arbiter: arbiter, lease: lease, handoverEnd: end,
            began: began, forced: forced ?? false, paused: try pause(bond))
    }

    private func pause(_ bond: Bond) throws(WireError) -> Pause? {
        guard let paused else { return nil }
        guard bond == .sole else { throw WireError("a paired ledger that is paused") }
        let standby = try paused.standby_copy.map(Self.copy)
        guard standby != nil || !paused.awaited else { throw WireError("a pause whose commits wait for no copy") }
        return Pause(standby: standby, isAwaited: paused.awaited)
    }

    private static func copy(_ text: String) throws(WireError) -> CopyID {
        guard let copy = CopyID(text) else { throw WireError("`\(text)` is no copy id") }
        return copy
    }
}

/// What numbers from outside may be at most.
public enum WireLimit {
    /// Terms, steps and other counters.
    public static let count: UInt64 = 1 << 62
    /// A lease or a promise in milliseconds: a day.
    public static let milliseconds: ClosedRange<Int64> = 0...86_400_000

    static func span(_ milliseconds: Int64, _ what: String) throws(WireError) -> Duration {
        guard Self.milliseconds.contains(milliseconds) else {
            throw WireError("a \(what) of \(milliseconds) ms is beyond all bounds")
        }
        return .milliseconds(milliseconds)
    }
}

/// A document that says something impossible. The text says what.
public struct WireError: Error, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
