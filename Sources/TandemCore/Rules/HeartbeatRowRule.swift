// The row `pgtandem.heartbeat`: the primary writes it about once a second, the standby reads in it how old its data is.

extension Node {
    /// The term with which this node writes the row now; nil: it does not. Only with authority (3), as anything that accepts writes. A paired
    /// primary that does not hear its standby leaves it: nobody reads it there, and what only a primary holds that is cut off makes a rewind
    /// necessary when it comes back.
    public func heartbeatRowTerm(at now: Instant) -> Term? {
        guard let ledger, postgres?.isOpen == true, hasAuthority(at: now) else { return nil }
        if ledger.bond == .paired, !peer.isHeard(within: policy.silence, at: now) { return nil }
        return ledger.term
    }

    mutating func noteRow(_ postgres: LocalPostgres, at now: Instant) {
        freshness.rowWasRead(postgres.isRecovering ? postgres.row : nil, at: now)
        guard let trouble = postgres.rowTrouble else { return rowTroubleSince = nil }
        let isNew = rowTroubleSince == nil
        rowTroubleSince = rowTroubleSince ?? now
        // A line of the log, at once; a remark only where it lasts.
        if isNew { notice(.info, "the heartbeat row cannot be \(postgres.isOpen ? "written" : "read"): \(trouble)") }
    }

    /// What a person should know of the row. Never a reason to fail over (`hazards.md` H63), and clients may meet the same.
    func rowRemarks(at now: Instant) -> [String] {
        var remarks: [String] = []
        if let trouble = postgres?.rowTrouble, let since = rowTroubleSince, now - since >= policy.rowPatience {
            let span = (now - since).text
            remarks.append(
                postgres?.isOpen == true
                    ? "the heartbeat row has not been written for \(span): \(trouble). Clients' writes may meet the same. Nothing fails over for it;"
                        + " until it is written again the standby's age is told by WAL positions alone"
                    : "the heartbeat row has not been read for \(span): \(trouble). The age of the data here is told by WAL positions alone"
            )
        }
        // Both of one reading: what has been replayed since makes no difference between clocks.
        if let shown = postgres?.row?.shownAge, let age = freshness.rowAge {
            let apart = shown - age
            if max(apart, .zero - apart) > policy.clockTolerance {
                remarks.append(
                    "`now() - at` of pgtandem.heartbeat shows \(shown.text) here, and the row was \(age.text) old: the hosts' clocks are apart, which"
                        + " misleads monitoring; nothing is decided by them")
            }
        }
        return remarks
    }
}
