import Logging
import TandemConfiguration
import TandemCore
import TandemLinux
import TandemRuntime
import TandemSystem
import TandemWire

/// The guard of this host, as the core and the status see it. None is started before the first order to arm it, so a pair whose arbiter
/// lends nothing runs without.
final class GuardAdapter: GuardPort {
    private let client: GuardClient
    private let margin: Duration
    private let lease: Duration
    private let watchdog: String?
    private let log: Logger

    init(_ configuration: Configuration, log: Logger, onEnded: @escaping @Sendable () -> Void) throws {
        let path = Self.boardPath(configuration)
        let scope = try Self.scope(configuration)
        margin = scope.margin
        lease = configuration.timing.lease
        watchdog = configuration.watchdog.device
        let watchdog = configuration.watchdog.device.map {
            (device: $0, seconds: DeviceWatchdog.seconds(lease: configuration.timing.lease, margin: scope.margin))
        }
        self.log = log
        do {
            client = try GuardClient(
                boardPath: path, scope: scope,
                spawn: { old in
                    try GuardLaunch.start(GuardLaunch.arguments(scope, boardPath: path, replacing: old, watchdog: watchdog))
                },
                onEnded: { reason in
                    log.warning("the guard is lost; another one is found or started", metadata: ["reason": "\(reason)"])
                    onEnded()
                })
        } catch {
            throw CommandFailure.failed(
                "the folder of `control_socket` (\(configuration.controlSocket)) cannot hold the guard's board: \(error)")
        }
        if !client.wasSound {
            log.error(
                "the guard's board was written over by somebody: what it guarded is not known, and it is made anew",
                metadata: ["path": "\(path)"])
        }
    }

    static func boardPath(_ configuration: Configuration) -> String {
        configuration.controlSocket.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/guard"
    }

    static func scope(_ configuration: Configuration) throws -> GuardScope {
        let wanted = configuration.virtualAddresses
        return GuardScope(
            dataDirectory: configuration.postgresql.dataDirectory, interface: wanted.interface,
            addresses: try (wanted.primary + wanted.standby).map { address in
                guard let virtual = VirtualAddress("\(address.address)/\(address.prefix)") else {
                    throw CommandFailure.failed("\(address) cannot be a virtual address")
                }
                return virtual
            }, margin: configuration.timing.durations.margin)
    }

    func arm(until: Moment?) throws { try client.arm(until: until.map(GuardDeadline.init)) }
    func extend(until: Moment) { client.extend(until: GuardDeadline(until)) }
    func release() throws { try client.release() }

    /// 5.3: the lease that the guard still holds for the session before.
    var heldDeadline: Moment? {
        client.heldDeadline.map { Moment(boot: Instant(nanoseconds: $0.boot), raw: Instant(nanoseconds: $0.raw)) }
    }

    func close() { client.close() }

    func status(_ node: Node) -> StatusDocument.Guard? {
        let status = client.status
        guard node.lentFor != nil || node.policy.arbiter.lends || status.isArmed else { return nil }
        let watchdog = WatchdogCover(
            device: watchdog, isFed: status.hasWatchdog, isArmed: status.isArmed, margin: margin, lease: lease)
        return StatusDocument.Guard(
            alive: status.pid != nil && status.isOfThisScope, armed: status.isArmed && status.answers,
            realtime: status.hasRealTime,
            memoryLocked: status.hasLockedMemory, watchdog: watchdog.word,
            notCovered: watchdog.gap, lastActMilliseconds: status.lastAct?.duration?.milliseconds)
    }

    /// What is less safe than it could be.
    func notes(_ node: Node) -> [String] {
        let status = client.status
        guard status.isArmed, status.pid != nil else { return [] }
        var notes: [String] = []
        if !status.hasRealTime || !status.hasLockedMemory {
            let lacks = [status.hasRealTime ? nil : "real-time priority", status.hasLockedMemory ? nil : "locked memory"]
                .compactMap(\.self)
            notes.append(
                "the guard has no \(lacks.joined(separator: " and no ")): on a busy host it may act late; grant CAP_SYS_NICE and CAP_IPC_LOCK"
            )
        }
        if status.isByAgent {
            notes.append("this agent had to start the guard itself: is pgtandem-guard.service enabled, and does it run?")
        }
        if !status.boardIsInMemory { notes.append("the guard's board lies on a disk: put `control_socket` below /run") }
        if let act = status.lastAct {
            if act.survivors > 0 {
                notes.append(
                    "\(act.survivors) processes of the instance could not be killed when the lease ended: is a disk hanging?")
            }
            if let took = act.silenced, took > margin / 2 {
                notes.append(
                    "the guard's last act took \(took.milliseconds) ms, more than half of its margin of \(margin.milliseconds) ms"
                )
            }
        }
        return notes
    }
}

extension GuardDeadline {
    init(_ moment: Moment) { self.init(boot: moment.boot.nanoseconds, raw: moment.raw.nanoseconds) }
}
