import Glibc
import Logging
import Synchronization
import TandemConfiguration
import TandemCore
import TandemPostgres
import TandemRuntime
import TandemSystem
import TandemWire

/// This host's PostgreSQL: orders to the instance, and what the watch sees of it.
final class PostgresAdapter: PostgresPort {
    let instance: Instance
    private let configuration: Configuration
    private let watch: Watch
    private let heartbeat: HeartbeatKeeper
    private let log: Logger
    private let peerAddresses: [String]
    private let kept: KeptSettings
    private let comingBack: RejoinAdapter
    private let seen = LastSeen()
    private let slots = StandbySlot()
    private let checks = Lane(name: "settings-check", isPatient: true)
    private let sizes = SegmentSize()
    private let canary: StorageCanary

    init(
        _ configuration: Configuration, history: HistoryFile, log: Logger,
        heartbeatWriter: @escaping @Sendable () -> HeartbeatKeeper.Writer?,
        onObservation: @escaping @Sendable (LocalPostgres) -> Void, onStorage: @escaping @Sendable (Storage) -> Void
    ) throws {
        self.configuration = configuration
        self.log = log
        kept = try KeptSettings.read(stateDirectory: configuration.stateDirectory)
        instance = Instance(configuration.instance)
        comingBack = RejoinAdapter(configuration, instance, kept: kept, history: history, log: log)
        peerAddresses = configuration.peer.addresses.map(\.description)
        let box = seen
        let instance = self.instance
        let checks = self.checks
        let sizes = self.sizes
        let slots = self.slots
        let parts = RunningParts(configuration.instance, configuration.node)
        canary = try StorageCanary(dataDirectory: configuration.postgresql.dataDirectory, deliver: onStorage)
        let told = WatchBox()
        let heartbeat = HeartbeatKeeper(configuration.instance, writer: heartbeatWriter) { told.watch?.note($0) }
        self.heartbeat = heartbeat
        var patience = Watch.Patience()
        patience.busyInterval = min(max(patience.interval, configuration.timing.heartbeat), .milliseconds(250))
        // Each look wakes two threads: an idle agent has little else to do.
        patience.calmInterval = min(max(patience.interval, configuration.timing.heartbeat * 2), .milliseconds(400))
        // As much for one slow answer as with the shorter interval: who is silent shows no data.
        patience.answer += patience.calmInterval - patience.interval
        watch = try Watch(configuration.instance, patience: patience) { observation in
            heartbeat.observed(observation)
            box.remember(observation)
            onObservation(observation)
            // Neither a promotion nor a handover may pay for a new session, or for a look into the control file.
            guard observation.isRunning, box.isDue() else { return }
            checks.submit {
                do {
                    if observation.isRecovering {
                        try instance.keepReady()
                    } else {
                        try instance.keepStandbySignal()
                        if let slot = slots.due() { try instance.dropSlots(prefix: "pgtandem_", otherThan: slot) }
                    }
                    _ = try sizes.get(instance)
                    try parts.seenRunning()
                } catch {
                    log.debug("nothing is kept ready", metadata: ["reason": "\(error)"])
                }
            }
        }
        told.watch = watch
    }

    /// How far a rewind or a new copy is; nil: none is under way.
    var rejoinProgress: StatusDocument.Rejoin? { comingBack.progress }

    /// nil: there was no data directory at any look so far.
    var systemIdentifier: UInt64? { seen.systemIdentifier }

    /// Before anything is adopted: programs that an agent before this one was killed over.
    func endLeftovers() throws { try comingBack.endLeftovers() }

    func startWatching() throws {
        try watch.start()
        try canary.start()
        heartbeat.start()
    }

    func stopWatching() {
        heartbeat.stop()
        watch.stop()
        canary.stop()
        checks.stop()
    }
    func look() -> LocalPostgres { watch.lookNow() }

    func start(_ mode: Effect.StartMode) throws {
        let isPrimary: Bool = if case .primary = mode { true } else { false }
        if case .follower(let fork) = mode { try prepareToFollow(fork) }
        // On the command line it wins over every file, until the next start.
        let options = mode == .isolated ? ["primary_conninfo=", "restore_command="] : []
        let result = try instance.start(isPrimary ? .primary : .standby, deadline: .seconds(30), options: options)
        // Settings may have been written while it read its own, before it could be found and signalled.
        _ = ProcessTable.signal(result.postmaster.pid, SIGHUP)
        log.info("PostgreSQL started", metadata: ["as": isPrimary ? "primary" : "standby", "ms": "\(Self.ms(result.duration))"])
    }

    private func prepareToFollow(_ fork: LSN) throws {
        guard try instance.postmaster() == nil, instance.livingProcesses().isEmpty else { return }
        let timeline = try lastTimeline()
        let end = try WALWriter(directory: walDirectory, segmentSize: try segments())
            .prepareToFollow(fork: fork, from: fork, timeline: timeline, deadline: .seconds(30))
        guard end <= fork else {
            throw CommandFailure.failed(
                "this instance has WAL up to \(end), and the other one was promoted at \(fork): it has diverged. Keep its directory until you know "
                    + "what it holds; move it and the ledger away, and run `pgtandem join`")
        }
    }

    func stop(_ mode: Effect.StopMode) throws {
        instance.release()
        let began = SystemClock.now()
        switch mode {
        case .fast:
            do {
                _ = try instance.stop(.fast, deadline: .seconds(60))
            } catch {
                // Whoever gave the order relies on the end: what does not go in order goes by force.
                log.warning("a fast shutdown did not end it; every process is ended now", metadata: ["reason": "\(error)"])
                try end()
            }
        case .immediate:
            try end()
        }
        log.info(
            "PostgreSQL stopped", metadata: ["mode": "\(mode.rawValue)", "ms": "\((SystemClock.now() - began) / 1_000_000)"])
    }

    private func end() throws {
        let result = instance.endAll(deadline: .seconds(10))
        guard result.isComplete else {
            throw CommandFailure.failed(
                "processes \(result.survivors) of \(configuration.postgresql.dataDirectory) do not end, not even by SIGKILL: is a disk hanging?"
            )
        }
    }

    func promote() throws -> (timeline: Timeline, fork: LSN) {
        let phases = try instance.promote(deadline: .seconds(60))
        log.info(
            "PostgreSQL promoted",
            metadata: [
                "requested ms": "\(Self.ms(phases.requested))", "recovery ended ms": "\(Self.ms(phases.recoveryEnded))",
                "first write ms": "\(Self.ms(phases.firstWrite))", "timeline": "\(phases.timeline)",
            ])
        // A rewind of the other host goes by the control file, which names the new timeline from the first checkpoint on (section 9).
        checks.submit { [instance, log] in
            do { try instance.checkpoint(deadline: .seconds(600)) } catch {
                log.warning("no checkpoint after the promotion", metadata: ["reason": "\(error)"])
            }
        }
        return (phases.timeline, phases.fork ?? LSN(0))
    }

    func configure(_ settings: Settings) throws {
        let slotBefore = slots.name
        slots.name = settings.slot?.applicationName
        let wanted = configuration.managed(settings, keeping: kept)
        try instance.write(wanted)
        // Where nobody waits for it: the slot, and whether somebody else's setting counts instead of ours.
        checks.submit { [self] in check(wanted, settings.slot, before: slotBefore) }
    }

    func survey() throws -> Survey { try comingBack.survey() }
    func rejoin(_ way: RejoinWay, endedBy bell: Bell?) throws {
        try canary.paused { try comingBack.perform(way, endedBy: bell) }
    }

    private func check(_ wanted: ManagedSettings, _ slot: CopyID?, before: String?) {
        do {
            guard try instance.postmaster() != nil else { return }
            if let slot {
                try keepSlot(slot)
            } else if before != nil, look().isOpen {
                // 4.5: given up on purpose.
                try instance.dropAbandonedSlots(prefix: "pgtandem_", keeping: [])
                log.warning("WAL is not kept for the absent standby any more: little room is left on this disk")
            } else {
                try instance.dropIdleSlots(prefix: "pgtandem_")
            }
            for override in try instance.overrides(wanted, deadline: .seconds(5)) {
                log.warning("a setting of ours is overridden elsewhere", metadata: ["setting": "\(override.text)"])
            }
        } catch {
            log.warning("the settings could not be checked", metadata: ["reason": "\(error)"])
        }
    }

    /// Without its slot the standby would never stream: tried until the server takes it.
    private func keepSlot(_ slot: CopyID) throws {
        var failure: (any Error)?
        let isThere = SystemClock.wait(upTo: .seconds(30), step: .milliseconds(250)) {
            do {
                try instance.ensureSlot(slot.applicationName)
                return true
            } catch {
                failure = error
                return false
            }
        }
        if !isThere, let failure { throw failure }
    }

    func confirmSynchronous(_ copy: CopyID) throws -> LSN {
        try instance.confirmSynchronous(copy, standbyAddresses: peerAddresses, deadline: .seconds(5))
    }

    func confirmPosition(_ copy: CopyID) throws {
        try instance.waitConfirmed(copy, try instance.position(), deadline: .seconds(5))
    }

    func checkpoint() throws { try instance.checkpoint(deadline: .seconds(600)) }

    func requireCopy(_ copy: CopyID) throws {
        try CopyMarkFile.require(.init(copy: copy, node: configuration.node), instance.settings.dataDirectory)
    }

    func findEndOfWAL(from start: LSN) throws -> LSN {
        let timeline = try lastTimeline()
        return try WALReader(directory: walDirectory, segmentSize: try segments()).endOfWAL(
            from: start, timeline: timeline, deadline: .seconds(30))
    }

    func receivedWAL() throws -> ReceivedWAL {
        let state = look()
        guard let position = state.received ?? state.replayed, let replayed = state.replayed, let timeline = state.timeline else {
            throw CommandFailure.failed("PostgreSQL here does not say how far it has received WAL: it is \(state.condition)")
        }
        return ReceivedWAL(position: position, replayed: replayed, timeline: timeline, isStreaming: state.isStreaming)
    }

    func readWAL(_ timeline: Timeline, from position: LSN, count: Int) throws -> [UInt8] {
        try WALReader(directory: walDirectory, segmentSize: try segments()).read(from: position, count: count, timeline: timeline)
    }

    func writeWAL(_ timeline: Timeline, _ bytes: [UInt8], at position: LSN) throws {
        try WALWriter(directory: walDirectory, segmentSize: try segments()).write(bytes, at: position, timeline: timeline)
    }

    func recordLineage(term: Term, copy: CopyID, parent: Term, fork: LSN, timeline: Timeline) throws {
        try instance.recordLineage(term, copy, parent: parent == term ? nil : parent, fork)
    }

    /// Of an instance that may be dead. Right after a promotion the control file's checkpoint is still on the old one.
    private func lastTimeline() throws -> Timeline {
        // And what was seen last may be older than a promotion that nobody saw.
        let control = try instance.controlData()
        return max(seen.timeline ?? 0, control.timeline, control.minimumRecoveryTimeline)
    }

    private var walDirectory: String { configuration.postgresql.dataDirectory + "/pg_wal" }

    private func segments() throws -> Int { try sizes.get(instance) }

    private static func ms(_ duration: Duration) -> Int64 { duration.milliseconds }
}

/// The watch and what it tells know of each other.
private final class WatchBox: Sendable {
    private let box = Mutex<Watch?>(nil)
    var watch: Watch? {
        get { box.withLock { $0 } }
        set { box.withLock { $0 = newValue } }
    }
}

/// Of WAL: fixed when the database cluster was made.
private final class SegmentSize: Sendable {
    private let known = Mutex<Int?>(nil)

    func get(_ instance: Instance) throws -> Int {
        if let size = known.withLock({ $0 }) { return size }
        let size = try instance.controlData().segmentSize
        known.withLock { $0 = size }
        return size
    }
}

/// The timeline that the instance was on when it last answered: its control file may be behind (section 9).
private final class LastSeen: Sendable {
    private let last = Mutex<Timeline?>(nil)
    private let identifier = Mutex<UInt64?>(nil)
    private let nextReady = Mutex<Int64>(0)

    /// True once a second.
    func isDue() -> Bool {
        let now = SystemClock.now()
        return nextReady.withLock { next in
            guard now >= next else { return false }
            next = now + 1_000_000_000
            return true
        }
    }

    var timeline: Timeline? { last.withLock { $0 } }
    var systemIdentifier: UInt64? { identifier.withLock { $0 } }
    func remember(_ observation: LocalPostgres) {
        if let system = observation.systemIdentifier { identifier.withLock { $0 = system } }
        if observation.isRunning, let timeline = observation.timeline { last.withLock { $0 = timeline } }
    }
}

/// The standby's slot here, by name: now and then every other one of ours is looked for.
private final class StandbySlot: Sendable {
    private let state = Mutex<(name: String?, next: Int64)>((nil, 0))

    var name: String? {
        get { state.withLock { $0.name } }
        set { state.withLock { $0 = (newValue, SystemClock.after(.seconds(5))) } }
    }

    /// Twice a minute.
    func due() -> String? {
        let now = SystemClock.now()
        return state.withLock { state in
            guard let name = state.name, now >= state.next else { return nil }
            state.next = now + 30_000_000_000
            return name
        }
    }
}
