import TandemCore

/// Two nodes on one clock, each with a small model of PostgreSQL, a disk and an interface: enough to tell stories about the core.
/// Synchronous, no chance: what happens is what the story says. It holds S1, S3, S4 (loss in synchronous mode), S5 after every step.
final class Pair {
    final class Host {
        let name: NodeName
        var copy: CopyID
        var node: Node
        var session: UInt64 = 0
        var boot = 1
        // disk
        var ledger: Ledger?
        var notes = Notes()
        /// WAL as the list of commits in it.
        var wal: [Int] = []
        var timeline: Timeline = 1
        // machine
        var isUp = true
        var agentRuns = false
        var postgres: LocalPostgres.Condition = .stopped
        var settings = Settings(copy: nil, synchronous: nil, slot: nil)
        /// `synchronous_standby_names` as somebody else set them; nil: ours count.
        var names: String?
        var held = Event.Held(primary: .none, standby: .none)
        var notices: [String] = []
        var answers: [RequestID: [CommandAnswer]] = [:]
        /// Effects that this host fails at, by a word in their description, and how often.
        var failing: [String: Int] = [:]
        var exited = false
        /// Effects that take longer here, by word.
        var delays: [String: Duration] = [:]

        init(_ name: NodeName, peer: NodeName, mode: Policy.ReplicationMode) {
            self.name = name
            copy = CopyID(high: name == "a" ? 1 : 2, low: 7)
            node = Node(policy: Policy(cluster: "orders", node: name, peer: peer, mode: mode))
        }
        var end: LSN { LSN(UInt64(wal.count) * 100 + 1000) }
    }

    enum Happening {
        case event(String, session: UInt64, Event)
        case effect(String, session: UInt64, Effect)
    }

    let a: Host
    let b: Host
    var now = Instant(nanoseconds: 1_000_000_000)
    private var queue: [(at: Instant, order: Int, Happening)] = []
    private var sequence = 0
    /// Directions that lose everything: `a>b`.
    var cut: Set<String> = []
    var acknowledged: [Int] = []
    var waiting: [(commit: Int, host: String)] = []
    var nextCommit = 1
    var writes = true
    var violations: [String] = []
    var transcript: [String] = []
    var starts: [(host: String, mode: Effect.StartMode)] = []

    init(mode: Policy.ReplicationMode = .synchronous) {
        a = Host("a", peer: "b", mode: mode)
        b = Host("b", peer: "a", mode: mode)
    }

    var hosts: [Host] { [a, b] }
    func host(_ name: NodeName) -> Host { name == "a" ? a : b }
    func other(_ host: Host) -> Host { host === a ? b : a }

    // MARK: - what a story does

    /// Both directories exist, A is primary alone by its ledger, B has joined.
    func founded() -> Pair {
        let ledger = Ledger(
            cluster: "orders", term: Term(2), step: 1, primary: "a", bond: .sole, primaryCopy: a.copy, standbyCopy: nil,
            arbiter: .manual)
        a.ledger = ledger
        b.ledger = ledger
        return self
    }

    func startAgent(_ host: Host) {
        host.session += 1
        host.agentRuns = true
        host.exited = false
        host.node = Node(policy: host.node.policy)
        let session = SessionID(host.session * 2 + (host === a ? 0 : 1))
        feed(
            host,
            .started(
                .init(
                    session: session, boot: BootID("boot \(host.boot)"), ledger: host.ledger, notes: host.notes)))
        feed(host, .addresses(host.held))
        observe(host)
        greet(host)
        tick(host)
    }

    private func greet(_ host: Host) {
        for (from, to) in [(host, other(host)), (other(host), host)]
        where from.agentRuns && to.agentRuns && !cut.contains("\(from.name)>\(to.name)") {
            later(.milliseconds(1), .event(to.name.text, session: to.session, .hello(session: from.node.session)))
        }
    }

    func heal() {
        cut = []
        greet(a)
    }

    func killAgent(_ host: Host) { host.agentRuns = false }

    /// The machine loses power: everything in memory is gone, the interface too.
    func powerOff(_ host: Host) {
        host.agentRuns = false
        host.isUp = false
        host.postgres = .stopped
        host.held = .init(primary: .none, standby: .none)
        abandon(host)
    }

    func boot(_ host: Host) {
        host.isUp = true
        host.boot += 1
        startAgent(host)
    }

    func killPostgres(_ host: Host) {
        host.postgres = .stopped
        abandon(host)
        observe(host)
    }

    @discardableResult
    func command(_ host: Host, _ command: Command) -> RequestID {
        let id = RequestID(UInt64(sequence + 1000))
        feed(host, .command(command, id))
        return id
    }

    /// Clients whose server is gone get no answer.
    private func abandon(_ host: Host) { waiting.removeAll { $0.host == host.name.text } }

    func run(_ span: Duration, until done: (Pair) -> Bool = { _ in false }) {
        let end = now + span
        while now < end, !done(self) {
            now = now + .milliseconds(1)
            while let next = queue.indices.min(by: { (queue[$0].at, queue[$0].order) < (queue[$1].at, queue[$1].order) }),
                queue[next].at <= now
            {
                happen(queue.remove(at: next).2)
            }
            let millisecond = now.nanoseconds / 1_000_000
            for host in hosts where host.agentRuns {
                if millisecond % 200 == 0 { tick(host) }
                if millisecond % 100 == 0 { observe(host) }
            }
            stream()
            if writes, millisecond % 10 == 0 { write() }
            check()
        }
    }

    // MARK: - machinery

    private func later(_ delay: Duration, _ happening: Happening) {
        sequence += 1
        queue.append((now + delay, sequence, happening))
    }

    private func happen(_ happening: Happening) {
        switch happening {
        case .event(let name, let session, let event):
            let host = host(NodeName(name))
            if host.agentRuns, host.session == session { feed(host, event) }
        case .effect(let name, let session, let effect):
            let host = host(NodeName(name))
            if host.isUp { carryOut(host, session, effect) }
        }
    }

    func tick(_ host: Host) { feed(host, .tick) }

    func observe(_ host: Host) {
        guard host.agentRuns else { return }
        feed(host, .postgres(seen(host)))
    }

    private func seen(_ host: Host) -> LocalPostgres {
        var seen = LocalPostgres(condition: host.postgres)
        seen.systemIdentifier = 77
        seen.majorVersion = 15
        seen.timeline = host.timeline
        if seen.isRunning {
            seen.synchronousStandbyNames = host.names ?? host.settings.synchronous?.synchronousStandbyNames ?? ""
        }
        seen.copy = .init(copy: host.copy, node: host.name)
        let peer = other(host)
        if seen.isOpen {
            seen.flushed = host.end
            if streams(from: host, to: peer) {
                seen.replicas = [
                    .init(
                        applicationName: peer.copy.applicationName, address: "", isStreaming: true,
                        isSynchronous: host.settings.synchronous == peer.copy, flushed: peer.end, replayed: peer.end)
                ]
            }
        } else if seen.isRecovering {
            seen.received = host.end
            seen.replayed = host.end
            seen.isStreaming = streams(from: peer, to: host)
        }
        return seen
    }

    func streams(from source: Host, to sink: Host) -> Bool {
        source.isUp && sink.isUp && source.postgres == .running(isInRecovery: false)
            && sink.postgres == .running(isInRecovery: true)
            && !cut.contains("\(source.name)>\(sink.name)") && !cut.contains("\(sink.name)>\(source.name)")
            && isPrefix(sink.wal, of: source.wal) && source.timeline >= sink.timeline
    }

    /// Commits have numbers of their own, so that one equal place means equal everything before.
    private func isPrefix(_ short: [Int], of long: [Int]) -> Bool {
        short.count <= long.count && (short.last.map { $0 == long[short.count - 1] } ?? true)
    }

    private func stream() {
        for source in hosts where streams(from: source, to: other(source)) {
            let sink = other(source)
            if sink.wal.count != source.wal.count { sink.wal = source.wal }
            sink.timeline = source.timeline
            waiting.removeAll { entry in
                guard entry.host == source.name.text else { return false }
                acknowledged.append(entry.commit)
                return true
            }
        }
        for host in hosts where host.postgres == .running(isInRecovery: false) && host.settings.synchronous == nil {
            waiting.removeAll { entry in
                guard entry.host == host.name.text else { return false }
                acknowledged.append(entry.commit)
                return true
            }
        }
    }

    /// One client, through the primary address.
    private func write() {
        for host in hosts where host.isUp && host.held.primary == .all && host.postgres == .running(isInRecovery: false) {
            host.wal.append(nextCommit)
            if host.settings.synchronous == nil {
                acknowledged.append(nextCommit)
            } else {
                waiting.append((nextCommit, host.name.text))
            }
            nextCommit += 1
        }
    }

    private var checked = (host: "", count: 0)

    private func check() {
        let holders = hosts.filter { $0.held.primary != .none }
        if holders.count > 1 { violations.append("S5: both hold the primary address") }
        let open = hosts.filter { $0.isUp && $0.postgres == .running(isInRecovery: false) && $0.held.primary != .none }
        if open.count > 1 { violations.append("S1: both accept writes") }
        if hosts.allSatisfy({ $0.held.standby != .none }) { violations.append("both hold the standby address") }
        for host in open where host.node.policy.mode == .synchronous {
            // All of them when another host has opened, the new ones besides.
            let isNew = checked.host != host.name.text
            if !isNew, checked.count == acknowledged.count { continue }
            let here = Set(isNew ? host.wal[...] : host.wal.suffix(1000))
            let asked = isNew ? acknowledged[...] : acknowledged[checked.count...]
            checked = (host.name.text, acknowledged.count)
            if let lost = asked.first(where: { !here.contains($0) }) {
                violations.append("S3: \(host.name) lacks commit \(lost)")
            }
        }
    }

    func feed(_ host: Host, _ event: Event) {
        guard host.agentRuns else { return }
        let before = host.node.state
        let effects = host.node.step(event, at: Moment(boot: now, raw: now))
        if host.node.state.name != before.name {
            transcript.append("\(now.nanoseconds / 1_000_000) \(host.name): \(host.node.state.name)")
        }
        for effect in effects { order(host, effect) }
    }

    /// How long each effect takes.
    private func order(_ host: Host, _ effect: Effect) {
        let delay: Duration =
            switch effect {
            case .writeLedger: .milliseconds(2)
            case .send: .milliseconds(1)
            case .start: .milliseconds(150)
            case .stop: .milliseconds(40)
            case .promote: .milliseconds(30)
            case .configure: .milliseconds(3)
            case .confirmSynchronous, .confirmPosition, .checkpoint: .milliseconds(20)
            case .findEndOfWAL, .receiveWAL, .survey: .milliseconds(3)
            case .rejoin: .milliseconds(500)
            case .claimAddress, .releaseAddress: .milliseconds(1)
            case .askWitness, .armGuard, .extendGuard, .releaseGuard: .milliseconds(1)
            case .recordLineage, .answer, .notice, .exit: .milliseconds(0)
            }
        switch effect {
        case .notice(let notice): host.notices.append(notice.text)
        case .answer(let id, let answer): host.answers[id, default: []].append(answer)
        case .exit:
            host.exited = true
            host.agentRuns = false
        default:
            later(
                host.delays[String("\(effect)".prefix { $0 != "(" })] ?? delay,
                .effect(host.name.text, session: host.session, effect))
        }
    }

    private func carryOut(_ host: Host, _ session: UInt64, _ effect: Effect) {
        func done(_ id: OperationID, _ outcome: Outcome = .done) {
            observe(host)
            later(.milliseconds(0), .event(host.name.text, session: session, .completed(id, outcome)))
        }
        let word = "\(effect)".prefix { $0 != "(" }
        if let left = host.failing[String(word)], left > 0 {
            host.failing[String(word)] = left - 1
            if let id = operation(of: effect) { return done(id, .failed("\(word) failed, as the story says")) }
            if case .writeLedger(let ledger, _) = effect {
                return later(.zero, .event(host.name.text, session: session, .ledgerNotWritten(ledger, "disk full")))
            }
        }
        let peer = other(host)
        switch effect {
        case .writeLedger(let ledger, let notes):
            host.ledger = ledger
            host.notes = notes
            later(.zero, .event(host.name.text, session: session, .ledgerWritten(ledger)))
        case .send(let heartbeat, let header):
            if !cut.contains("\(host.name)>\(peer.name)"), peer.isUp { feed(peer, .heartbeat(heartbeat, header)) }
        case .start(let mode, let id):
            starts.append((host.name.text, mode))
            if host.postgres == .stopped { host.postgres = .running(isInRecovery: !mode.isPrimary) }
            done(id)
        case .stop(_, let id):
            host.postgres = .stopped
            abandon(host)
            done(id)
        case .promote(let id):
            guard host.postgres == .running(isInRecovery: true) || host.postgres == .running(isInRecovery: false) else {
                return done(id, .failed("not running"))
            }
            host.postgres = .running(isInRecovery: false)
            host.timeline += 1
            done(id, .promoted(timeline: host.timeline, fork: host.end))
        case .configure(let settings, let id):
            host.settings = settings
            done(id)
        case .confirmSynchronous(let copy, let id):
            done(
                id,
                host.settings.synchronous == copy && streams(from: host, to: peer)
                    ? .position(host.end) : .failed("not synchronous"))
        case .confirmPosition(_, let id):
            done(id, streams(from: host, to: peer) && peer.wal == host.wal ? .done : .failed("not confirmed"))
        case .checkpoint(let id): done(id)
        case .findEndOfWAL(_, _, let id):
            if host.postgres != .stopped { violations.append("the end of WAL was looked for while PostgreSQL runs") }
            done(id, .position(host.end))
        case .survey(let id):
            done(id, .surveyed(peer.wal.starts(with: host.wal) ? .plain : .rewind(fork: peer.end, lost: 100)))
        case .rejoin(_, let id):
            host.wal = peer.wal
            host.timeline = peer.timeline
            host.copy = CopyID(high: host.name == "a" ? 1 : 2, low: UInt64(now.nanoseconds))
            done(id)
        case .receiveWAL(let end, let id):
            if host.end < end, peer.isUp, peer.agentRuns, peer.wal.starts(with: host.wal), peer.end >= end {
                host.wal = Array(peer.wal.prefix(Int((end.bytes - 1000) / 100)))
            }
            done(id, host.end >= end ? .done : .failed("the rest of the WAL cannot be had"))
        case .claimAddress(let role, let regardless, _, let id):
            let taken = role == .primary ? peer.held.primary : peer.held.standby
            if taken != .none, !regardless { return done(id, .failed("another machine answers")) }
            if role == .primary { host.held.primary = .all } else { host.held.standby = .all }
            later(.zero, .event(host.name.text, session: session, .addresses(host.held)))
            done(id)
        case .releaseAddress(let role, let id):
            if role == .primary { host.held.primary = .none } else { host.held.standby = .none }
            later(.zero, .event(host.name.text, session: session, .addresses(host.held)))
            done(id)
        case .askWitness, .armGuard, .extendGuard, .releaseGuard:
            violations.append("the arbiter `manual` lends nothing, and \(word) was ordered")
        case .recordLineage, .answer, .notice, .exit: break
        }
    }
}
