extension Node {
    /// 4.7: the arbiter and L are changed only under `sole`, and with this primary's own next term: a claim may still be under way at the
    /// old arbiter (mistakes 19 and 23). nil: they are what the configuration wants.
    func pendingFrame() -> Ledger? {
        guard let ledger, ledger.arbiter != policy.arbiter || ledger.lease != policy.lease else { return nil }
        var next = ledger.renewed(above: ledger.term, besides: policy.peer)
        if flaw == .arbiterChangedInSameTerm {
            next = ledger
            next.step += 1
        }
        if flaw == .frameUnderPaired, ledger.bond == .paired {
            next = ledger
            next.step += 1
        }
        next.arbiter = policy.arbiter
        next.lease = policy.lease
        return next
    }

    mutating func keepFrame(_ primary: Primary, _ ledger: Ledger, at now: Instant) {
        guard ledger.bond == .sole || flaw == .frameUnderPaired, writing == nil, let next = pendingFrame() else { return }
        switch primary.pairing {
        case .idle, .retrying: break
        case .configuring, .confirming, .arming, .writing: return
        }
        notice(
            .info, "arbiter and lease follow the configuration",
            [.init("arbiter", next.arbiter.rawValue), .init("lease", next.lease.text)])
        write(next)
    }
}
