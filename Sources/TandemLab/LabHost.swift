import Glibc
import Synchronization
import TandemSystem

/// A whole machine of the lab: own processes, network card, clocks, boot id, and a disk (a folder) that survives its
/// power-off. Methods block, with deadlines; they may be called from any thread.
public final class LabHost: Sendable {
    /// Its node name, and the host name inside.
    public let name: String
    let plug: LabPlug
    let network: LabSwitch
    let place: Place
    private let state = Mutex(State())
    /// One boot or power-off at a time.
    private let power = Mutex(())

    /// Where a host has its things on the machine that we run on.
    struct Place: Sendable {
        var lab: LabName
        var folder: String
        var binary: String
        var userID: UInt32
        var groupID: UInt32
        /// Absolute paths that are on its disk.
        var folders = MachineSpec.persistentFolders
        /// Folders that PostgreSQL's user owns, each a file system of its own.
        var ownDisks: [String] = []
        /// Nil: its wall clock is the one of the machine that we run on.
        var wallClock: WallClock?

        var disk: String { "\(folder)/disk" }
    }

    private struct State {
        var machine: Machine?
        var group: ControlGroup?
        var services: [HostService: ServicePlan] = [:]
    }

    struct ServicePlan {
        var arguments: [String]
        var environment: [String: String]
        var lastAct: [String]
        var startsAtBoot: Bool
    }

    init(name: String, plug: LabPlug, network: LabSwitch, place: Place) {
        self.name = name
        self.plug = plug
        self.network = network
        self.place = place
    }

    /// Where every host has the program of the lab, executable for all users, wherever it lies on this machine.
    public static let programPath = "/usr/local/bin/pgtandem"

    public var address: String { plug.address(path: 0) }
    public var address6: String { plug.address6(path: 0) }
    /// Of eth0; the same after each boot.
    public var hardwareAddress: String { plug.hardware(path: 0) }
    /// Output of the agent (on the witness's machine: of the witness), over all boots.
    public var serviceLogPath: String { serviceLogPath(.agent) }
    /// Output of a service, over all boots.
    public func serviceLogPath(_ service: HostService) -> String {
        "\(place.folder)/\(service.rawValue).log"
    }
    /// A file with the number of the host's process 1, while it runs: `nsenter -t $(cat FILE) -a` goes inside.
    public var pidPath: String { "\(place.folder)/pid" }
    /// Where an absolute path of the host's persistent folders lies on this machine.
    public func diskPath(of path: String) -> String { place.disk + path }

    public var isRunning: Bool { state.withLock { $0.machine }.map { !$0.isGone() } ?? false }

    /// What runs as a service of the host from the next start of the machine on.
    /// - Parameters:
    ///   - arguments: absolute path first; started as root.
    ///   - lastAct: run after every end of the service, whatever the reason, before it is started again (`ExecStopPost`);
    ///     empty: nothing.
    ///   - startsAtBoot: as `systemctl enable`.
    public func setService(
        _ arguments: [String], as service: HostService = .agent, environment: [String: String] = [:],
        lastAct: [String] = [], startsAtBoot: Bool
    ) {
        let plan = ServicePlan(
            arguments: arguments, environment: environment, lastAct: lastAct, startsAtBoot: startsAtBoot)
        state.withLock { $0.services[service] = plan }
    }

    /// Concerns the next boot.
    public func setServiceStartsAtBoot(_ starts: Bool, _ service: HostService = .agent) {
        state.withLock { $0.services[service]?.startsAtBoot = starts }
    }

    /// Switches it on: a fresh boot id, clocks near zero, other process numbers, empty /run, the old disk.
    /// - Returns: the time until process 1 was at work (the service, if it starts at boot, has been started).
    @discardableResult
    public func boot() throws(LabError) -> Duration {
        try power.withLock { _ throws(LabError) in
            guard !isRunning else {
                throw LabError(
                    attempted: "boot the host \(name)", happened: "it runs already", advice: "Power it off first.")
            }
            let began = SystemClock.now()
            try layOut()
            try plug.namespace.create()
            try network.plug(plug)
            let specPath = "\(place.folder)/machine.json"
            try spec().write(to: specPath)
            let group = ControlGroup.make(place.lab, host: name)
            let machine = try Machine(
                binary: place.binary, specPath: specPath, network: plug.namespace, group: group, clocks: LabHost.clocks(),
                log: "\(place.folder)/init.log")
            state.withLock { state in
                state.machine = machine
                state.group = group
            }
            do throws(LabError) {
                try Text.create(pidPath, Array("\(machine.pid)\n".utf8))
                try machine.awaitReady(upTo: .seconds(10))
            } catch {
                let words = Text.read("\(place.folder)/init.log")?.split(separator: "\n").suffix(3).joined(separator: "; ")
                try end(machine)
                throw LabError(
                    attempted: "boot the host \(name)", happened: "\(error.happened) \(words ?? "")", advice: error.advice)
            }
            return .nanoseconds(SystemClock.now() - began)
        }
    }

    /// Pulls the plug: first the cable, so that no last word leaves, then every process at once. Off already is fine.
    /// - Returns: the time until no process was left.
    @discardableResult
    public func powerOff() throws(LabError) -> Duration {
        try power.withLock { _ throws(LabError) in
            guard let machine = state.withLock({ $0.machine }) else { return .zero }
            let began = SystemClock.now()
            try network.setPort(plug, down: true)
            try end(machine)
            return .nanoseconds(SystemClock.now() - began)
        }
    }

    /// The cable at the switch's end.
    public func setPort(down: Bool) throws(LabError) { try network.setPort(plug, down: down) }

    /// Every process of the host stands still, clocks go on. A frozen host can be powered off.
    public func freeze() throws(LabError) { try runningGroup("freeze").setFrozen(true) }

    public func thaw() throws(LabError) { try runningGroup("thaw").setFrozen(false) }

    /// The process 1 of a running host.
    func machine(to attempted: String) throws(LabError) -> Machine {
        guard let machine = state.withLock({ $0.machine }), !machine.isGone() else {
            throw LabError(attempted: "\(attempted) on the host \(name)", happened: "it is off", advice: "Boot it first.")
        }
        return machine
    }

    /// Nil: there are no control groups here, or it was never booted.
    var groupMembersPath: String? { state.withLock { $0.group }.map { "\($0.path)/cgroup.procs" } }

    private func runningGroup(_ attempted: String) throws(LabError) -> ControlGroup {
        _ = try machine(to: attempted)
        guard let group = state.withLock({ $0.group }) else {
            throw LabError(
                attempted: "\(attempted) the host \(name)", happened: "there is no control group for it",
                advice: "Mount the unified hierarchy (cgroup2).")
        }
        return group
    }

    private func end(_ machine: Machine) throws(LabError) {
        // In vain if it has died already; it is not reaped before isGone() says so, so the number is still its own.
        if !machine.isGone() { _ = ProcessTable.signal(machine.pid, SIGKILL) }
        // The machine is gone when everything in it has been waited for. Programs that were started from outside (`spawn`) have
        // parents outside, frozen with the host: these must run again, but not before everything inside is dead.
        let group = state.withLock { $0.group }
        if let group, group.isFrozen {
            _ = SystemClock.wait(upTo: .seconds(2), step: .milliseconds(1)) {
                machine.processes().allSatisfy { $0 == machine.pid }
            }
            try group.setFrozen(false)
        }
        guard SystemClock.wait(upTo: .seconds(5), step: .milliseconds(1), until: machine.isGone) else {
            throw LabError(
                attempted: "power off the host \(name)", happened: "processes \(machine.processes()) are left after 5 s",
                advice: "Look with ps whether they hang on a disk (state D).")
        }
        state.withLock { $0.machine = nil }
        try Text.removeTree(pidPath)
        // Addresses that were on the card must not be there after the next boot.
        try network.unplug(plug)
        try plug.namespace.delete()
    }

    private func spec() -> MachineSpec {
        let plans = state.withLock { $0.services }
        // The guard first: an agent that finds none does not wait for it for ever.
        let services = [HostService.guardian, .agent].compactMap { service in
            plans[service].map { plan in
                ServiceSpec(
                    service: service, arguments: plan.arguments,
                    environment: Machine.environment.merging(place.wallClock?.environment ?? [:]) { $1 }
                        .merging(plan.environment) { $1 },
                    lastAct: plan.lastAct, log: serviceLogPath(service), startsAtBoot: plan.startsAtBoot)
            }
        }
        return MachineSpec(
            hostname: name, disk: place.disk, stage: "\(place.folder)/stage", folders: place.folders + place.ownDisks,
            userID: place.userID,
            groupID: place.groupID, bootID: LabHost.freshBootID(),
            lastPID: 300 + Int32(Random.word() % 20000),
            program: place.binary,
            postgres: LabPostgres.other.map { MachineSpec.Bound(folder: $0.folder, place: LabPostgres.programs) },
            services: services, wallClock: place.wallClock?.folder)
    }

    /// As the packages of PostgreSQL and the agent leave a fresh host. Again is fine.
    private func layOut() throws(LabError) {
        let postgresOwned = ["/etc/postgresql", "/var/lib/pgtandem", "/var/lib/postgresql"] + place.ownDisks
        try Text.makeFolder("\(place.folder)/stage")
        for folder in place.folders + place.ownDisks where access(place.disk + folder, F_OK) != 0 {
            let path = place.disk + folder
            try Text.makeFolder(path)
            let owned = postgresOwned.contains(folder)
            try Text.setOwner(path, user: owned ? place.userID : 0, group: place.groupID)
            let mode: UInt32 =
                switch folder {
                case "/var/lib/pgtandem", "/var/lib/pgtandem-witness": 0o700
                case "/var/log/postgresql": 0o1775
                default: 0o755
                }
            guard chmod(path, mode) == 0 else { throw LabError(SystemError.last("set the mode of \(path)")) }
        }
    }

    /// Makes boot and monotonic clocks start near zero: whoever compares times across a boot must notice.
    private static func clocks() -> String? {
        guard access("/proc/self/ns/time", F_OK) == 0 else { return nil }
        let seconds = max(0, SystemClock.now() / 1_000_000_000 - 1)
        return "monotonic -\(monotonicSeconds(atMost: seconds)) 0\nboottime -\(seconds) 0\n"
    }

    /// The monotonic clock is behind the boot clock after a suspension, and may not become negative.
    private static func monotonicSeconds(atMost seconds: Int64) -> Int64 {
        var time = timespec()
        _ = clock_gettime(CLOCK_MONOTONIC, &time)
        return max(0, min(seconds, Int64(time.tv_sec) - 1))
    }

    private static func freshBootID() -> String {
        let digits = Random.bytes(16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let parts = [8, 4, 4, 4, 12].reduce(into: (rest: Substring(digits), parts: [String]())) { sum, length in
            sum.parts.append(String(sum.rest.prefix(length)))
            sum.rest = sum.rest.dropFirst(length)
        }
        return parts.parts.joined(separator: "-")
    }
}
