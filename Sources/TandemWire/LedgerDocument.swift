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
    public var forced: Bool?

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
        forced = ledger.forced ? true : nil
    }

    /// Nothing is guessed: a word that this version does not know is an error.
    public func ledger() throws(WireError) -> Ledger {
        guard let bond = Bond(rawValue: bond) else { throw WireError("unknown bond `\(bond)`") }
        guard let arbiter = ArbiterKind(rawValue: arbiter) else {
            throw WireError("arbiter `\(arbiter)` is not known to this version of pgtandem")
        }
        guard let primaryCopy = CopyID(primary_copy) else { throw WireError("`\(primary_copy)` is no copy id") }
        var standbyCopy: CopyID?
        if let text = standby_copy {
            guard let copy = CopyID(text) else { throw WireError("`\(text)` is no copy id") }
            standbyCopy = copy
        }
        guard (bond == .paired) == (standbyCopy != nil) else {
            throw WireError("a \(bond.rawValue) ledger with a wrong number of copies")
        }
        var end: LSN?
        if let text = handover_end {
            guard let lsn = LSN(text) else { throw WireError("`\(text)` is no WAL position") }
            end = lsn
        }
        guard !primary.isEmpty, !cluster.isEmpty else { throw WireError("an empty name") }
        // Far beyond what a pair can reach, and far below where counting would overflow.
        guard term < 1 << 62, step < 1 << 62, (0...86_400_000).contains(lease_ms) else {
            throw WireError("a term, step or lease beyond all bounds")
        }
        return Ledger(
            cluster: cluster, term: Term(term), step: step, primary: NodeName(primary), bond: bond, primaryCopy: primaryCopy,
            standbyCopy: standbyCopy, arbiter: arbiter, lease: .milliseconds(lease_ms), handoverEnd: end, forced: forced ?? false)
    }
}

/// A document that says something impossible. The text says what.
public struct WireError: Error, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
