import TandemCore

/// Makes entries of the history out of what the core goes through. A value without I/O: fed with every step, it answers with an entry when a
/// change has come to its end.
struct HistoryBook: Sendable {
    private var open: Change?
    /// The role that was reached last.
    private var role = Role.none
    /// When a heartbeat last said that the other node accepts writes; or this one did.
    private var served: Instant?
    private var heard: LSN?

    private struct Change: Sendable {
        var began: Instant
        var wall: String
        var from: Role
        var cause: Cause
        var why: String
        var evidence: [String] = []
        /// What was done from when on.
        var marks: [(name: String, at: Instant)] = []
        var wal = HistoryEntry.WAL()
        var before: Ledger?
        var mode: Policy.ReplicationMode
        var isTakenOver = false
    }

    /// A change that does not end is told all the same.
    private static let patience = Duration.seconds(600)

    /// - Parameter wall: the time of the day, asked for only when a change begins.
    mutating func observe(_ before: Node, _ after: Node, _ effects: [Effect], at now: Instant, wall: () -> String)
        -> HistoryEntry?
    {
        if let transition = after.transitions.first, open == nil { begin(transition, before, after, at: now, wall()) }
        // Who serves now is looked at after the beginning: a change is measured from what was before it.
        note(after, at: now)
        guard open != nil else { return nil }
        follow(before, after, effects, at: now)
        return end(after, at: now)
    }

    private mutating func note(_ node: Node, at now: Instant) {
        let accepts = node.role == .primary || node.role == .primaryStandby
        if accepts, node.held.primary == .all, open == nil { served = now }
        guard let report = node.peer.report, let at = node.peer.heardAt else { return }
        if report.role == .primary || report.role == .primaryStandby {
            served = max(served ?? at, at)
            heard = report.postgres.flushed ?? heard
        }
    }

    private mutating func begin(_ transition: Transition, _ before: Node, _ after: Node, at now: Instant, _ wall: String) {
        let row = TransitionTable.rows.first { $0.transition == transition }
        var change = Change(
            began: now, wall: wall, from: role, cause: transition.cause, why: row?.reason ?? transition.cause.rawValue,
            before: before.ledger, mode: after.policy.mode)
        switch transition.cause {
        case .granted, .word:
            // What came before is the silence of the other node.
            if let silence = before.peer.silence(at: now) {
                change.marks.append(("detection", now - silence))
                change.evidence.append("nothing was heard from \(after.policy.peer) for \(silence.text)")
            }
            if let record = after.arbiter.last?.record, transition.cause == .granted {
                change.evidence.append("the witness's record is \(record)")
            }
            change.isTakenOver = true
            change.wal.heard = [heard, before.arbiter.last?.position].compactMap(\.self).max()?.description
            change.wal.received = before.postgres?.received?.description
        case .handoverTaken:
            change.wal.heard = after.newestHandoverEnd?.description
        default: break
        }
        if let note = after.peer.report?.storage { change.evidence.append("\(after.policy.peer): \(note.text)") }
        if let ledger = before.ledger { change.evidence.append("the ledger before was \(ledger)") }
        open = change
    }

    private mutating func follow(_ before: Node, _ after: Node, _ effects: [Effect], at now: Instant) {
        for transition in after.transitions {
            // Of several the last one says where it led; the first one says why it began.
            switch transition.to {
            case .handingOver: mark("handing over", at: now)
            case .promoting: mark("promotion", at: now)
            case .primary: mark("address", at: now)
            case .standby: mark("following", at: now)
            case .waiting: mark("waiting", at: now)
            case .stopping: mark("stopping", at: now)
            case .halted: mark("halted", at: now)
            }
        }
        for case .notice(let notice) in effects where (open?.evidence.count ?? 0) < 12 { open?.evidence.append(notice.text) }
        for case .recordLineage(_, _, _, let fork, let timeline) in effects {
            open?.wal.fork = fork.description
            open?.wal.timeline = timeline
        }
    }

    private mutating func mark(_ name: String, at now: Instant) {
        if open?.marks.last?.name != name { open?.marks.append((name, now)) }
    }

    private mutating func end(_ node: Node, at now: Instant) -> HistoryEntry? {
        guard let change = open else { return nil }
        let isSettled: Bool
        switch node.state {
        case .primary: isSettled = node.held.primary == .all && node.postgres?.isOpen == true
        case .standby: isSettled = node.role == .standby
        case .stopping(let stopping): isSettled = stopping.phase == .ended || stopping.phase == .leftAsItIs
        case .halted: isSettled = true
        case .waiting, .promoting, .handingOver: isSettled = false
        }
        guard isSettled || now - change.began > Self.patience else { return nil }
        open = nil
        let (from, to) = (change.from, node.role)
        role = to
        let isPrimary = to == .primary || to == .primaryStandby
        // A start that came to nothing, or a state that was only passed through, changed no role.
        guard from != to || isPrimary else { return nil }
        let start = change.marks.first?.at ?? change.began
        var entry = HistoryEntry(
            at: change.wall, node: node.policy.node.text, kind: .role, from: from.rawValue, to: to.rawValue,
            cause: change.cause.rawValue, why: change.why, evidence: change.evidence, took_ms: (now - start).milliseconds)
        (entry.term, entry.step, entry.bond) = (node.ledger?.term.number, node.ledger?.step, node.ledger?.bond.rawValue)
        for (place, mark) in change.marks.enumerated() {
            let until = place + 1 < change.marks.count ? change.marks[place + 1].at : now
            entry.phases.append(.init(mark.name, (until - mark.at).milliseconds))
        }
        if isPrimary {
            // An agent that only started again has interrupted nobody.
            if change.cause != .adopted { entry.writes_out_ms = served.map { (now - $0).milliseconds } }
            entry.lost = Self.lost(change, node)
            served = now
        }
        if change.wal != .init() { entry.wal = change.wal }
        return entry
    }

    /// What can be missing here of what clients were told is safe (S3, S4).
    private static func lost(_ change: Change, _ node: Node) -> HistoryEntry.Lost? {
        if node.ledger?.forced == true, change.cause == .word {
            return .init(
                .unknown,
                "a person accepted the loss of whatever the other host had acknowledged alone; it is told when that host comes back"
            )
        }
        guard change.isTakenOver else { return .init(.no, "nothing") }
        guard change.mode == .asynchronous else {
            return .init(.no, "nothing that was acknowledged: this node held every acknowledged commit (`synchronous`, paired)")
        }
        let known = LSN(change.wal.heard ?? ""), received = LSN(change.wal.received ?? "")
        let bytes = known.flatMap { known in received.map { $0.behind(known) } }
        let span = node.ledger.map { $0.arbiter.lends ? "in the last \($0.lease.text)" : "since it was last heard" } ?? ""
        return .init(
            .possible,
            "`asynchronous`: \(bytes.map { "\($0) bytes of WAL that the primary was heard to have" } ?? "an unknown amount of WAL"),"
                + " and what it wrote \(span); the exact answer comes with the other host's return", bytes: bytes)
    }
}

extension Node {
    fileprivate var newestHandoverEnd: LSN? {
        if case .promoting(let promoting) = state, case .handover(let handover) = promoting.reason { return handover.handoverEnd }
        return ledger?.handoverEnd
    }
}
