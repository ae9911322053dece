import TandemCore

// After the troubles: what is broken is mended, and what is promised must come true (L1, L2).

extension World {
    /// One primary, one standby, by a `paired` ledger that both have, each with its address, by the frame that both configurations want.
    package var isWhole: Bool { wholePrimary != nil }

    /// Both agents run with the same configuration, and no other one waits for a start.
    var configurationsAgree: Bool {
        let (one, other) = (a.node.policy, b.node.policy)
        return one.arbiter == other.arbiter && one.timing == other.timing && hosts.allSatisfy { $0.nextPolicy == nil }
    }

    var wholePrimary: SimHost? {
        hosts.first { first in
            let second = other(first)
            // What is most often wrong first: this is asked after everything that happens.
            return first.held == .init(primary: .all, standby: .none) && second.held == .init(primary: .none, standby: .all)
                && first.agentActs && second.agentActs && first.ledger == second.ledger && first.ledger?.bond == .paired
                && first.ledger?.primary == first.name && first.ledger?.arbiter == first.node.policy.arbiter
                && first.ledger?.lease == first.node.policy.lease && first.role == .primary && second.role == .standby
        }
    }

    /// L2: one host serves both roles.
    package func servesAlone(_ host: SimHost) -> Bool {
        host.held == .init(primary: .all, standby: .all) && host.role == .primaryStandby
    }

    /// Everything that was broken is mended; what takes a person is done by one.
    package func heal() {
        say("—", "everything is mended")
        for place in links.indices { links[place] = Link() }
        witness.failsToWrite = false
        startWitness()
        setWindows(.init())
        for host in hosts {
            host.isInHand = false
            host.isKeptOff = false
            host.failing = [:]
            host.repeating = 0
            host.slowness = 1
            host.streamIsThrottled = false
            host.isDelayed = false
            host.postgres.pausedAt = nil
            host.hasLowSettings = false
            host.isForeign = false
            host.hasOtherVersion = false
            tell(host, .configurationsCompared(differing: []))
            if host.seesGateway != nil { host.seesGateway = true }
            storageIsWell(host)
            if host.postgres.override != nil {
                host.postgres.override = nil
                host.postgres.awaitNow(host.postgres.settings.synchronous)
            }
            if case .hung(let open) = host.postgres.condition { host.postgres.condition = open ? .open : .recovering }
            thaw(host)
            ledgerIsBack(host)
            copyIsBack(host)
            if host.hungUntil != nil {
                host.hungUntil = nil
                workOff(host)
            }
            boot(host)
            host.hasExited = false
            if !host.agentRuns { later(.milliseconds(500), .startAgent(host.party)) }
            if let sees = host.seesGateway { tell(host, .gateway(isSeen: sees)) }
        }
        for host in hosts { greet(host) }
    }

    /// Until the pair is whole, with the help of a person where this version needs one (a branch that cannot follow is copied anew).
    package func settle(within span: Duration) { becomeWhole(within: span, limit: .max) }

    /// L1. The rest of the plan's ends may still come: they change nothing that is mended.
    func becomeWhole(within span: Duration, limit: Int) {
        let end = now + span.nanoseconds
        calmSince = now
        while violation == nil, steps < limit, now < end {
            run(until: min(end, now + 1_000_000_000), limit: limit) { $0.isWhole }
            if let primary = wholePrimary {
                run(until: now + 300_000_000, limit: limit)
                if isWhole { return judgeLoss(primary) }
                continue
            }
            helpAsAPerson()
        }
        if violation == nil, steps < limit {
            violate(
                .wholeAgain, "calm for \(span.text), and the pair is not whole: \(hosts.map(describe).joined(separator: "; "))")
        }
    }

    package func describe(_ host: SimHost) -> String {
        "\(host.name) is \(host.node.state.name), \(host.ledger.map(\.description) ?? "no ledger"), PostgreSQL \(host.postgres.condition),"
            + " holds primary \(host.held.primary.rawValue), standby \(host.held.standby.rawValue),"
            + " \(host.node.failoverReadiness(at: host.clock.now(now).boot).map(\.code))"
    }

    /// What is a person's part: a pause that is forgotten, a directory or a ledger that is gone, a branch that cannot follow (rejoin by
    /// itself comes with its own issue; until then a person joins such a host anew).
    private func helpAsAPerson() {
        // Who was told to stop, and did so only now.
        for host in hosts where host.hasExited && !host.agentRuns {
            host.hasExited = false
            startAgent(host)
        }
        for host in hosts where host.agentActs {
            if host.state == .primary, host.ledger?.paused != nil { ask(host, .resume) }
        }
        for host in hosts where needsJoining(host) {
            let peer = other(host)
            vouchForLost(host)
            // A person tries, and is told why not.
            if peer.agentActs, peer.state != .primary, !host.isInHand {
                ask(peer, .join(copy: CopyID(high: 9, low: UInt64(now))))
            }
            guard peer.agentActs, peer.state == .primary, peer.ledger?.bond == .sole, !host.isInHand else { continue }
            host.isInHand = true
            say("—", "somebody copies \(host.name) anew")
            if host.agentRuns { host.agentRuns = false }
            host.postgres.endAll()
            host.held = .init(primary: .none, standby: .none)
            host.guardian = SimGuard(life: host.guardian.life + 1)
            later(.milliseconds(300), .join(host.party))
        }
    }

    /// A host without its ledger or its data can consent to nothing, and where the witness cannot either, a person has to.
    private func vouchForLost(_ host: SimHost) {
        let peer = other(host)
        // Both halves of a lost record are wanted (3.3), and one of them is with a host whose directory is another one.
        let isUndecided = host.state == .halted && witness.record == nil || host.isKeptOff
        guard host.isLedgerDamaged || host.mark == nil || isUndecided, peer.agentActs, !peer.isLedgerDamaged, peer.mark != nil
        else { return }
        // Its directory was lost while it asked the other one to step out of the bond: it alone may go on, and cannot.
        let isStranded = host.mark == nil && peer.ledger?.primary == host.name && peer.ledger?.bond == .sole
        if peer.ledger?.bond == .paired || isStranded, now - calmSince > 40_000_000_000 {
            if host.isUp {
                say("—", "somebody switches \(host.name) off, and says so")
                powerOff(host)
                host.isKeptOff = true
            }
            if isStranded, witness.record?.primary == host.name {
                say("—", "somebody has the witness forget its record")
                forgetRecord()
                startWitness()
            }
            ask(peer, .failover(acceptDataLoss: true))
        } else if host.isKeptOff {
            host.isKeptOff = false
            boot(host)
        }
    }

    private func needsJoining(_ host: SimHost) -> Bool {
        if host.isLedgerDamaged || host.mark == nil || host.ledger == nil { return true }
        if host.state == .halted { return true }
        return false
    }

    func join(_ host: SimHost) {
        let peer = other(host)
        guard host.isUp, peer.agentActs else {
            host.isInHand = false
            return
        }
        let copy = CopyID(high: UInt64(host.party.rawValue + 1), low: UInt64(now))
        let id = command(peer, .join(copy: copy))
        // The answer takes a write of the ledger.
        run(until: now + 400_000_000, limit: .max)
        guard case .done? = peer.answers[id]?.last, let ledger = peer.ledger else {
            host.isInHand = false
            return
        }
        if host.mark != nil { judgeReplacement(host, "is copied anew") }
        host.copy = copy
        host.mark = .init(copy: copy, node: host.name)
        host.postgres.wal = peer.postgres.wal
        host.postgres.timeline = peer.postgres.timeline
        host.ledger = ledger
        host.notes = Notes()
        host.isLedgerDamaged = false
        host.isInHand = false
        startAgent(host)
    }
}
