import TandemCore

/// What was broken, and when.
package struct Violation: Hashable, Sendable {
    package enum Rule: String, Hashable, Sendable, Codable {
        case oneWriter = "S1"
        case terms = "S2"
        case synchronousLoss = "S3"
        case asynchronousLoss = "S4"
        case oneAddress = "S5"
        case onlyData = "S6"
        case wholeAgain = "L1"
        case survivorServes = "L2"
        /// Two contents of one number (5.6).
        case contradiction = "5.6"
        case order = "9"
        /// A change of state that is not in the table.
        case table
    }
    package var rule: Rule
    package var text: String
    package var at: Int64
    package init(rule: Rule, text: String, at: Int64) {
        self.rule = rule
        self.text = text
        self.at = at
    }
}

/// What clients were told, and what must be true of it.
struct Checker {
    struct Acknowledged {
        var commit: Int32
        var at: Int64
        var by: Party
    }
    var acknowledged: [Acknowledged] = []
    var count = 0
    /// Whose term it is.
    var terms: [UInt64: NodeName] = [:]
    /// Terms that were taken over as a handover: who opens then has everything, also once its ledger says `sole` and forgets where that ends.
    var handedOver: Set<UInt64> = []
    /// The newest commit that readers at the primary address have seen: whatever is seen stays (5.3).
    var read: Int32?
    /// Not after somebody's own synchronous_standby_names, until the pair is whole again.
    var readsCount = true
    /// When the witness last supported each as primary.
    var supportedAt: [Int64] = [0, 0]
    /// Who was made primary last.
    var openedLast = Party.a

    /// What a primary acknowledged before the witness last supported it is bounded by the lag limit (S4).
    mutating func supported(_ request: WitnessRequest, before: Ledger?, at now: Int64) {
        if case .heartbeat(let ledger, _) = request.kind, let before, !before.isNewer(than: ledger) {
            supportedAt[request.node == "b" ? 1 : 0] = now
        }
    }
}

extension World {
    func violate(_ rule: Violation.Rule, _ text: String) {
        guard violation == nil else { return }
        violation = Violation(rule: rule, text: text, at: now)
        say("VIOLATION", "\(rule.rawValue): \(text)")
    }

    /// After everything that happens.
    func inspect() {
        if a.ledger?.forced ?? (a.lost != nil) || b.ledger?.forced ?? (b.lost != nil) { standBy() }
        if a.isAccepting, b.isAccepting { violate(.oneWriter, "both hosts accept writes") }
        if a.held.primary != .none, b.held.primary != .none, a.isAlive, b.isAlive, !a.guardMustRun, !b.guardMustRun {
            violate(.oneAddress, "both hosts hold the primary address")
        }
    }

    /// A ledger has become durable somewhere.
    func note(_ ledger: Ledger, at place: String) {
        if let owner = check.terms[ledger.term.number] {
            if owner != ledger.primary {
                violate(.terms, "term \(ledger.term) belongs to \(owner), and at \(place) \(ledger) names \(ledger.primary)")
            }
        } else {
            check.terms[ledger.term.number] = ledger.primary
        }
    }

    func persist(_ host: SimHost, _ ledger: Ledger, _ notes: Notes) {
        if let old = host.ledger, old.isNewer(than: ledger) {
            violate(.terms, "\(host.name) writes \(ledger) over the newer \(old)")
        }
        if host.ledger != ledger, ledger.handoverEnd != nil, ledger.primary != host.name, host.postgres.acceptsWrites {
            violate(.order, "\(host.name) gives the role away by \(ledger) while its PostgreSQL runs")
        }
        if ledger.handoverEnd != nil, ledger.primary == host.name { check.handedOver.insert(ledger.term.number) }
        if host.ledger != ledger { say(host.name.text, "its ledger is now \(ledger)") }
        host.ledger = ledger
        host.notes = notes
        // A new file stands in the place of the damaged one.
        host.isLedgerDamaged = false
        note(ledger, at: host.name.text)
    }

    func acknowledge(_ commit: Int32, _ host: SimHost) {
        check.count += 1
        // Somebody's own synchronous_standby_names: what that acknowledges was never promised.
        if host.postgres.override != nil { return }
        // Nor what an instance acknowledges that somebody promoted by hand where another one is primary.
        if setup.mode == .asynchronous, !host.postgres.openedByAgent { return }
        check.acknowledged.append(.init(commit: commit, at: now, by: host.party))
        let peer = other(host)
        // Somebody else was made primary meanwhile: what is acknowledged here must be there. Not so if this one has the role by a newer
        // ledger, and somebody's promotion by hand came before its agent's.
        let isGranted =
            host.ledger.map { own in own.primary == host.name && peer.ledger.map(own.isNewer(than:)) != false } ?? false
        if setup.mode == .synchronous, !isGranted, check.openedLast == peer.party, peer.isUp, peer.postgres.condition == .open,
            peer.postgres.openedByAgent,
            !peer.postgres.wal.contains(commit)
        {
            violate(
                .synchronousLoss, "\(host.name) acknowledges commit \(commit), which \(peer.name), primary by now, does not have")
        }
    }

    /// An instance accepts writes from now on: it must have everything that was acknowledged.
    func opened(_ host: SimHost, _ how: String) {
        // A machine that goes on after a pause may still do what was ordered before it, until its guard has run (3.2).
        if host.guardMustRun { return }
        check.openedLast = host.party
        say(host.name.text, "PostgreSQL \(how), with \(host.postgres.wal.count) records")
        let here = Set(host.postgres.wal)
        if setup.mode == .synchronous, check.readsCount, let read = check.read, !here.contains(read) {
            if host.ledger?.forced != true {
                violate(.synchronousLoss, "\(host.name) \(how) without commit \(read), which clients have read")
            }
            check.read = nil
        }
        let lost = check.acknowledged.filter { !here.contains($0.commit) }
        guard let first = lost.first else { return }
        if host.ledger?.forced == true || host.node.ledger?.forced == true {
            // A person accepted it.
            check.acknowledged.removeAll { !here.contains($0.commit) }
            return
        }
        switch setup.mode {
        case .synchronous:
            violate(
                .synchronousLoss,
                "\(host.name) \(how) without \(lost.count) acknowledged commits, the first is \(first.commit), acknowledged by \(first.by)"
            )
        case .asynchronous:
            judgeAsynchronousLoss(lost, host, how)
            check.acknowledged.removeAll { !here.contains($0.commit) }
        }
    }

    /// S6, as far as the model goes: asked before the first byte of a rewind, before a new copy takes the place of what was there, and before
    /// a person copies a host anew. The other directory must be whole and serve, its node be primary by a ledger that is on disk, and nothing
    /// acknowledged may stand in this directory alone (in asynchronous mode, S4 says what may be lost).
    func judgeReplacement(_ host: SimHost, _ how: String) {
        let peer = other(host)
        guard peer.mark?.node == peer.name, peer.aside == nil else {
            return violate(.onlyData, "the directory of \(host.name) \(how), and the one of \(peer.name) is not whole")
        }
        guard let ledger = peer.ledger ?? peer.lost?.ledger, ledger.primary == peer.name else {
            return violate(.onlyData, "the directory of \(host.name) \(how), and \(peer.name) is not primary by its ledger")
        }
        if peer.postgres.condition != .open || !peer.postgres.openedByAgent {
            return violate(.onlyData, "the directory of \(host.name) \(how), and PostgreSQL of \(peer.name) does not serve")
        }
        guard setup.mode == .synchronous else { return }
        let here = Set(host.postgres.wal), there = Set(peer.postgres.wal)
        if let only = check.acknowledged.first(where: { here.contains($0.commit) && !there.contains($0.commit) }) {
            violate(.onlyData, "the directory of \(host.name) \(how), and commit \(only.commit) is nowhere else")
        }
    }

    /// Its directory becomes like the other one's. What it had acknowledged when that one opened was judged then; what it acknowledged later
    /// is a machine's that did not run (S1), and in asynchronous mode its loss is what S4 allows: no handover's that comes later.
    func abandonBranch(_ host: SimHost) {
        guard setup.mode == .asynchronous else { return }
        let there = Set(other(host).postgres.wal)
        check.acknowledged.removeAll { $0.by == host.party && !there.contains($0.commit) }
    }

    /// S4: at most the lag limit, and what was acknowledged after the others last heard the primary; nothing by a handover.
    private func judgeAsynchronousLoss(_ lost: [Checker.Acknowledged], _ host: SimHost, _ how: String) {
        if let ledger = host.ledger, check.handedOver.contains(ledger.term.number) {
            return violate(.asynchronousLoss, "\(host.name) \(how) after a handover without \(lost.count) acknowledged commits")
        }
        guard host.ledger?.arbiter == .witness else { return }
        let limit = Int(host.node.policy.promoteLimit.bytes) / 100
        let heartbeat = host.node.policy.heartbeat.nanoseconds
        // What the standby and the witness had heard of must be within the limit; a little more was under way with the last heartbeat.
        let bound = check.supportedAt[other(host).party.rawValue] - 2 * heartbeat
        let known = lost.filter { $0.at < bound }
        if known.count > limit + 20 {
            violate(
                .asynchronousLoss,
                "\(host.name) \(how) without \(known.count) commits that the witness had heard of; the limit is \(limit)")
        }
    }

    /// At the end of a calm phase: nothing that was acknowledged is missing.
    func judgeLoss(_ primary: SimHost) {
        let here = Set(primary.postgres.wal)
        if setup.mode == .synchronous, let first = check.acknowledged.first(where: { !here.contains($0.commit) }) {
            violate(.synchronousLoss, "\(primary.name) is primary, and lacks commit \(first.commit), acknowledged by \(first.by)")
        }
        check.acknowledged.removeAll()
        check.read = nil
        check.readsCount = true
    }
}
