import TandemCore

// Agents: their starts, their beats, and how facts reach them.

extension World {
    package func startAgent(_ host: SimHost) {
        guard host.isUp, !host.agentRuns, !host.isLedgerDamaged else { return }
        host.run += 1
        host.agentRuns = true
        host.hasExited = false
        host.hungUntil = nil
        host.backlog = []
        (host.toldUntil, host.heldToldUntil, host.workedOff) = (now, now, now)
        host.node = Node(policy: host.nextPolicy ?? host.node.policy)
        host.nextPolicy = nil
        host.node.flaw = flaw
        lanes[host.party.rawValue] = [Int64](repeating: now, count: Lane.allCases.count)
        let held = host.guardian.isRunning && host.guardian.isArmed ? host.guardian.until : nil
        say(host.name.text, "the agent starts, ledger \(host.ledger.map(\.description) ?? "none")")
        feed(
            host,
            .started(
                .init(
                    session: host.sessionID, boot: host.bootID, ledger: host.ledger, notes: host.notes, guardUntil: held,
                    windows: windows)))
        feed(host, .addresses(host.held))
        later(.milliseconds(random.between(1, 80)), .observe(host.party, run: host.run))
        later(.milliseconds(random.between(1, 50)), .tick(host.party, run: host.run))
        greet(host)
    }

    /// The service manager: unless a person works there.
    func startAgentIfDue(_ host: SimHost) {
        guard !host.isInHand, !host.hasExited else { return }
        if host.isFrozen { return later(.milliseconds(500), .startAgent(host.party)) }
        startAgent(host)
    }

    /// Whether something for the agent can be handled now; while it is frozen or hangs, it is kept for later.
    func isReady(_ host: SimHost, _ run: Int, _ what: Happening) -> Bool {
        guard host.isUp, host.agentRuns, host.run == run else { return false }
        guard host.isFrozen || host.hungUntil != nil else { return true }
        // A person who gets no answer goes away.
        if case .event(_, _, .command) = what { return false }
        host.backlog.append(what)
        return false
    }

    /// What piled up is worked off in its order.
    func workOff(_ host: SimHost) {
        let waiting = host.backlog
        host.backlog = []
        for (place, what) in waiting.enumerated() { later(.microseconds(100 * place + 100), what) }
        host.workedOff = now + Int64(100_000 * (waiting.count + 1))
    }

    func ticked(_ host: SimHost, _ run: Int) {
        guard host.isUp, host.agentRuns, host.run == run else { return }
        let beat = host.node.policy.heartbeat + .microseconds(random.below(400))
        guard host.agentActs else { return later(beat, .tick(host.party, run: run)) }
        feed(host, .tick)
        let present = host.clock.now(now).boot
        let wish = host.state == .standby ? host.node.look { $0.wish(at: present) } ?? beat : beat
        later(min(beat, max(wish, .milliseconds(1))), .tick(host.party, run: run))
        if !isInTouch(host) { greet(host) }
    }

    /// Connections that are lost are made again.
    private func isInTouch(_ host: SimHost) -> Bool {
        let present = host.clock.now(now).boot
        guard let peer = host.node.peer.heardAt, let arbiter = host.node.arbiter.heardAt else { return false }
        return present - peer <= .seconds(1) && present - arbiter <= .seconds(2)
    }

    func observed(_ host: SimHost, _ run: Int) {
        guard host.isUp, host.agentRuns, host.run == run else { return }
        later(.milliseconds(100), .observe(host.party, run: run))
        guard host.agentActs else { return }
        observe(host, after: .milliseconds(random.below(100) == 0 ? random.below(300) : random.below(10)))
        if host.storageSince != nil, random.below(10) == 0,
            host.storage != .hangs || now - (host.storageSince ?? now) > 3_000_000_000
        {
            tellStorage(host)
        }
        if let sees = host.seesGateway, random.below(5) == 0 { tell(host, .gateway(isSeen: sees)) }
    }

    /// What is seen is told a little later: a fact may be older than what was done since. But one thread looks, so no look overtakes a newer one.
    func observe(_ host: SimHost, after delay: Duration) {
        host.toldUntil = max(host.toldUntil, now + delay.nanoseconds, host.workedOff)
        queue.put(.event(host.party, run: host.run, .postgres(seen(host))), at: host.toldUntil)
    }

    /// Into the agent's mailbox: behind what has piled up in it. No look at the addresses overtakes a newer one, either.
    func tell(_ host: SimHost, _ event: Event, after delay: Duration = .zero) {
        var time = max(now + delay.nanoseconds, host.workedOff)
        if case .addresses = event {
            time = max(time, host.heldToldUntil)
            host.heldToldUntil = time
        }
        queue.put(.event(host.party, run: host.run, event), at: time)
    }

    package func command(_ host: SimHost, _ command: Command) -> RequestID {
        nextRequest += 1
        let id = RequestID(nextRequest)
        if host.agentActs { feed(host, .command(command, id)) }
        return id
    }

    func feed(_ host: SimHost, _ event: Event) {
        guard host.agentRuns else { return }
        let before = host.state
        let effects = host.node.step(event, at: host.clock.now(now))
        if !host.node.transitions.isEmpty || event.isStart { host.state = host.node.state.kind }
        steps += 1
        for transition in host.node.transitions {
            coverage.transitions[transition, default: 0] += 1
            if !TransitionTable.allows(transition) {
                violate(
                    .table,
                    "\(host.name) went from \(transition.from.rawValue) to \(transition.to.rawValue), because \(transition.cause.rawValue)"
                )
            }
        }
        if before != host.state { say(host.name.text, "is now \(host.state.rawValue)") }
        if host.state == .halted, before != .halted, case .halted(let halted) = host.node.state {
            coverage.note(halted.reason.code)
            if case .contradiction = halted.reason { violate(.contradiction, halted.reason.text) }
        }
        for effect in effects { order(host, effect) }
    }

    // MARK: - the guard

    func armGuard(_ host: SimHost, until: Moment?) {
        host.guardian.isRunning = true
        host.guardian.isArmed = true
        host.guardian.until = until ?? host.guardian.until
        // With a deadline that is over already, it has yet to run.
        if host.guardMustRun { host.guardMustRun = host.guardian.until.map { isOver(host, $0) } ?? false }
        host.guardian.hasActed = false
        host.guardian.life += 1
        lookLater(host)
    }

    func lookLater(_ host: SimHost) {
        guard let until = host.guardian.until else { return }
        let time = host.clock.time(of: until - host.node.policy.timing.margin, from: now)
        queue.put(.guardLooks(host.party, life: host.guardian.life), at: max(time, now + 500_000))
    }

    func guardLooks(_ host: SimHost, _ life: Int) {
        guard host.isUp, !host.isFrozen, host.guardian.isRunning, host.guardian.isArmed, host.guardian.life == life,
            let until = host.guardian.until
        else { return }
        guard isOver(host, until) else {
            host.guardMustRun = false
            host.guardian.hasActed = false
            return lookLater(host)
        }
        // Once for each deadline: what recovers afterwards, without a lease, harms nobody.
        guard !host.guardian.hasActed else { return later(.milliseconds(20), .guardLooks(host.party, life: life)) }
        // Every process takes its time to die; less than m, or m is configured too small.
        let margin = host.node.policy.timing.margin.nanoseconds / 1_000_000
        later(.milliseconds(random.between(1, Int(margin) * 8 / 10)), .guardActs(host.party, life: life))
    }

    func guardActs(_ host: SimHost, _ life: Int) {
        guard host.isUp, !host.isFrozen, host.guardian.isRunning, host.guardian.isArmed, host.guardian.life == life,
            let until = host.guardian.until, isOver(host, until)
        else { return lookLater(host) }
        host.guardMustRun = false
        host.guardian.hasActed = true
        endByGuard(host)
        later(.milliseconds(20), .guardLooks(host.party, life: life))
    }

    func isOver(_ host: SimHost, _ until: Moment) -> Bool {
        let end = until - host.node.policy.timing.margin
        let present = host.clock.now(now)
        return flaw == .leaseOnOneClock ? present.boot >= end.boot : end.hasEnded(at: present)
    }

    private func endByGuard(_ host: SimHost) {
        if host.postgres.hasProcesses || host.held != .init(primary: .none, standby: .none) {
            say(host.name.text, "the guard ends PostgreSQL and removes the addresses")
            coverage.guardActs += 1
        }
        host.postgres.endAll()
        host.held = .init(primary: .none, standby: .none)
        tell(host, .addresses(host.held), after: .milliseconds(1))
        observe(host, after: .milliseconds(3))
    }

    /// The service manager starts it anew, and it finds its deadline where the last run left it.
    func guardRestarts(_ host: SimHost) {
        guard host.isUp, !host.guardian.isRunning, host.guardian.isArmed, host.agentRuns else { return }
        if host.isFrozen { return later(.milliseconds(10), .guardRestarts(host.party)) }
        armGuard(host, until: nil)
    }

    /// Agent and guard are both dead: the service manager does what the guard would have done (3.2).
    func lastAct(_ host: SimHost) {
        guard host.isUp, !host.agentRuns, !host.guardian.isRunning, host.guardian.isArmed else { return }
        if host.isFrozen { return later(.milliseconds(10), .lastAct(host.party)) }
        host.guardian.isArmed = false
        host.guardMustRun = false
        endByGuard(host)
    }
}

extension Event {
    var isStart: Bool {
        if case .started = self { return true }
        return false
    }
}
