import TandemCore

/// How a pair is set up.
package struct Setup: Hashable, Sendable, Codable {
    package var mode: Policy.ReplicationMode
    package var arbiter: ArbiterKind
    package var timing: Timing
    /// Who gets the role back, and who never shall have it.
    package var preferred: Party?
    package var barred: Party?
    package init(
        mode: Policy.ReplicationMode = .synchronous, arbiter: ArbiterKind = .witness, timing: Timing = .standard,
        preferred: Party? = nil, barred: Party? = nil
    ) {
        self.mode = mode
        self.arbiter = arbiter
        self.timing = timing
        self.preferred = preferred
        self.barred = barred
    }
}

/// Two hosts and a witness, one queue of things to come, one source of chance. Synchronous, no clock but its own: the same seed and the
/// same faults give the same run, to the last message.
package final class World {
    package internal(set) var now: Int64 = 0
    package internal(set) var steps = 0
    package let setup: Setup
    package let a: SimHost
    package let b: SimHost
    package let witness: SimWitness
    package internal(set) var violation: Violation?
    package internal(set) var transcript: [Line] = []
    package internal(set) var coverage = Coverage()

    var windows = Event.Windows()
    var queue = Queue()
    var random: Random
    var links: [Link]
    var lanes: [[Int64]] = [[Int64]](
        repeating: [Int64](repeating: 0, count: Lane.allCases.count), count: 2)
    var check = Checker()
    var isWriting = false
    /// Between two writes of clients, on average.
    var pace = Duration.milliseconds(40)
    var calmSince: Int64 = 0
    var nextCommit: Int32 = 1
    var nextRequest: UInt64 = 0
    var flaw: Flaw?
    var keepsTranscript: Bool

    package struct Line: Hashable, Sendable {
        package var at: Int64
        package var who: String
        package var text: String
        package init(at: Int64, who: String, text: String) {
            self.at = at
            self.who = who
            self.text = text
        }
    }

    /// One direction of a network path.
    struct Link {
        /// How many faults hold it cut.
        var cuts = 0
        var loss = 0
        var twice = 0
        var late = Duration.zero
        /// Everything takes so much longer.
        var slow = Duration.zero
        var stalls = 0
        var held: [Packet] = []
    }

    package init(_ setup: Setup = Setup(), seed: UInt64 = 1, flaw: Flaw? = nil, transcript: Bool = false) {
        self.setup = setup
        self.flaw = flaw
        keepsTranscript = transcript
        random = Random(seed: seed ^ 0x5DEE_CE66_D1CE_4E5B)
        func policy(_ node: NodeName, _ peer: NodeName) -> Policy {
            Policy(
                cluster: "orders", node: node, peer: peer, mode: setup.mode, arbiter: setup.arbiter, timing: setup.timing,
                promoteLimit: .init(bytes: 3000, age: .seconds(4)), handoverBytes: 1000,
                returnLimit: .init(bytes: 1000, age: .seconds(5)), recoveryPatience: .seconds(8),
                configurationPatience: .seconds(3), preferredPrimary: setup.preferred?.node, barredPrimary: setup.barred?.node,
                failbackNotice: .seconds(2))
        }
        a = SimHost(.a, policy: policy("a", "b"))
        b = SimHost(.b, policy: policy("b", "a"))
        witness = SimWitness()
        links = [Link](repeating: Link(), count: 9)
        for host in [a, b] {
            // Two oscillators, less than ρ apart.
            host.clock.rate = Int64(random.between(-400, 400))
            host.clock.reboot(0, offset: Int64(random.between(1, 1000)) * 1_000_000_000)
        }
        witness.clock.rate = Int64(random.between(-400, 400))
        if random.chance(20) { pace = .milliseconds(600) }
    }

    package var hosts: [SimHost] { [a, b] }
    /// Commits that clients were told are safe.
    package var acknowledgedCount: Int { check.count }
    package func answered(_ id: RequestID, at party: Party) -> CommandAnswer? { host(party).answers[id]?.last }
    package func host(_ party: Party) -> SimHost { party == .b ? b : a }
    package func other(_ host: SimHost) -> SimHost { host === a ? b : a }

    /// Both directories exist, A is primary alone by its ledger, B has joined; nothing runs yet.
    package func found() {
        let ledger = Ledger(
            cluster: "orders", term: Term(2), step: 1, primary: "a", bond: .sole, primaryCopy: a.copy, standbyCopy: nil,
            arbiter: setup.arbiter, lease: setup.arbiter.lends ? setup.timing.lease : .zero)
        for host in hosts { host.ledger = ledger }
        check.terms[ledger.term.number] = "a"
    }

    /// Everything is switched on.
    package func switchOn() {
        startWitness()
        for host in hosts { startAgent(host) }
        isWriting = true
        later(.milliseconds(30), .write)
        later(.milliseconds(20), .stream)
    }

    // MARK: - time

    func later(_ delay: Duration, _ what: Happening) { queue.put(what, at: now + delay.nanoseconds) }

    package func run(_ span: Duration, until done: (World) -> Bool = { _ in false }) {
        run(until: now + span.nanoseconds, limit: .max, done)
    }

    /// Until that time, that many steps, a violation, or a condition.
    func run(until end: Int64, limit: Int, _ done: (World) -> Bool = { _ in false }) {
        while violation == nil, steps < limit, let next = queue.next, next <= end, !done(self) {
            guard let entry = queue.take() else { break }
            now = max(now, entry.at)
            happen(entry.what)
            inspect()
        }
        if violation == nil, steps < limit, queue.next.map({ $0 > end }) ?? true, !done(self) { now = max(now, end) }
    }

    private func happen(_ what: Happening) {
        switch what {
        case .tick(let party, let run): ticked(host(party), run)
        case .observe(let party, let run): observed(host(party), run)
        case .event(let party, let run, let event):
            if isReady(host(party), run, what) { feed(host(party), event) }
        case .effect(let party, let run, let effect, let again):
            if isReady(host(party), run, what) { carryOut(host(party), run, effect, again: again) }
        case .arrive(let packet, let from, let to): arrive(packet, from: from, to: to)
        case .witnessPersists(let ledger, let run): witnessPersists(ledger, run)
        case .guardLooks(let party, let life): guardLooks(host(party), life)
        case .guardActs(let party, let life): guardActs(host(party), life)
        case .write:
            write()
            later(pace * random.between(50, 150) / 100, .write)
        case .stream:
            stream()
            later(.milliseconds(20), .stream)
        case .instanceIsUp(let party, let start): instanceIsUp(host(party), start)
        case .orphansEnd(let party, let start): orphansEnd(host(party), start)
        case .panics(let party, let start): panics(host(party), start)
        case .namesTakeEffect(let party, let start): namesTakeEffect(host(party), start)
        case .startAgent(let party): startAgentIfDue(host(party))
        case .lastAct(let party): lastAct(host(party))
        case .guardRestarts(let party): guardRestarts(host(party))
        case .boot(let party): boot(host(party))
        case .thaw(let party): thaw(host(party))
        case .startWitness: startWitness()
        case .begin(let fault): begin(fault)
        case .end(let fault): end(fault)
        case .join(let party): join(host(party))
        case .word(let party, let accept): word(host(party), accept)
        }
    }

    // MARK: - the transcript

    /// What was told so far is not part of the story.
    package func forgetTranscript() { transcript = [] }

    func say(_ who: String, _ text: @autoclosure () -> String) {
        guard keepsTranscript else { return }
        transcript.append(Line(at: now, who: who, text: text()))
    }
}
