import TandemCore

/// What one agent tells the other about itself.
public struct ReportDocument: Codable, Sendable {
    public var role: String
    public var boot: String
    public var postgres: PostgresDocument
    public var data_age_ms: Int64?
    public var holds_primary_address: Bool
    public var holds_standby_address: Bool
    public var standby_address_holder: String?
    public var leaving: Bool
    public var sees_gateway: Bool?
    /// Absent: well, or an older agent.
    public var storage: NoteDocument?
    public var refusals: [NoteDocument]

    public init(_ report: PeerReport) {
        role = report.role.rawValue
        boot = report.boot.text
        postgres = PostgresDocument(report.postgres)
        data_age_ms = report.dataAge?.milliseconds
        holds_primary_address = report.holdsPrimaryAddress
        holds_standby_address = report.holdsStandbyAddress
        standby_address_holder = report.standbyAddressHolder?.text
        leaving = report.isLeaving
        sees_gateway = report.seesGateway
        storage = report.storage.map(NoteDocument.init)
        refusals = report.refusals.map(NoteDocument.init)
    }

    public func report() throws(WireError) -> PeerReport {
        guard let known = Role(rawValue: role) else { throw WireError("unknown role `\(role)`") }
        var report = PeerReport(role: known, boot: BootID(boot), postgres: try postgres.postgres())
        report.dataAge = data_age_ms.map { .milliseconds(min(max($0, 0), 1 << 40)) }
        report.holdsPrimaryAddress = holds_primary_address
        report.holdsStandbyAddress = holds_standby_address
        report.standbyAddressHolder = standby_address_holder.map { NodeName($0) }
        report.isLeaving = leaving
        report.seesGateway = sees_gateway
        report.storage = storage?.note
        report.refusals = refusals.map(\.note)
        return report
    }
}

/// The state of one PostgreSQL instance.
public struct PostgresDocument: Codable, Sendable {
    public var condition: String
    public var detail: String?
    public var system: UInt64?
    public var version: Int?
    public var timeline: UInt32?
    public var flushed: String?
    public var received: String?
    public var replayed: String?
    public var streaming: Bool
    public var replicas: [ReplicaDocument]
    public var capacity: [Int]?
    public var delayed: Bool
    public var replay_paused: Bool?
    /// Of the heartbeat row.
    public var beat: UInt64?
    public var copy: String?
    public var copy_node: String?

    public struct ReplicaDocument: Codable, Sendable {
        public var name: String
        public var address: String
        public var streaming: Bool
        public var synchronous: Bool
        public var flushed: String?
        public var replayed: String?
    }

    public init(_ postgres: LocalPostgres) {
        switch postgres.condition {
        case .stopped: condition = "stopped"
        case .starting(let progress):
            condition = "starting"
            detail = progress
        case .orphaned(let processes):
            condition = "orphaned"
            detail = String(processes)
        case .running(let isInRecovery): condition = isInRecovery ? "recovering" : "open"
        case .silent(let span):
            condition = "silent"
            detail = String(span.milliseconds)
        case .unusable(let why):
            condition = "unusable"
            detail = why
        }
        system = postgres.systemIdentifier
        version = postgres.majorVersion
        timeline = postgres.timeline
        flushed = postgres.flushed?.description
        received = postgres.received?.description
        replayed = postgres.replayed?.description
        streaming = postgres.isStreaming
        replicas = postgres.replicas.map {
            ReplicaDocument(
                name: $0.applicationName, address: $0.address, streaming: $0.isStreaming, synchronous: $0.isSynchronous,
                flushed: $0.flushed?.description, replayed: $0.replayed?.description)
        }
        capacity = postgres.capacity.map { [$0.connections, $0.workers, $0.senders, $0.preparedTransactions, $0.locks] }
        delayed = postgres.isDelayed
        replay_paused = postgres.isReplayPaused
        beat = postgres.row?.beat
        copy = postgres.copy?.copy.text
        copy_node = postgres.copy?.node.text
    }

    public func postgres() throws(WireError) -> LocalPostgres {
        let known: LocalPostgres.Condition
        switch condition {
        case "stopped": known = .stopped
        case "starting": known = .starting(detail ?? "")
        case "orphaned": known = .orphaned(processes: detail.flatMap { Int($0) } ?? 1)
        case "recovering": known = .running(isInRecovery: true)
        case "open": known = .running(isInRecovery: false)
        case "silent": known = .silent(.milliseconds(min(max(detail.flatMap { Int64($0) } ?? 0, 0), 1 << 40)))
        case "unusable": known = .unusable(detail ?? "")
        default: throw WireError("unknown state of PostgreSQL `\(condition)`")
        }
        var postgres = LocalPostgres(condition: known)
        postgres.systemIdentifier = system
        postgres.majorVersion = version
        postgres.timeline = timeline
        postgres.flushed = try lsn(flushed)
        postgres.received = try lsn(received)
        postgres.replayed = try lsn(replayed)
        postgres.isStreaming = streaming
        for replica in replicas {
            postgres.replicas.append(
                .init(
                    applicationName: replica.name, address: replica.address, isStreaming: replica.streaming,
                    isSynchronous: replica.synchronous, flushed: try lsn(replica.flushed), replayed: try lsn(replica.replayed)))
        }
        if let capacity {
            guard capacity.count == 5 else { throw WireError("capacity with \(capacity.count) numbers instead of 5") }
            postgres.capacity = .init(
                connections: capacity[0], workers: capacity[1], senders: capacity[2], preparedTransactions: capacity[3],
                locks: capacity[4])
        }
        postgres.isDelayed = delayed
        postgres.isReplayPaused = replay_paused
        postgres.row = beat.map { HeartbeatRow(beat: $0, turn: 0) }
        if let copy, let copy_node {
            guard let id = CopyID(copy) else { throw WireError("`\(copy)` is no copy id") }
            postgres.copy = .init(copy: id, node: NodeName(copy_node))
        }
        return postgres
    }

    private func lsn(_ text: String?) throws(WireError) -> LSN? {
        guard let text else { return nil }
        guard let lsn = LSN(text) else { throw WireError("`\(text)` is no WAL position") }
        return lsn
    }
}
