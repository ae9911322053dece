import TandemCore

extension World {
    /// A trouble that begins now.
    package func strike(_ kind: Fault.Kind, lasting span: Duration = .zero) {
        begin(Fault(id: 0, at: .zero, lasts: span, kind: kind))
    }

    func begin(_ fault: Fault) {
        say("—", fault.kind.text)
        switch fault.kind {
        case .cut(let from, let to): links[index(from, to)].cuts += 1
        case .cutBoth(let one, let two): for pair in [(one, two), (two, one)] { links[index(pair.0, pair.1)].cuts += 1 }
        case .isolate(let party): eachLink(of: party) { $0.cuts += 1 }
        case .badLink(let from, let to, let loss, let twice, let late):
            links[index(from, to)].loss = loss
            links[index(from, to)].twice = twice
            links[index(from, to)].late = late
        case .slowLink(let from, let to, let by): links[index(from, to)].slow = by
        case .stall(let from, let to): links[index(from, to)].stalls += 1
        case .agentDies(let party): agentDies(host(party))
        case .agentHangs(let party):
            let host = host(party)
            if host.agentRuns { host.hungUntil = now + fault.lasts.nanoseconds }
        case .guardDies(let party): guardDies(host(party))
        case .agentAndGuardDie(let party):
            guardDies(host(party), tells: false)
            agentDies(host(party))
        case .powerOff(let party): powerOff(host(party))
        case .bothPowerOff: for host in hosts { powerOff(host) }
        case .freeze(let party): if host(party).isUp { host(party).isFrozen = true }
        case .slew(let party, let rate): host(party).clock.change(now, slew: rate)
        case .postmasterDies(let party, let orphans): postmasterDies(host(party), orphans)
        case .postgresHangs(let party): postgresHangs(host(party))
        case .replicaLags(let party): host(party).streamIsThrottled = true
        case .effectsFail(let party, let kind, let count): host(party).failing[kind, default: 0] += count
        case .effectsRunTwice(let party, let count): host(party).repeating += count
        case .slowDisk(let party): host(party).slowness = 10
        case .gatewayLost(let party):
            for host in hosts { host.seesGateway = host.party != party }
        case .storageFails(let party, let fault): storageFails(host(party), fault)
        case .namesOverridden(let party):
            let host = host(party)
            host.postgres.override = ""
            check.readsCount = false
            if host.postgres.condition == .open { host.postgres.awaitNow(nil) }
        case .diskLost(let party): dataIsGone(host(party), replaced: false)
        case .copyReplaced(let party): dataIsGone(host(party), replaced: true)
        case .copySwapped(let party): swapCopy(host(party))
        case .ledgerDamaged(let party):
            if mayLose(host(party)) { host(party).isLedgerDamaged = true }
        case .ledgerLost(let party): ledgerIsLost(host(party))
        case .restartedByHand(let party): restartedByHand(host(party))
        case .delayed(let party): host(party).isDelayed = true
        case .replayPaused(let party): host(party).postgres.pauseReplay()
        case .settingsLowered(let party): host(party).hasLowSettings = true
        case .configurationsDiffer: for host in hosts { tell(host, .configurationsCompared(differing: ["limits.promote.bytes"])) }
        case .anotherDatabase(let party): host(party).isForeign = true
        case .anotherVersion(let party): host(party).hasOtherVersion = true
        case .witnessDies: witness.isRunning = false
        case .witnessForgets: forgetRecord()
        case .witnessDiskFull: witness.failsToWrite = true
        case .switchover(let party): ask(host(party), .switchover(to: nil, dryRun: random.chance(10)))
        case .peerIsDown(let party, let accept): vouch(host(party), accept)
        case .pause(let party, let maintenance): ask(host(party), .pause(maintenance: maintenance))
        case .resume(let party): ask(host(party), .resume)
        case .rejoinAsked(let party, let fresh): ask(host(party), .rejoin(fresh: fresh))
        case .failbackCancelled(let party): ask(host(party), .cancelFailback)
        case .windowsClosed: setWindows(.init(rejoin: false, failback: false))
        case .agentStopped(let party):
            let host = host(party)
            if host.agentActs {
                host.isInHand = true
                feed(host, .stopRequested)
            }
        case .promotedByHand(let party):
            let host = host(party)
            if host.isAlive, host.postgres.condition == .recovering {
                host.postgres.wal.append(-nextCommit)
                nextCommit += 1
                host.postgres.timeline += 1
                host.postgres.condition = .open
                host.postgres.openedByAgent = false
                host.postgres.start += 1
            }
        case .addressRemoved(let party):
            let host = host(party)
            host.held = .init(primary: .none, standby: .none)
            tell(host, .addresses(host.held))
        case .frameChanges(let arbiter, let timing): changeFrame(arbiter, timing)
        }
        if fault.lasts > .zero { later(fault.lasts, .end(fault)) }
    }

    func end(_ fault: Fault) {
        switch fault.kind {
        case .cut(let from, let to): uncut(index(from, to))
        case .cutBoth(let one, let two): for pair in [(one, two), (two, one)] { uncut(index(pair.0, pair.1)) }
        case .isolate(let party): eachLink(of: party) { $0.cuts = max(0, $0.cuts - 1) }
        case .badLink(let from, let to, _, _, _): links[index(from, to)] = Link(cuts: links[index(from, to)].cuts)
        case .slowLink(let from, let to, _): links[index(from, to)].slow = .zero
        case .stall(let from, let to): unstall(from, to)
        case .ledgerLost(let party): ledgerIsBack(host(party))
        case .copySwapped(let party): copyIsBack(host(party))
        case .agentHangs(let party):
            let host = host(party)
            if let until = host.hungUntil, until <= now {
                host.hungUntil = nil
                if !host.isFrozen { workOff(host) }
            }
        case .powerOff(let party): boot(host(party))
        case .bothPowerOff:
            let first = random.pick(hosts)
            boot(first)
            later(random.span(.zero, .seconds(6)), .boot(other(first).party))
        case .freeze(let party): thaw(host(party))
        case .slew(let party, _): host(party).clock.change(now, slew: 0)
        case .postgresHangs(let party):
            if case .hung(let open) = host(party).postgres.condition {
                host(party).postgres.condition = open ? .open : .recovering
            }
        case .replicaLags(let party): host(party).streamIsThrottled = false
        case .slowDisk(let party): host(party).slowness = 1
        case .delayed(let party): host(party).isDelayed = false
        case .replayPaused(let party): host(party).postgres.pausedAt = nil
        case .settingsLowered(let party): host(party).hasLowSettings = false
        case .configurationsDiffer: for host in hosts { tell(host, .configurationsCompared(differing: [])) }
        case .anotherDatabase(let party): host(party).isForeign = false
        case .anotherVersion(let party): host(party).hasOtherVersion = false
        case .gatewayLost: for host in hosts { host.seesGateway = true }
        case .storageFails(let party, _): storageIsWell(host(party))
        case .namesOverridden(let party):
            let host = host(party)
            host.postgres.override = nil
            host.postgres.awaitNow(host.postgres.settings.synchronous)
        case .witnessDies, .witnessForgets: startWitness()
        case .witnessDiskFull: witness.failsToWrite = false
        case .peerIsDown(let party, _): vouchedHostComesBack(other(host(party)), fault)
        case .agentStopped(let party):
            let host = host(party)
            host.isInHand = false
            host.hasExited = false
            startAgentIfDue(host)
        case .effectsFail(let party, let kind, _): host(party).failing[kind] = nil
        case .windowsClosed: setWindows(.init())
        case .agentDies, .guardDies, .agentAndGuardDie, .postmasterDies, .effectsRunTwice, .diskLost, .copyReplaced,
            .ledgerDamaged, .switchover, .pause, .resume, .promotedByHand, .restartedByHand, .addressRemoved, .frameChanges,
            .rejoinAsked, .failbackCancelled:
            break
        }
    }

    func setWindows(_ open: Event.Windows) {
        windows = open
        for host in hosts { tell(host, .windows(open)) }
    }

    private func uncut(_ index: Int) { links[index].cuts = max(0, links[index].cuts - 1) }

    private func eachLink(of party: Party, _ change: (inout Link) -> Void) {
        for other in Party.allCases where other != party {
            change(&links[index(party, other)])
            change(&links[index(other, party)])
        }
    }

    private func unstall(_ from: Party, _ to: Party) {
        let place = index(from, to)
        links[place].stalls = max(0, links[place].stalls - 1)
        guard links[place].stalls == 0 else { return }
        let held = links[place].held
        links[place].held = []
        for (number, packet) in held.enumerated() { later(.microseconds(200 + 10 * number), .arrive(packet, from: from, to: to)) }
    }

    // MARK: - machines

    func agentDies(_ host: SimHost) {
        guard host.agentRuns, !host.isFrozen else { return }
        host.agentRuns = false
        host.hungUntil = nil
        host.backlog = []
        later(.milliseconds(random.between(200, 1500)), .startAgent(host.party))
        if host.guardian.isArmed, !host.guardian.isRunning { later(.milliseconds(random.between(5, 40)), .lastAct(host.party)) }
    }

    func guardDies(_ host: SimHost, tells: Bool = true) {
        guard host.guardian.isRunning, host.isAlive else { return }
        host.guardian.isRunning = false
        host.guardian.life += 1
        if tells { tell(host, .guardEnded, after: .milliseconds(random.between(1, 10))) }
        later(.milliseconds(random.between(10, 60)), .guardRestarts(host.party))
        if !host.agentRuns { later(.milliseconds(random.between(5, 40)), .lastAct(host.party)) }
    }

    /// Everything in memory is gone, the interface too.
    package func powerOff(_ host: SimHost) {
        host.isUp = false
        host.node = Node(policy: host.node.policy)
        host.isFrozen = false
        host.guardMustRun = false
        host.agentRuns = false
        host.hungUntil = nil
        host.backlog = []
        host.postgres.endAll()
        host.held = .init(primary: .none, standby: .none)
        host.guardian = SimGuard(life: host.guardian.life + 1)
    }

    package func boot(_ host: SimHost) {
        guard !host.isUp, !host.isKeptOff else { return }
        if isGivenUp(host), !mustHear(host) { return later(.seconds(1), .boot(host.party)) }
        host.isUp = true
        host.boots += 1
        host.clock.reboot(now, offset: Int64(random.between(1, 20)) * 100_000_000)
        say(host.name.text, "boots")
        later(.milliseconds(random.between(100, 2000)), .startAgent(host.party))
    }

    func thaw(_ host: SimHost) {
        guard host.isFrozen else { return }
        host.isFrozen = false
        say(host.name.text, "goes on")
        if host.guardian.isRunning, host.guardian.isArmed, let until = host.guardian.until, isOver(host, until) {
            host.guardMustRun = true
            later(.milliseconds(random.below(30)), .guardLooks(host.party, life: host.guardian.life))
        } else if host.guardian.isRunning, host.guardian.isArmed {
            later(.zero, .guardLooks(host.party, life: host.guardian.life))
        }
        // The guard was dead: its new start, or with a dead agent the service manager's last act, is still to come.
        if host.guardian.isArmed, !host.guardian.isRunning,
            !host.agentRuns || host.guardian.until.map({ isOver(host, $0) }) ?? false
        {
            host.guardMustRun = true
        }
        if host.hungUntil.map({ $0 <= now }) ?? true {
            host.hungUntil = nil
            workOff(host)
        }
    }

    // MARK: - PostgreSQL

    package func postmasterDies(_ host: SimHost, _ orphans: Bool) {
        guard host.isAlive, host.postgres.hasProcesses else { return }
        if orphans, host.postgres.condition == .open {
            host.postgres.condition = .orphaned
            later(.milliseconds(random.between(100, 5000)), .orphansEnd(host.party, start: host.postgres.start))
        } else {
            host.postgres.endAll()
        }
        observe(host, after: .milliseconds(random.between(1, 20)))
    }

    /// Data may be destroyed only where the other host has all of it: what no software on two hosts can survive is no test of it.
    private func mayLose(_ host: SimHost) -> Bool {
        let peer = other(host)
        guard peer.isAlive, peer.mark != nil, !peer.isLedgerDamaged, let ledger = host.ledger, ledger == peer.ledger else {
            return false
        }
        if ledger.primary == peer.name { return peer.postgres.condition == .open }
        return setup.mode == .synchronous && ledger.arbiter == .witness && ledger.bond == .paired
            && peer.postgres.condition == .recovering && witness.isRunning
    }

    private func dataIsGone(_ host: SimHost, replaced: Bool) {
        guard mayLose(host), host.aside == nil else { return }
        host.postgres.endAll()
        host.postgres.wal = []
        let strange = CopyID(high: 99, low: UInt64(now))
        host.mark = replaced ? .init(copy: strange, node: host.name) : nil
        if replaced { host.copy = strange }
    }

    /// A node that cannot know what it has forgotten; somebody puts the directory back later.
    private func ledgerIsLost(_ host: SimHost) {
        guard host.lost == nil, let ledger = host.ledger, host.agentRuns, !host.isFrozen else { return }
        host.lost = (ledger, host.notes)
        host.ledger = nil
        host.notes = Notes()
        agentDies(host)
    }

    func ledgerIsBack(_ host: SimHost) {
        guard let lost = host.lost else { return }
        host.lost = nil
        guard host.ledger.map({ lost.ledger.isNewer(than: $0) }) ?? true else { return }
        host.ledger = lost.ledger
        host.notes = lost.notes
        agentDies(host)
    }

    private func swapCopy(_ host: SimHost) {
        guard host.aside == nil, host.mark != nil else { return }
        host.postgres.endAll()
        host.aside = (host.mark, host.postgres.wal, host.postgres.timeline)
        host.mark = .init(copy: CopyID(high: 98, low: UInt64(now)), node: host.name)
        host.postgres.wal = []
    }

    func copyIsBack(_ host: SimHost) {
        guard let aside = host.aside else { return }
        host.aside = nil
        if let mark = host.mark, host.ledger?.primaryCopy == mark.copy {
            // What stands there was promoted meanwhile, by a person who accepted it: nobody puts the old one in its place.
            host.copy = mark.copy
            return
        }
        host.postgres.endAll()
        host.mark = aside.mark
        host.postgres.wal = aside.wal
        host.postgres.timeline = aside.timeline
    }

    // MARK: - people

    func ask(_ host: SimHost, _ command: Command) { _ = self.command(host, command) }

    /// A person makes sure that the other host is off, and says so; an honest one, who keeps it off until it must hear this one.
    private func vouch(_ host: SimHost, _ accept: Bool) {
        let peer = other(host)
        // A host whose commits were given up stays off until it must hear the other one.
        if !host.isUp, (peer.ledger ?? peer.lost?.ledger)?.forced == true { return }
        if peer.isUp { powerOff(peer) }
        peer.isKeptOff = true
        host.isKeptOff = false
        if !host.isUp { boot(host) }
        // Said again while the agent starts, or still hears an echo.
        for attempt in 1...4 { later(.seconds(attempt) + .milliseconds(700), .word(host.party, acceptDataLoss: accept)) }
    }

    /// Only while it is true.
    func word(_ host: SimHost, _ accept: Bool) {
        let peer = other(host)
        if !peer.isUp, peer.isKeptOff { ask(host, .failover(acceptDataLoss: accept)) }
    }

    /// Its commits were given up by a person's word at the other host, and it has not heard of it (4.3).
    private func isGivenUp(_ host: SimHost) -> Bool {
        let peer = other(host)
        guard let theirs = peer.ledger ?? peer.lost?.ledger, theirs.forced, theirs.primary == peer.name,
            let own = host.ledger ?? host.lost?.ledger
        else { return false }
        return own.term < theirs.term
    }

    /// When it starts, it is sure to hear the one that was promoted.
    private func mustHear(_ host: SimHost) -> Bool {
        let peer = other(host)
        return peer.agentActs && peer.node.ledger?.forced == true && isClear(host.party, peer.party)
    }

    /// The person who gave its commits up stands by until it has heard of it, and switches it off again if it cannot any more.
    func standBy() {
        for host in hosts where host.isUp && isGivenUp(host) && !mustHear(host) {
            say("—", "somebody switches \(host.name) off again, as it cannot hear \(other(host).name)")
            powerOff(host)
            later(.seconds(1), .boot(host.party))
        }
    }

    private func vouchedHostComesBack(_ host: SimHost, _ fault: Fault) {
        if isGivenUp(host), !mustHear(host) { return later(.seconds(1), .end(fault)) }
        host.isKeptOff = false
        boot(host)
    }

    /// Both configurations are changed, one host after the other, each agent restarted.
    private func changeFrame(_ arbiter: ArbiterKind, _ timing: Timing) {
        for (place, host) in hosts.enumerated() {
            let old = host.node.policy
            let policy = Policy(
                cluster: old.cluster, node: old.node, peer: old.peer, mode: old.mode, arbiter: arbiter, timing: timing,
                promoteLimit: old.promoteLimit, handoverBytes: old.handoverBytes, returnLimit: old.returnLimit,
                recoveryPatience: old.recoveryPatience, configurationPatience: old.configurationPatience,
                preferredPrimary: old.preferredPrimary, barredPrimary: old.barredPrimary, failbackNotice: old.failbackNotice)
            host.nextPolicy = policy
            if place == 0 {
                agentDies(host)
            } else {
                later(
                    .milliseconds(random.between(500, 8000)),
                    .begin(Fault(id: -1, at: .zero, lasts: .zero, kind: .agentDies(host.party))))
            }
        }
    }
}
