// Small tools for the states: orders to the shell, and ledgers on their way to the disk.

extension Node {
    mutating func nextOperation() -> OperationID {
        operations += 1
        return OperationID(operations)
    }

    mutating func order(_ effect: Effect) { effects.append(effect) }

    /// The one place where a state is entered.
    mutating func enter(_ next: State, because cause: Cause) {
        transitions.append(Transition(state.kind, next.kind, cause))
        answerWhoWaited(next.kind, cause)
        // What a person asked of the standby ends with that.
        if next.kind != .standby { rejoin.asked = nil }
        state = next
    }

    /// Nobody is left without an answer by a state that is left for another reason than its own end.
    private mutating func answerWhoWaited(_ next: State.Kind, _ cause: Cause) {
        let why = Refusal.busy("this node is \(next.rawValue) now (\(cause.rawValue)): look at `pgtandem status`")
        switch state {
        case .promoting(let promoting):
            if case .failover(let id, _) = promoting.reason, next != .primary { refuse(id, [why]) }
        case .handingOver(let handing):
            let isOwnEnd = cause == .handedOver || cause == .handoverRefused || cause == .startedHere
            if case .planned(let id?) = handing.reason, !isOwnEnd { refuse(id, [why]) }
        case .waiting, .standby, .primary, .stopping, .halted: break
        }
    }

    mutating func notice(_ level: Notice.Level, _ text: String, _ facts: [Notice.Fact] = []) {
        var all = facts
        if let ledger {
            all.append(.init("term", ledger.term))
            all.append(.init("step", ledger.step))
        }
        effects.append(.notice(Notice(level, text, all)))
    }

    /// Puts a newer ledger on its way to the disk. Nothing that relies on it may happen before `ledgerWritten`.
    mutating func write(_ newer: Ledger) {
        guard newest.map({ newer.isNewer(than: $0) }) ?? true || flaw == .noStep && newer != newest else { return }
        writing = newer
        // A handover of this node's own carries the note with it: durable together.
        var notes = notes
        // An instance that somebody promoted ends elsewhere than it says.
        if newer.primary == policy.peer, newer.handoverEnd != nil, !isForeign { notes.follows = newer.handoverEnd }
        notesOrdered = notes
        effects.append(.writeLedger(newer, notes))
    }

    /// The newest ledger that this node knows, durable or not: what a newer one is measured against.
    var newest: Ledger? { writing ?? ledger }

    /// The boot rule of 4.3 rests on this: that the peer was heard, in this boot, to agree with the ledger here.
    mutating func notePeerHeard(at now: Instant) {
        guard notes.peerHeardIn != boot, let ledger, peer.agrees(with: ledger), peer.isHeard(within: policy.silence, at: now)
        else { return }
        notes.peerHeardIn = boot
    }

    /// The same ledger once more, whenever this node's notes are other ones than those that were written with it last.
    mutating func keepNotes(at now: Instant) {
        guard writing == nil, let ledger, notes != notesOrdered, now >= notesNotBefore ?? now else { return }
        notesOrdered = notes
        effects.append(.writeLedger(ledger, notes))
    }
}
