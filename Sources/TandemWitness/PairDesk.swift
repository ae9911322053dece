import NIOCore
import TandemCore
import TandemNetwork
import TandemRuntime
import TandemSystem
import TandemWire

/// One pair at the witness: its machine, its file, the connections of its nodes. On the loop.
///
/// At most one write of a pair is under way. While a name is being pinned nothing is asked of the machine, and while the machine writes no
/// name is pinned: a file is always the last one that was durable with one thing changed.
final class PairDesk {
    private enum Condition {
        /// Nobody has come under this name, or the first one's name is on its way to the disk.
        case unknown
        case serving(Witness)
        /// What is on disk cannot be relied on; no answers until a person has said `forget`.
        case damaged(String)
        case leaving
    }

    private struct Seat {
        var guest: LinkGuest
        /// The agent's, from its hello.
        var session: SessionID?
        var heardAt: Int64
        var reader = WitnessRequestReader()
    }

    let cluster: String
    /// Of this run of the pair's machine.
    private(set) var session: SessionID
    /// It holds the desks, and lives as long as the loop.
    private unowned let house: WitnessHouse
    private var condition: Condition
    private var pin: PairFile.Pin?
    private var isWriting = false
    private var seats: [UInt64: Seat] = [:]
    /// For people, and for the next machine: the pair's own promise is inside the present one.
    private var promisedUntil: Moment?
    private var heardAt: [String: Int64] = [:]
    private var writer = WitnessAnswerWriter()

    /// As found on disk; nil: nothing is known.
    init(_ cluster: String, _ found: PairFile?, _ house: WitnessHouse) {
        self.cluster = cluster
        self.house = house
        session = Self.newSession()
        pin = found?.pin
        condition = .unknown
        if let found { open(found) }
    }

    init(_ cluster: String, problem: String, _ house: WitnessHouse) {
        self.cluster = cluster
        self.house = house
        session = Self.newSession()
        condition = .damaged(problem)
    }

    private static func newSession() -> SessionID { SessionID(Random.word() >> 1 | 1) }

    /// The machine begins, with this session. A pair whose second node has not come yet has a place for it under a name that no node has:
    /// one node alone can then never stand for both (3.3).
    private func open(_ file: PairFile) {
        let now = Moment.now()
        pin = file.pin
        var start = now
        if let record = file.record {
            // Not earlier than what the machine before it promised.
            if let promised = promisedUntil { start = Moment.latest(now, promised - record.lease) }
            promisedUntil = start + record.lease
        }
        let names = file.pin.nodes.map { NodeName($0) }
        condition = .serving(
            Witness(
                session: session, generation: house.generation, nodes: names.count == 2 ? names : names + [NodeName("")],
                record: file.record, at: start))
        for seat in seats.values { greet(seat) }
    }

    // MARK: connections

    func entered(_ guest: LinkGuest) { seats[guest.id] = Seat(guest: guest, session: nil, heardAt: SystemClock.now()) }

    func left(_ guest: LinkGuest) { seats[guest.id] = nil }

    private func dismiss(_ why: String) {
        for seat in seats.values { seat.guest.end(why) }
    }

    /// Nobody is here, and nothing of it is durable: it need not be kept.
    var isEmpty: Bool {
        guard case .unknown = condition else { return false }
        return seats.isEmpty && !isWriting && pin == nil
    }

    /// Nil: the node may stay.
    func refusal(of hello: HelloDocument, from guest: LinkGuest) -> RefusalNote? {
        let forget = "`pgtandem witness forget \(cluster)`"
        switch condition {
        case .leaving: return RefusalNote(code: "busy", text: "the pair \(cluster) is just being forgotten here: connect anew")
        case .damaged(let what):
            return RefusalNote(
                code: "damaged",
                text:
                    "the witness's file of the pair \(cluster) cannot be relied on: \(what). Nothing is answered until \(forget) was run there; "
                    + "the nodes then write the record anew by themselves")
        case .unknown, .serving: break
        }
        guard let system = hello.system_identifier else {
            return RefusalNote(
                code: "noSystemIdentifier",
                text:
                    "node \(guest.node) does not say which PostgreSQL it serves, by which a pair is known here: run `pgtandem init` or `join` "
                    + "there first")
        }
        if let pin, let problem = mismatch(pin, system, guest) {
            return RefusalNote(
                code: problem.code,
                text:
                    "\(problem.text). If the pair \(cluster) was made anew on purpose, run \(forget) on the witness; else it is another pair of the "
                    + "same name, which needs another `cluster`")
        }
        if pin?.nodes.contains(guest.node) != true {
            guard !isWriting else { return RefusalNote(code: "busy", text: "the witness is writing: connect anew") }
            pinDown(guest, system)
        }
        seats[guest.id]?.session = SessionID(hello.session)
        if let seat = seats[guest.id] { greet(seat) }
        return nil
    }

    private func mismatch(_ pin: PairFile.Pin, _ system: UInt64, _ guest: LinkGuest) -> RefusalNote? {
        if pin.authority != guest.authorityFingerprint {
            return RefusalNote(
                code: "otherAuthority",
                text:
                    "the name \(cluster) belongs to a pair of another certificate authority here (SHA-256 \(pin.authority.prefix(16))…, this one "
                    + "has \(guest.authorityFingerprint.prefix(16))…)")
        }
        if pin.systemIdentifier != system {
            return RefusalNote(
                code: "otherSystem",
                text:
                    "the name \(cluster) belongs to a pair with the PostgreSQL system identifier \(pin.systemIdentifier) here, node \(guest.node) "
                    + "has \(system)")
        }
        if pin.nodes.count == 2, !pin.nodes.contains(guest.node) {
            return RefusalNote(
                code: "otherNode",
                text:
                    "the pair \(cluster) consists of the nodes \(pin.nodes.joined(separator: " and ")) here, not of \(guest.node)"
            )
        }
        return nil
    }

    private func greet(_ seat: Seat) {
        guard let session = seat.session, case .serving(var machine) = condition else { return }
        _ = machine.step(.hello(NodeName(seat.guest.node), session), at: .now())
        condition = .serving(machine)
    }

    // MARK: names

    /// The first node of a pair, or its second one: durable before anything is answered. With the second one the machine begins anew, as it
    /// is made for its nodes' names; the connections end, so that both nodes learn its session.
    private func pinDown(_ guest: LinkGuest, _ system: UInt64) {
        let nodes = (pin?.nodes ?? []) + [guest.node]
        let new = PairFile.Pin(authority: guest.authorityFingerprint, systemIdentifier: system, nodes: nodes)
        let file = PairFile(cluster: cluster, pin: new, record: machine?.record)
        let facts = ["cluster": cluster, "node": guest.node, "system_identifier": "\(system)"]
        write(file) { [self] isDurable in
            guard isDurable else { return dismiss("the name of the node could not be made durable") }
            house.log.info("a node is known from now on", metadata: facts.mapValues { "\($0)" })
            if nodes.count == 2 {
                session = Self.newSession()
                dismiss("both nodes of the pair are known now: connect anew")
            }
            open(file)
        }
    }

    // MARK: requests

    private var machine: Witness? { if case .serving(let machine) = condition { machine } else { nil } }

    func received(_ payload: [UInt8], from guest: LinkGuest) {
        let now = SystemClock.now()
        seats[guest.id]?.heardAt = now
        heardAt[guest.node] = now
        // Repeated at the next heartbeat.
        guard case .serving(let machine) = condition, !isWriting else { return }
        let found: (WitnessRequest, Heartbeat.Header)
        do throws(WireError) {
            guard let read = try seats[guest.id]?.reader.read(payload) else { return }
            found = read
            guard found.0.node.text == guest.node else { throw WireError("a request of the node `\(found.0.node)`") }
            guard found.0.ledgers.allSatisfy({ $0.cluster == cluster }) else { throw WireError("a ledger of another cluster") }
        } catch {
            house.tell(
                .warning, "a request cannot be understood", ["cluster": cluster, "node": guest.node, "reason": "\(error)"])
            return guest.end("a request that cannot be understood: \(error)")
        }
        step(machine, .request(found.0, found.1))
    }

    private func step(_ before: Witness, _ event: Witness.Event) {
        var machine = before
        let effects = machine.step(event, at: .now())
        condition = .serving(machine)
        for effect in effects {
            switch effect {
            case .persist(let ledger): persist(ledger)
            case .answer(let answer, let node, let header): send(answer, to: node, header)
            }
        }
    }

    private func persist(_ ledger: Ledger) {
        guard let pin, pin.nodes.contains(ledger.primary.text) else {
            house.tell(.error, "a record that names a node of another pair", ["cluster": cluster, "ledger": "\(ledger)"])
            return resume(.notPersisted(ledger))
        }
        write(PairFile(cluster: cluster, pin: pin, record: ledger)) { [self] isDurable in
            if isDurable { house.log.info("record", metadata: ["cluster": "\(cluster)", "ledger": "\(ledger)"]) }
            resume(isDurable ? .persisted(ledger) : .notPersisted(ledger))
        }
    }

    private func resume(_ event: Witness.Event) {
        guard case .serving(let machine) = condition else { return }
        step(machine, event)
    }

    private func send(_ answer: WitnessAnswer, to node: NodeName, _ header: Heartbeat.Header) {
        if let promised = answer.promised { promisedUntil = Moment.latest(.now() + promised, promisedUntil) }
        let theirs = seats.values.filter { $0.guest.node == node.text && $0.session == header.receiver }
        // By the way that was used last; an answer that finds nobody is lost, which costs nothing.
        guard let seat = theirs.max(by: { $0.heardAt < $1.heardAt }) else { return }
        do {
            seat.guest.send(FrameKind.witnessAnswer, try writer.write(answer, header))
        } catch {
            house.tell(.error, "an answer cannot be written", ["cluster": cluster, "reason": "\(error)"])
        }
    }

    // MARK: the file

    /// In doubt it is written again until it is settled: what may be found after a power loss is neither relied on nor denied.
    private func write(_ file: PairFile, isInDoubt: Bool = false, then: @escaping (Bool) -> Void) {
        isWriting = true
        house.write(file, isInDoubt) { [self] outcome in
            // Forgotten in between.
            if case .leaving = condition { return }
            switch outcome {
            case .durable:
                isWriting = false
                house.tell(.info, "written again", ["cluster": cluster], ends: "cannot be written")
                then(true)
            case .refused(let why) where !isInDoubt:
                house.tell(.error, "cannot be written: the old record stands", ["cluster": cluster, "reason": why])
                tellNodes(
                    "cannotWrite",
                    "the witness cannot write the record of the pair \(cluster): \(why). Leases go on, and nothing is granted: free space on its disk, "
                        + "or make it writable")
                isWriting = false
                then(false)
            case .refused(let why), .inDoubt(let why):
                house.tell(.error, "cannot be made durable: the pair waits until it can", ["cluster": cluster, "reason": why])
                tellNodes(
                    "inDoubt",
                    "the witness cannot make the record of the pair \(cluster) durable: \(why). Until it can, it answers nothing: look at its disk, "
                        + "and at its log")
                house.loop.assumeIsolated().scheduleTask(in: .seconds(1)) { [self] in
                    if case .leaving = condition { return }
                    write(file, isInDoubt: true, then: then)
                }
            }
        }
    }

    /// Why a request of theirs stays without an answer; the connections stay.
    private func tellNodes(_ code: String, _ text: String) {
        do {
            let words = try JSON.encode(NoteDocument(RefusalNote(code: code, text: text)))
            for seat in seats.values where seat.session != nil { seat.guest.send(FrameKind.witnessRefusal, words) }
        } catch {
            house.tell(.error, "a refusal cannot be written", ["cluster": cluster, "reason": "\(error)"])
        }
    }

    /// Its file goes, and its connections end. It is of no use afterwards: who asks next gets a new desk.
    func forget(_ then: @escaping (_ problem: String?) -> Void) {
        if case .leaving = condition { return then("it is just being forgotten") }
        condition = .leaving
        dismiss("the pair was forgotten here: connect anew")
        house.remove(cluster) { [self] problem in
            // Nobody knows what the file says now; a second `forget` may.
            if let problem { condition = .damaged("it could not be removed: \(problem)") }
            isWriting = false
            then(problem)
        }
    }

    // MARK: for people

    var facts: WitnessList.Pair {
        let now = Moment.now()
        var pair = WitnessList.Pair(cluster: cluster, problem: "")
        pair.problem = if case .damaged(let what) = condition { what } else { nil }
        pair.authority = pin?.authority
        pair.system_identifier = pin?.systemIdentifier
        pair.record = machine?.record.map(LedgerDocument.init)
        if let promisedUntil, promisedUntil.isKept(at: now) {
            pair.promise_ms = max((promisedUntil.boot - now.boot).milliseconds, (promisedUntil.raw - now.raw).milliseconds)
        }
        pair.nodes = (pin?.nodes ?? []).map { name in
            let seat = seats.values.filter { $0.guest.node == name && $0.session != nil }.max { $0.heardAt < $1.heardAt }
            return .init(
                name: name, connected: seat != nil, address: seat?.guest.remote.description,
                last_heard_ms: heardAt[name].map { (now.boot.nanoseconds - $0) / 1_000_000 })
        }
        return pair
    }
}

extension WitnessRequest {
    /// Everything in it that claims to be of a cluster.
    fileprivate var ledgers: [Ledger] {
        switch kind {
        case .heartbeat(let own, _), .sole(let own), .establish(let own, _): [own]
        case .claim(let own, let granted): [own, granted]
        case .read: []
        }
    }
}

extension Moment {
    /// On each clock.
    fileprivate static func latest(_ a: Moment, _ b: Moment?) -> Moment {
        guard let b else { return a }
        return Moment(boot: max(a.boot, b.boot), raw: max(a.raw, b.raw))
    }
}
