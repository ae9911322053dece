// What a person is told about the pair, beside its state.

extension Node {
    /// Would a failover succeed right now, apart from the arbiter's word? Empty: yes.
    public func failoverReadiness(at now: Instant) -> [RefusalNote] {
        switch state {
        case .standby:
            // With `manual`, what a person's word would be refused for besides.
            let doubts: [Refusal] = lends || notes.peerHeardIn == boot ? [] : [.notToldPairedSinceBoot]
            return (standbyRefusals(at: now) + doubts).map(\.note)
        case .primary, .handingOver:
            guard let ledger else { return [Refusal.noLedger.note] }
            var reasons: [RefusalNote] = ledger.bond == .paired ? [] : [Refusal.notPaired(ledger).note]
            guard let report = peer.report, peer.isHeard(within: policy.silence, at: now) else {
                return reasons + [Refusal.peerSilent(peer.silence(at: now)).note]
            }
            if ledger.bond == .paired { reasons += report.refusals }
            return reasons
        case .waiting, .promoting, .stopping, .halted:
            return [Refusal.busy("this node is \(state.name)").note]
        }
    }

    /// What a person should know besides: one sentence each.
    public func remarks(at now: Instant) -> [String] {
        var remarks: [String] = []
        if case .halted(let halted) = state { remarks.append(halted.reason.text) }
        if case .waiting = state, ledger == nil { remarks.append(Refusal.noLedger.text) }
        if case .waiting = state, let ledger, ledger.primary == policy.node, ledger.bond == .paired {
            remarks.append(
                "waiting for \(policy.peer): this node was the paired primary \(ledger), and may not open before the other one is heard,"
                    + (lends
                        ? " or the witness" : " or a person vouches that it is off (`pgtandem failover --peer-is-down`)"))
        }
        if let postgres, case .unusable(let why) = postgres.condition { remarks.append(why) }
        if case .standby = state, let ledger, let postgres, postgres.condition == .stopped, postgres.copy?.node != policy.node {
            remarks.append(Refusal.otherCopy(ledger: ledger.standbyCopy, here: postgres.copy?.copy).text)
        }
        if case .standby = state, let remark = rejoinRemark { remarks.append(remark) }
        remarks += storageRemarks(at: now)
        if let why = guardian.failure { remarks.append(why) }
        if let why = instance.failure, postgres?.isRunning != true { remarks.append(why) }
        if held.primary != .all, let why = addresses.primaryFailure { remarks.append(why) }
        if held.standby != .all, let why = addresses.standbyFailure { remarks.append(why) }
        if case .differs(let keys, _) = configuration { remarks.append(Refusal.configurationsDiffer(keys).text) }
        if let remark = failbackRemark(at: now) { remarks.append(remark) }
        if let remark = readRemark(at: now) { remarks.append(remark) }
        remarks += rowRemarks(at: now)
        if case .primary(let primary) = state {
            if let parting = primary.parting {
                remarks.append(
                    "asking \(policy.peer) to step out of the bond: \(parting.reason.text); commits may wait until it answers")
            } else if ledger?.bond == .paired, !peer.isHeard(within: policy.silence, at: now), policy.mode == .synchronous {
                remarks.append(
                    "\(policy.peer) is silent and may still be promoted, so commits wait for it"
                        + (lends
                            ? "; the witness is asked to let this node go on alone"
                            : "; if it is off and stays off, say so: `pgtandem failover --peer-is-down`"))
            }
            if case .no(let refusals) = mayPair(at: now).verdict, ledger?.bond == .sole {
                remarks.append("not paired yet: \(refusals.map(\.text).joined(separator: "; "))")
            }
        }
        return remarks
    }
}
