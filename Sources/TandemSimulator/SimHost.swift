import TandemCore

/// One host: machine, disk, agent, guard, PostgreSQL, interface.
package final class SimHost {
    package let party: Party
    package let name: NodeName
    package let peerName: NodeName
    package internal(set) var copy: CopyID
    package internal(set) var node: Node

    // disk
    package internal(set) var ledger: Ledger?
    package internal(set) var notes = Notes()
    var isLedgerDamaged = false
    /// What stood in a state directory that was lost.
    var lost: (ledger: Ledger, notes: Notes)?
    /// The right data directory, while another one stands in its place.
    var aside: (mark: LocalPostgres.CopyMark?, wal: [Int32], timeline: Timeline)?
    /// The data directory's own mark; nil: there is no directory.
    var mark: LocalPostgres.CopyMark?

    // machine
    package internal(set) var isUp = true
    package internal(set) var isFrozen = false
    /// Thawed, and the guard has not run since: outside of S1 and S5 until then.
    var guardMustRun = false
    var boots = 1
    var clock = SimClock()

    // agent
    package internal(set) var agentRuns = false
    /// One more with each start.
    var run = 0
    var hungUntil: Int64?
    /// What could not be told to the agent while it, or the host, was frozen.
    var backlog: [Happening] = []
    /// When the newest look at PostgreSQL reaches the agent.
    var toldUntil: Int64 = 0
    /// The same of the addresses.
    var heldToldUntil: Int64 = 0
    /// When what had piled up is worked off.
    var workedOff: Int64 = 0
    /// A person is working here: nothing starts the agent by itself.
    var isInHand = false
    var hasExited = false
    /// Somebody keeps it switched off.
    var isKeptOff = false
    /// What the configuration says by now; read at the agent's next start.
    var nextPolicy: Policy?

    // guard
    var guardian = SimGuard()

    package internal(set) var held = Event.Held(primary: .none, standby: .none)
    var postgres = SimPostgres()

    // troubles
    var failing: [EffectKind: Int] = [:]
    var repeating = 0
    /// What failed just now: its repetition fails too.
    var failed: EffectKind?
    var slowness = 1
    var seesGateway: Bool?
    /// What is wrong with the disk below the data; since when it is so, or was.
    var storage: StorageFault?
    var storageSince: Int64?
    var isDelayed = false
    var hasLowSettings = false
    /// Somebody put another database, or another version, in its place.
    var isForeign = false
    var hasOtherVersion = false
    var streamIsThrottled = false
    /// So many times from now on the other one's PostgreSQL cannot be asked.
    var surveysFail = 0

    package internal(set) var notices: [String] = []
    package internal(set) var answers: [RequestID: [CommandAnswer]] = [:]

    init(_ party: Party, policy: Policy) {
        self.party = party
        name = policy.node
        peerName = policy.peer
        copy = CopyID(high: UInt64(party.rawValue + 1), low: 7)
        node = Node(policy: policy)
        mark = .init(copy: copy, node: policy.node)
    }

    /// Of the node, after its last step; asked for where it stands, as reading it through this object would copy all of it.
    package var role: Role { isUp ? node.look { $0.role } : .none }
    package internal(set) var state = State.Kind.waiting
    var sessionID: SessionID { SessionID(UInt64(run * 4 + party.rawValue + 1)) }
    var bootID: BootID { BootID("boot \(boots)") }
    /// Whether anything runs there.
    /// Its PostgreSQL is up as a standby.
    package var recovers: Bool { postgres.condition == .recovering }
    package var isAlive: Bool { isUp && !isFrozen }
    var agentActs: Bool { agentRuns && isAlive && hungUntil == nil }

    /// Accepts writes by the agent's doing, now: what S1 counts.
    var isAccepting: Bool { isAlive && !guardMustRun && postgres.acceptsWrites && postgres.openedByAgent }
}

/// The two clocks of a host; both begin anew at boot. Rates in millionths.
struct SimClock {
    var base = Moment(boot: Instant(nanoseconds: 1_000_000_000), raw: Instant(nanoseconds: 1_000_000_000))
    var since: Int64 = 0
    /// Of the oscillator: both clocks. Two hosts are less than ρ apart.
    var rate: Int64 = 0
    /// Time slewing, which changes CLOCK_BOOTTIME alone.
    var slew: Int64 = 0

    func now(_ time: Int64) -> Moment {
        let passed = time - since
        let raw = passed + passed / 1_000_000 * rate
        return Moment(
            boot: Instant(nanoseconds: base.boot.nanoseconds + raw + raw / 1_000_000 * slew),
            raw: Instant(nanoseconds: base.raw.nanoseconds + raw))
    }

    mutating func reboot(_ time: Int64, offset: Int64) {
        base = Moment(boot: Instant(nanoseconds: offset), raw: Instant(nanoseconds: offset))
        since = time
    }

    mutating func change(_ time: Int64, slew new: Int64) {
        base = now(time)
        since = time
        slew = new
    }

    /// When the first of both reaches that moment, or a little before.
    func time(of moment: Moment, from now: Int64) -> Int64 {
        let present = self.now(now)
        let left = min(
            moment.boot.nanoseconds - present.boot.nanoseconds, moment.raw.nanoseconds - present.raw.nanoseconds)
        return now + max(0, left - left / 10)
    }
}

struct SimGuard {
    var isRunning = false
    var isArmed = false
    var until: Moment?
    /// One more with each start or order.
    var life = 0
    var hasActed = false
}

extension Node {
    /// Not changed: what changes is looked at in its place, what does not is copied first, all of its several thousand bytes.
    mutating func look<Seen>(_ look: (inout Node) -> Seen) -> Seen { look(&self) }
}

/// The effects by kind, so that a fault can say which of them fail.
package enum EffectKind: String, Hashable, Sendable, CaseIterable, Codable {
    case writeLedger, start, stop, promote, configure, confirm, findEndOfWAL, receiveWAL, claimAddress, releaseAddress, armGuard,
        rejoin
}
