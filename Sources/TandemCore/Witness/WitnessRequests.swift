// The four requests of 3.3, and the way back of a record that was lost.

extension Witness {
    mutating func obey(_ request: WitnessRequest, from sender: SessionID, at now: Moment) -> [Effect] {
        func answer(promised: Duration? = nil) -> [Effect] {
            let answer = WitnessAnswer(
                number: request.number, generation: generation, record: record, promised: promised, position: position)
            return [.answer(answer, to: request.node, .init(sender: session, receiver: sender))]
        }
        guard let record else {
            // A lost record answers nothing but `read` until it is written anew.
            if flaw == .emptyWitnessGrants, case .claim(_, let granted) = request.kind {
                return write(granted, for: request, sender, at: now)
            }
            guard case .establish(let ledger, let empty) = request.kind, empty == session else { return answer() }
            return establish(ledger, request, sender, at: now)
        }
        switch request.kind {
        case .read:
            return answer()
        case .establish:
            // Written anew by now.
            return answer()
        case .heartbeat(let ledger, let place):
            guard ledger.primary == request.node, ledger.cluster == record.cluster,
                !record.isNewer(than: ledger) && !record.contradicts(ledger) || flaw == .lateRecordOverwrites
            else { return answer() }
            if ledger != record {
                return write(ledger, for: request, sender, promised: ledger.lease, position: place, at: now)
            }
            promise = (now + ledger.lease).extended(to: promise)
            position = place ?? position
            return answer(promised: ledger.lease)
        case .sole(let ledger):
            let wanted = ledger.sole()
            guard record != wanted else { return answer() }
            guard ledger.primary == request.node, ledger.bond == .paired, ledger.cluster == record.cluster,
                !record.isNewer(than: ledger), !record.contradicts(ledger)
            else { return answer() }
            return write(wanted, for: request, sender, at: now)
        case .claim(let ledger, let granted):
            guard record != granted else { return answer() }
            guard mayGrant(ledger, granted, to: request.node, over: record, at: now) else { return answer() }
            return write(granted, for: request, sender, at: now)
        }
    }

    private func mayGrant(_ ledger: Ledger, _ granted: Ledger, to node: NodeName, over record: Ledger, at now: Moment) -> Bool {
        guard ledger.bond == .paired, ledger.primary != node, ledger.cluster == record.cluster, let copy = ledger.standbyCopy,
            !record.isNewer(than: ledger), !record.contradicts(ledger)
        else { return false }
        guard granted.primary == node, granted.bond == .sole, granted.step == 1, granted.began == nil,
            granted.primaryCopy == copy, !granted.forced,
            granted.cluster == ledger.cluster, granted.term == ledger.term.next(for: node, besides: ledger.primary)
        else { return false }
        return flaw == .witnessForgetsPromise || !(promise?.isKept(at: now) ?? false)
    }

    /// By a `sole` primary (that has taken its next term first), or by both nodes with equal ledgers, each naming this session (3.3).
    private mutating func establish(_ ledger: Ledger, _ request: WitnessRequest, _ sender: SessionID, at now: Moment) -> [Effect]
    {
        let reading = WitnessAnswer(number: request.number, generation: generation, record: nil)
        let silent: [Effect] = [.answer(reading, to: request.node, .init(sender: session, receiver: sender))]
        switch ledger.bond {
        case .sole:
            guard ledger.primary == request.node else { return silent }
            return write(ledger, for: request, sender, at: now)
        case .paired:
            proposals[request.node] = ledger
            guard nodes.allSatisfy({ proposals[$0] == ledger }) else { return silent }
            // Whoever is primary may hold a lease of the witness that was lost.
            return write(ledger, for: request, sender, promise: now + ledger.lease, at: now)
        }
    }

    private mutating func write(
        _ ledger: Ledger, for request: WitnessRequest, _ sender: SessionID, promised: Duration? = nil, promise: Moment? = nil,
        position: LSN? = nil, at now: Moment
    ) -> [Effect] {
        let given = promised.map { now + $0 } ?? promise
        // Counted from now, although it is given only with the answer: a promise that is too long costs an outage, never safety.
        if let given { self.promise = given.extended(to: self.promise) }
        writing = Pending(
            record: ledger, node: request.node, to: sender,
            answer: WitnessAnswer(
                number: request.number, generation: generation, record: ledger, promised: promised,
                position: position ?? self.position),
            promise: given, position: position)
        return [.persist(ledger)]
    }
}
