import TandemCore

/// One node's status (`interface.md` 3, `/status`); what `pgtandem status` shows.
public struct StatusDocument: Codable, Sendable {
    public var cluster: String
    public var node: String
    public var role: String
    public var state: String
    public var term: UInt64?
    public var step: UInt64?
    public var bond: String?
    public var timeline: UInt32?
    public var lsn: String?
    public var lag_bytes: UInt64?
    public var lag_seconds: Double?
    public var addresses: [String]
    /// `pgtandem.heartbeat`; nil: it is neither written nor read here now.
    public var heartbeat_row: HeartbeatRow?
    public var postgresql: Postgres
    public var peer: Peer
    public var arbiter: Arbiter
    public var lease_ms: Int64?
    /// Where the arbiter lends: the process that ends the instance when the lease runs out.
    public var `guard`: Guard?
    /// Of a host that comes back by a rewind or a new copy: how far it is.
    public var rejoin: Rejoin?
    /// `well`, `low`, `full`, `read_only`, `failing`, `hangs` or `gone`; what to do stands in the notes.
    public var storage: String?
    public var paused: Bool
    public var failover_ready: Readiness
    /// What makes the pair less than it could be now, in plain words.
    public var notes: [String]
    public var version: String

    public struct HeartbeatRow: Codable, Sendable {
        /// What was written or read last.
        public var beat: UInt64?
        /// Why that cannot be done now.
        public var problem: String?
    }
    public struct Postgres: Codable, Sendable {
        public var running: Bool
        public var version: Int?
        public var in_recovery: Bool?
        public var condition: String
    }
    public struct Peer: Codable, Sendable {
        public var node: String
        public var reachable: Bool
        public var role: String?
        public var state: String?
        public var last_heard_ms: Int64?
        public var lsn: String?
        public var lag_bytes: UInt64?
        public var addresses: [String]
        public var condition: String?
    }
    public struct Arbiter: Codable, Sendable {
        public var kind: String
        /// Only of an arbiter that can be asked, as the next one.
        public var reachable: Bool?
        /// The last record that it answered with.
        public var record: LedgerDocument?
        /// Why it does not serve this pair, or not all that is asked, and what to do.
        public var problem: NoteDocument?

        /// - Parameter trouble: what the link to it knows.
        init(_ node: Node, _ trouble: RefusalNote?, at now: Instant) {
            // What is in force stands in the ledger.
            let present = node.ledger?.arbiter ?? node.policy.arbiter
            kind = present.rawValue
            switch present {
            case .manual: break
            case .witness:
                // A standby that hears its primary asks only every few heartbeats.
                reachable = node.arbiter.isHeard(within: node.policy.heartbeat * 10, at: now)
                record = node.arbiter.last?.record.map(LedgerDocument.init)
                problem = (trouble ?? Self.doubt(node)).map(NoteDocument.init)
            }
        }

        /// It answers, and its answers are of no use.
        private static func doubt(_ node: Node) -> RefusalNote? {
            if node.arbiter.isOutdated {
                return RefusalNote(
                    code: "outdated",
                    text:
                        "the witness answers with an older record than it had: it was restored from a backup, or another one stands in its place. It "
                        + "is not believed, and the pair goes on as without a witness. Look that the pair is whole, then run "
                        + "`pgtandem witness forget \(node.policy.cluster)` there: the nodes write the record anew")
            }
            return node.arbiter.isEmpty ? Refusal.recordLost.note : nil
        }
    }
    public struct Guard: Codable, Sendable {
        public var alive: Bool
        public var armed: Bool
        public var realtime: Bool
        public var memory_locked: Bool
        /// The hardware watchdog (3.2): `none`, `failed` (it cannot be used), `late` (its reset comes after another host may be primary), `in_time`.
        public var watchdog: String
        /// What therefore nothing ends in time; nil: it is covered.
        public var not_covered: String?
        /// How long its last act took until no process of the instance was left.
        public var last_act_ms: Int64?
        public init(
            alive: Bool, armed: Bool, realtime: Bool, memoryLocked: Bool, watchdog: String, notCovered: String?,
            lastActMilliseconds: Int64?
        ) {
            self.alive = alive
            self.armed = armed
            self.realtime = realtime
            memory_locked = memoryLocked
            self.watchdog = watchdog
            not_covered = notCovered
            last_act_ms = lastActMilliseconds
        }
    }
    public struct Rejoin: Codable, Sendable {
        /// `rewind` or `copy`.
        public var by: String
        public var step: String
        public var seconds: Int64
        /// Of the step, where it can be told; the total is PostgreSQL's estimate.
        public var done_bytes: Int64?
        public var total_bytes: Int64?
        public var left_seconds: Int64?
        public init(by: String, step: String, seconds: Int64) {
            self.by = by
            self.step = step
            self.seconds = seconds
        }
    }
    public struct Readiness: Codable, Sendable {
        public var ok: Bool
        public var reasons: [NoteDocument]?
        public init(_ reasons: [RefusalNote]) {
            ok = reasons.isEmpty
            self.reasons = reasons.isEmpty ? nil : reasons.map(NoteDocument.init)
        }
    }

    /// - Parameters:
    ///   - witnessTrouble: why the witness does not serve, as the link to it knows.
    ///   - shell: what the agent itself knows of what is less safe than it could be.
    public init(
        _ node: Node, at now: Instant, addresses: [AddressRole: [String]], guardian: Guard? = nil, rejoin: Rejoin? = nil,
        witnessTrouble: RefusalNote? = nil, shell: [String] = [], version: String
    ) {
        let policy = node.policy
        let postgres = node.postgres
        let heard = node.peer.isHeard(within: policy.silence, at: now)
        let report = node.peer.report
        cluster = policy.cluster
        self.node = policy.node.text
        role = node.role.rawValue
        state = node.state.name
        term = node.ledger?.term.number
        step = node.ledger?.step
        bond = node.ledger?.bond.rawValue
        timeline = postgres?.timeline
        let position = postgres?.isOpen == true ? postgres?.flushed : postgres?.replayed
        lsn = position?.description
        self.addresses =
            (node.held.primary == .all ? addresses[.primary] ?? [] : [])
            + (node.held.standby == .all ? addresses[.standby] ?? [] : [])
        if postgres?.row != nil || postgres?.rowTrouble != nil {
            heartbeat_row = HeartbeatRow(beat: postgres?.row?.beat, problem: postgres?.rowTrouble)
        }
        let document = postgres.map(PostgresDocument.init)
        postgresql = Postgres(
            running: postgres?.isRunning ?? false, version: postgres?.majorVersion,
            in_recovery: postgres?.isRunning == true ? postgres?.isRecovering : nil, condition: document?.condition ?? "unknown")
        var theirLag: UInt64?
        if postgres?.isOpen == true, let here = postgres?.flushed, let there = report?.postgres.replayed, heard {
            theirLag = there.behind(here)
        }
        if postgres?.isRecovering == true, let replayed = postgres?.replayed, let there = report?.postgres.flushed, heard {
            lag_bytes = replayed.behind(there)
            lag_seconds = node.dataAge(at: now).map { Double($0.milliseconds) / 1000 }
        }
        peer = Peer(
            node: policy.peer.text, reachable: heard, role: heard ? report?.role.rawValue : nil, state: nil,
            last_heard_ms: node.peer.silence(at: now)?.milliseconds,
            lsn: heard
                ? (report?.postgres.isOpen == true ? report?.postgres.flushed : report?.postgres.replayed)?.description : nil,
            lag_bytes: theirLag,
            addresses: heard
                ? (report?.holdsPrimaryAddress == true ? addresses[.primary] ?? [] : [])
                    + (report?.holdsStandbyAddress == true ? addresses[.standby] ?? [] : []) : [],
            condition: heard ? report.map { PostgresDocument($0.postgres).condition } : nil)
        arbiter = Arbiter(node, witnessTrouble, at: now)
        lease_ms = node.leaseLeft(at: now)?.milliseconds
        storage = node.storageWord
        paused = node.ledger?.paused != nil
        failover_ready = Readiness(node.failoverReadiness(at: now))
        `guard` = guardian
        self.rejoin = rejoin
        notes = node.remarks(at: now) + shell
        self.version = version
    }
}
