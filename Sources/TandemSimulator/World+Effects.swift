import TandemCore

/// What belongs together happens in order (the agent's lanes).
enum Lane: Int, CaseIterable {
    case ledger, control, settings, confirm, primaryAddress, standbyAddress, guardian
}

extension World {
    /// An effect leaves the core: it takes its time, on its lane.
    func order(_ host: SimHost, _ effect: Effect) {
        let lane: Lane
        let low: Int
        let high: Int
        switch effect {
        case .notice(let notice):
            say(host.name.text, notice.text)
            if keepsTranscript { host.notices.append(notice.text) }
            return
        case .answer(let id, let answer):
            host.answers[id, default: []].append(answer)
            if case .refused(let notes) = answer { for note in notes { coverage.note(note.code) } }
            say(host.name.text, "answers: \(Self.text(answer))")
            return
        case .send(let heartbeat, let header):
            coverage.note(heartbeat)
            return send(.heartbeat(heartbeat, header), from: host.party, to: other(host).party)
        case .askWitness(let request, let header):
            return send(.request(request, header), from: host.party, to: .witness)
        case .extendGuard(let until):
            if host.guardian.isRunning, host.guardian.isArmed {
                let isFirst = host.guardian.until == nil
                host.guardian.until = until
                if isFirst { lookLater(host) }
            }
            return
        case .recordLineage:
            return
        case .exit:
            say(host.name.text, "the agent ends")
            host.agentRuns = false
            host.hasExited = true
            return
        case .writeLedger: (lane, low, high) = (.ledger, 1, 15)
        case .start: (lane, low, high) = (.control, 50, 300)
        case .stop(let mode, _): (lane, low, high) = (.control, mode == .fast ? 30 : 10, mode == .fast ? 400 : 80)
        case .promote:
            if host.ledger?.primary != host.name {
                violate(.order, "\(host.name) is to be promoted, and its durable ledger is \(host.ledger?.description ?? "none")")
            }
            (lane, low, high) = (.control, 20, 150)
        case .survey: (lane, low, high) = (.control, 5, 60)
        case .rejoin(let way, _):
            // Its directory is nobody's until the mark is written, last.
            if host.ledger?.bond != .sole {
                violate(.order, "\(host.name) changes its directory while its ledger is \(host.ledger?.description ?? "none")")
            }
            // One that cannot even begin has touched nothing.
            if way == .rewind, canCopy(host) {
                judgeReplacement(host, "is rewound")
                host.mark = .init(copy: host.copy, node: other(host).name)
            }
            (lane, low, high) = (.control, 200, 3000)
        case .findEndOfWAL, .receiveWAL: (lane, low, high) = (.control, 1, 50)
        case .configure: (lane, low, high) = (.settings, 1, 20)
        case .confirmSynchronous, .confirmPosition, .checkpoint: (lane, low, high) = (.confirm, 20, 120)
        case .claimAddress(let role, _, _, _), .releaseAddress(let role, _):
            (lane, low, high) = (role == .primary ? .primaryAddress : .standbyAddress, 1, 10)
        case .armGuard, .releaseGuard: (lane, low, high) = (.guardian, 2, 20)
        }
        let delay = Int64(random.between(low * 1000, high * 1000)) * 1000 * Int64(host.slowness)
        let done = max(now, lanes[host.party.rawValue][lane.rawValue]) + delay
        lanes[host.party.rawValue][lane.rawValue] = done
        queue.put(.effect(host.party, run: host.run, effect, again: false), at: done)
        if host.repeating > 0 {
            host.repeating -= 1
            // On the same lane, so nothing comes between.
            queue.put(.effect(host.party, run: host.run, effect, again: true), at: done + 1000)
        }
    }

    static func text(_ answer: CommandAnswer) -> String {
        switch answer {
        case .progress(let text): text
        case .done(let text): "done: \(text)"
        case .refused(let notes): "no: \(notes.map(\.text).joined(separator: "; "))"
        }
    }

    /// An effect is done. `again`: the same once more, as after a crash between deed and report.
    func carryOut(_ host: SimHost, _ run: Int, _ effect: Effect, again: Bool) {
        /// Reported a little later: what happens in between leaves a deed that nobody knows of.
        func report(_ id: OperationID, _ outcome: Outcome = .done) {
            if again { return }
            let delay = Duration.microseconds(random.between(50, 3000))
            tell(host, .completed(id, outcome), after: delay)
            observe(host, after: delay + .microseconds(200))
        }
        if again, let kind = effect.kind, host.failed == kind { return }
        if !again { host.failed = nil }
        if !again, let kind = effect.kind, let left = host.failing[kind], left > 0 {
            host.failing[kind] = left - 1
            host.failed = kind
            if case .writeLedger(let ledger, _) = effect { return tell(host, .ledgerNotWritten(ledger, "no space left")) }
            if let id = effect.operation { return report(id, .failed("\(kind.rawValue) failed, as the plan says")) }
        }
        if let why = storageRefuses(host, effect), let id = effect.operation { return report(id, .failed(why)) }
        let peer = other(host)
        switch effect {
        case .writeLedger(let ledger, let notes):
            persist(host, ledger, notes)
            if !again { tell(host, .ledgerWritten(ledger), after: .microseconds(random.between(50, 3000))) }
        case .start(.primary(let copy), let id) where host.mark?.copy != copy:
            report(id, .failed("another directory stands in its place"))
        case .start(let mode, let id):
            startInstance(host, mode)
            report(id)
        case .stop(let mode, let id):
            if mode == .fast, streams(from: host, to: peer) {
                // The sender sends everything before it ends.
                stream()
            }
            host.postgres.endAll()
            report(id)
        case .promote(let id):
            report(id, promote(host))
        case .configure(let settings, let id):
            host.postgres.settings = settings
            later(
                .milliseconds(random.below(4) == 0 ? random.below(300) : random.below(10)),
                .namesTakeEffect(host.party, start: host.postgres.start))
            report(id)
        case .confirmSynchronous(let copy, let id):
            // In effect, and the standby has everything that was acknowledged without it.
            let isInEffect = host.postgres.awaited == copy && copy == peer.copy && streams(from: host, to: peer)
            let has = isInEffect && host.postgres.confirmed >= host.postgres.awaitedFrom
            report(id, has ? .position(host.postgres.end) : .failed("not confirmed"))
        case .confirmPosition(let copy, let id):
            let has = copy == peer.copy && streams(from: host, to: peer) && peer.postgres.wal.count >= host.postgres.openedFrom
            report(id, has ? .done : .failed("the standby does not have it"))
        case .checkpoint(let id):
            report(id)
        case .survey(let id):
            report(id, survey(host))
        case .rejoin(_, let id):
            report(id, again ? .done : rejoin(host))
        case .findEndOfWAL(_, let copy, let id) where host.mark?.copy != copy:
            report(id, .failed("another directory stands in its place"))
        case .findEndOfWAL(_, _, let id):
            if host.postgres.hasProcesses {
                violate(.order, "the end of WAL was looked for on \(host.name) while PostgreSQL runs")
            }
            report(id, .position(host.postgres.end))
        case .receiveWAL(let end, let id):
            let count = SimPostgres.count(end)
            if host.postgres.wal.count < count, peer.agentActs, host.aside == nil, peer.aside == nil,
                !isCut(host.party, peer.party), !isCut(peer.party, host.party),
                host.postgres.isPrefix(of: peer.postgres), peer.postgres.wal.count >= count
            {
                host.postgres.wal.append(contentsOf: peer.postgres.wal[host.postgres.wal.count..<count])
            }
            report(id, host.postgres.wal.count >= count ? .done : .failed("the rest of the WAL cannot be had"))
        case .claimAddress(let role, let regardless, let until, let id):
            if let until, until.hasEnded(at: host.clock.now(now)) { return report(id, .failed("the lease has ended meanwhile")) }
            let taken = peer.isUp && (role == .primary ? peer.held.primary : peer.held.standby) != .none
            let isSilent = peer.isFrozen || isCut(host.party, peer.party) || isCut(peer.party, host.party)
            if taken, !isSilent, !regardless { return report(id, .failed("another machine answers")) }
            if role == .primary { host.held.primary = .all } else { host.held.standby = .all }
            tell(host, .addresses(host.held))
            report(id)
        case .releaseAddress(let role, let id):
            if role == .primary { host.held.primary = .none } else { host.held.standby = .none }
            tell(host, .addresses(host.held))
            report(id)
        case .armGuard(let until, let id):
            armGuard(host, until: until)
            report(id)
        case .releaseGuard(let id):
            host.guardMustRun = false
            host.guardian.isArmed = false
            host.guardian.until = nil
            host.guardian.life += 1
            report(id)
        case .send, .askWitness, .extendGuard, .recordLineage, .answer, .notice, .exit: break
        }
    }

    private func startInstance(_ host: SimHost, _ mode: Effect.StartMode) {
        guard host.postgres.condition == .stopped, host.mark != nil else { return }
        host.postgres.start += 1
        host.postgres.isIsolated = mode == .isolated
        host.postgres.condition = .starting(open: { if case .primary = mode { true } else { false } }())
        host.postgres.awaitNow(host.postgres.settings.synchronous)
        let patience = random.below(10) == 0 ? random.between(500, 4000) : random.between(50, 400)
        later(.milliseconds(patience * host.slowness), .instanceIsUp(host.party, start: host.postgres.start))
    }

    /// The instance is stopped, and compared with one that serves.
    private func survey(_ host: SimHost) -> Outcome {
        let peer = other(host)
        guard host.postgres.condition == .stopped else { return .failed("it is not stopped") }
        guard canCopy(host) else { return .failed("the primary's PostgreSQL cannot be asked") }
        // All its connections may be taken for a while.
        if host.surveysFail > 0 {
            host.surveysFail -= 1
            return .failed("too many connections")
        }
        if random.below(12) == 0 { host.surveysFail = random.between(1, 6) }
        guard host.mark?.node == host.name else { return .surveyed(.copy("a rewind was interrupted")) }
        if host.postgres.isPrefix(of: peer.postgres) { return .surveyed(.plain) }
        switch random.below(20) {
        case 0: return .surveyed(.refuse("the disk is too small"))
        case 1...4: return .surveyed(.copy("WAL that a rewind needs is gone"))
        default: return .surveyed(.rewind(fork: host.postgres.end, lost: 100))
        }
    }

    private func rejoin(_ host: SimHost) -> Outcome {
        let peer = other(host)
        guard host.postgres.condition == .stopped, host.mark != nil, host.aside == nil else {
            return .failed("it is not stopped")
        }
        guard canCopy(host) else { return .failed("the connection to the primary ended") }
        judgeReplacement(host, "is replaced")
        abandonBranch(host)
        host.copy = CopyID(high: UInt64(host.party.rawValue + 1), low: UInt64(now))
        host.mark = .init(copy: host.copy, node: host.name)
        host.postgres.wal = peer.postgres.wal
        host.postgres.timeline = peer.postgres.timeline
        say(host.name.text, "has a directory like the primary's again")
        return .done
    }

    private func canCopy(_ host: SimHost) -> Bool {
        let peer = other(host)
        return peer.isAlive && peer.postgres.condition == .open && peer.aside == nil && host.aside == nil && host.mark != nil
            && !isCut(host.party, peer.party) && !isCut(peer.party, host.party)
    }

    private func promote(_ host: SimHost) -> Outcome {
        if host.postgres.condition == .open { return .done }
        guard host.postgres.condition == .recovering else { return .failed("it does not recover") }
        let fork = host.postgres.end
        host.postgres.wal.append(-nextCommit)
        nextCommit += 1
        host.postgres.timeline += 1
        host.postgres.condition = .open
        host.postgres.openedByAgent = true
        // A promotion ends the pause.
        host.postgres.pausedAt = nil
        host.postgres.openedFrom = host.postgres.wal.count
        host.postgres.confirmed = 0
        host.postgres.sent = 0
        host.postgres.start += 1
        host.postgres.awaitNow(host.postgres.settings.synchronous)
        opened(host, "is promoted")
        return .promoted(timeline: host.postgres.timeline, fork: fork)
    }
}

extension Effect {
    var kind: EffectKind? {
        switch self {
        case .writeLedger: .writeLedger
        case .start: .start
        case .stop: .stop
        case .promote: .promote
        case .configure: .configure
        case .confirmSynchronous, .confirmPosition: .confirm
        case .findEndOfWAL: .findEndOfWAL
        case .survey, .rejoin: .rejoin
        case .receiveWAL: .receiveWAL
        case .claimAddress: .claimAddress
        case .releaseAddress: .releaseAddress
        case .armGuard: .armGuard
        case .checkpoint, .send, .askWitness, .extendGuard, .releaseGuard, .recordLineage, .answer, .notice, .exit: nil
        }
    }

    var operation: OperationID? {
        switch self {
        case .start(_, let id), .stop(_, let id), .promote(let id), .configure(_, let id), .confirmSynchronous(_, let id),
            .confirmPosition(_, let id), .checkpoint(let id), .survey(let id), .rejoin(_, let id), .findEndOfWAL(_, _, let id),
            .receiveWAL(_, let id),
            .claimAddress(_, _, _, let id), .releaseAddress(_, let id), .armGuard(_, let id), .releaseGuard(let id):
            id
        case .writeLedger, .send, .askWitness, .extendGuard, .recordLineage, .answer, .notice, .exit: nil
        }
    }
}
