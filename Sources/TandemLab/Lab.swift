import CLinux
import Glibc
import Synchronization
import TandemSystem

public struct LabOptions: Sendable {
    /// The program that is also process 1 of the hosts and the client (hidden subcommands `lab-init`, `lab-client`).
    public var binary: String
    /// The lab makes a folder of its own in there; it must be on a file system with room for the databases.
    public var directory: String
    /// Names and last address bytes. The names are the node names.
    public var hosts: [(name: String, number: UInt8)]
    /// A third machine `w` (10.77.0.13) for the witness.
    public var hasWitness: Bool
    /// Each host runs a guard beside its agent. Until it is set: where there is a witness.
    public var hasGuard: Bool {
        get { guardWish ?? hasWitness }
        set { guardWish = newValue }
    }
    private var guardWish: Bool?
    /// Hosts (`w` too) whose wall clock can be moved: `LabHost.moveWallClock`. Needs a C compiler.
    public var movableWallClocks: Set<String>
    /// A second network (10.77.1.0/24, eth1) between the hosts.
    public var secondPath: Bool
    /// The user that PostgreSQL runs as.
    public var osUser: String
    /// Further file systems of each host, by mount point; owned by that user, they survive a power-off.
    public var disks: [String]
    /// Leaves the work folder (logs, disks), named `kept-…`, in place when the lab stops, however it stops.
    public var keepsFolder: Bool

    public init(
        binary: String = LabOptions.ownBinary(), directory: String = "/tmp",
        hosts: [(name: String, number: UInt8)] = [("a", 11), ("b", 12)], hasWitness: Bool = false,
        hasGuard: Bool? = nil,
        movableWallClocks: Set<String> = [], secondPath: Bool = false, osUser: String = "postgres", disks: [String] = [],
        keepsFolder: Bool = false
    ) {
        self.binary = binary
        self.directory = directory
        self.hosts = hosts
        self.hasWitness = hasWitness
        guardWish = hasGuard
        self.movableWallClocks = movableWallClocks
        self.secondPath = secondPath
        self.osUser = osUser
        self.disks = disks
        self.keepsFolder = keepsFolder
    }

    /// The program that runs now.
    public static func ownBinary() -> String { Text.link("/proc/self/exe") ?? "" }
}

/// Two real hosts, a gateway, a client and, where wanted, a witness on one machine: network namespaces around a switch, hosts
/// with processes, clocks and disks of their own. All of it is gone after `stop()`. Prints nothing. Must run as root.
///
/// Addresses are those of 10.77.0.0/24 and fd77::/64, only inside: several labs may run at the same time.
public final class Lab: Sendable {
    public static let gatewayAddress = "10.77.0.1"
    public static let witnessAddress = "10.77.0.13"
    public static let witnessPort = 7433
    public static let clientAddress = "10.77.0.50"
    public static let primaryAddress = "10.77.0.100"
    public static let standbyAddress = "10.77.0.101"
    public static let primaryAddress6 = "fd77::100"
    public static let standbyAddress6 = "fd77::101"

    public let options: LabOptions
    /// The database hosts, in the order of the options.
    public let hosts: [LabHost]
    private let witnessMachine: LabHost?
    /// Where everything of this lab is: disks, logs, the client's records.
    public let folder: String
    let name: LabName
    let network: LabSwitch
    let client: LabPlug
    let observer: LabPlug
    let gateway: LabPlug
    private let running = Mutex<[LabProcess]>([])
    private let leftovers = Mutex<LabError?>(nil)

    /// Makes nothing yet.
    /// - Throws: if not root, or the user of PostgreSQL or the program is missing.
    public init(_ options: LabOptions = LabOptions()) throws(LabError) {
        guard geteuid() == 0 else {
            throw LabError(attempted: "make a lab", happened: "this is not root", advice: "Run it as root (sudo).")
        }
        guard access(options.binary, X_OK) == 0 else {
            throw LabError(attempted: "make a lab", happened: "there is no program \(options.binary)")
        }
        let (user, group) = try asLabError { () throws(SystemError) in
            (try Privileges.userID(of: options.osUser), try Privileges.groupID(of: options.osUser))
        }
        let name = LabName.make()
        // What is to be kept must not look like the leftovers of a lab.
        let folder = "\(options.directory)/\(options.keepsFolder ? "kept-" : "")\(name)"
        let paths = options.secondPath ? 2 : 1
        func plug(_ port: LabPort, _ number: UInt8, paths: Int = 1) -> LabPlug {
            LabPlug(port: port, namespace: NetworkNamespace(name: "\(name)-\(port)"), number: number, paths: paths)
        }
        let network = LabSwitch(namespace: NetworkNamespace(name: "\(name)-switch"), paths: paths)
        self.options = options
        self.name = name
        self.folder = folder
        self.network = network
        gateway = plug(.gateway, 1)
        client = plug(.client, 50)
        observer = plug(.observer, 51)
        func machine(_ port: LabPort, _ number: UInt8, paths: Int, folders: [String]) -> LabHost {
            let place = "\(folder)/\(port)"
            return LabHost(
                name: port.name, plug: plug(port, number, paths: paths), network: network,
                place: LabHost.Place(
                    lab: name, folder: place, binary: options.binary, userID: user, groupID: group,
                    folders: folders, ownDisks: port == .witness ? [] : options.disks,
                    wallClock: options.movableWallClocks.contains(port.name)
                        ? WallClock(folder: "\(place)/wall") : nil))
        }
        hosts = options.hosts.map {
            machine(LabPort($0.name), $0.number, paths: paths, folders: MachineSpec.persistentFolders)
        }
        witnessMachine =
            options.hasWitness
            ? machine(.witness, 13, paths: 1, folders: MachineSpec.witnessFolders) : nil
        let names = machines.map(\.name)
        guard Set(names).count == names.count, options.movableWallClocks.isSubset(of: names) else {
            throw LabError(
                attempted: "make a lab",
                happened:
                    "its machines are \(names), and clocks of \(options.movableWallClocks) shall move",
                advice: "Give each machine a name of its own, and name only these.")
        }
    }

    /// Why something that a killed run has left could not be removed at the start; nil: nothing is left.
    public var unremovedLeftovers: LabError? { leftovers.withLock { $0 } }

    public func host(_ name: String) throws(LabError) -> LabHost {
        guard let host = machines.first(where: { $0.name == name }) else {
            throw LabError(
                attempted: "find the host \(name)", happened: "the lab has \(machines.map(\.name))")
        }
        return host
    }

    /// The witness's machine: no PostgreSQL, no virtual addresses; its service is the witness.
    /// - Throws: if the lab has none.
    public var witness: LabHost {
        get throws(LabError) {
            guard let witnessMachine else {
                throw LabError(
                    attempted: "find the witness's machine", happened: "this lab has none",
                    advice: "Make the lab with LabOptions.hasWitness.")
            }
            return witnessMachine
        }
    }

    /// Everything that has power: the hosts and the witness's machine.
    public var machines: [LabHost] { hosts + [witnessMachine].compactMap { $0 } }

    /// Switch, gateway, client; no host is booted. Removes what killed runs have left first.
    public func start() throws(LabError) {
        do throws(LabError) {
            try Lab.sweep()
        } catch {
            // Another run's leftovers that cannot be removed (a hung disk) do not keep this lab from starting: its names
            // are its own.
            leftovers.withLock { $0 = error }
        }
        do throws(LabError) {
            try LabRemains.register(name, folder: folder)
            try Text.makeFolder(folder)
            for machine in machines { try machine.place.wallClock?.prepare() }
            try network.start()
            for plug in [gateway, client, observer] {
                try plug.namespace.create()
                try network.plug(plug)
            }
        } catch {
            let first = error
            do throws(LabError) {
                try stop()
            } catch {
                throw LabError(
                    attempted: first.attempted, happened: "\(first.happened) (and then: \(error))", advice: first.advice)
            }
            throw first
        }
    }

    /// Powers everything off and removes it: namespaces, folders, control groups. May be called again, and after a start
    /// that failed.
    public func stop() throws(LabError) {
        for process in running.withLock({ running in
            defer { running = [] }
            return running
        }) { process.stop() }
        var failure: LabError?
        for host in machines {
            do throws(LabError) { try host.powerOff() } catch { failure = failure ?? error }
        }
        // Also when a host did not go off in order: this ends what is left by force.
        do throws(LabError) { try LabRemains(name: name).remove() } catch { throw failure ?? error }
    }

    /// Removes all labs of this process, by name alone: for a signal, or an end in the middle of anything. Not for a
    /// signal handler itself: see `cleanUpOnSignals`.
    public static func emergencyCleanup() throws(LabError) {
        for name in LabRemains.all() where name.isOurs { try LabRemains(name: name).remove() }
    }

    /// Removes what labs of dead processes have left on this machine.
    /// - Returns: how many there were.
    @discardableResult
    public static func sweep() throws(LabError) -> Int {
        let dead = LabRemains.all().filter { !$0.ownerIsAlive }
        for name in dead { try LabRemains(name: name).remove() }
        return dead.count
    }

    /// From now on SIGINT, SIGTERM and SIGHUP call `before` (to put a terminal right) in a thread of its own, remove all
    /// labs of this process, and then end the process as the signal would have. A second signal ends it at once.
    public static func cleanUpOnSignals(before: @escaping @Sendable () -> Void = {}) throws(LabError) {
        let pipe = try LabPipe.make()
        try asLabError { () throws(SystemError) in
            try OwnThread.start("lab-signals") {
                var number: UInt8 = 0
                guard read(pipe.reading.number, &number, 1) == 1 else { return }
                let signal = Int32(number)
                startSecondSignalWatch(pipe.reading, signal)
                before()
                cleanUpAgainstTheClock()
                clab_die_of(signal)
            }
        }
        guard clab_forward_signals(pipe.writing.number) == 0 else {
            throw LabError(SystemError.last("take the signals that end a program"))
        }
        // The handler writes to it until the process ends.
        _ = Unmanaged.passRetained(pipe.writing)
    }

    /// The interrupted thread may still be making things: more than one round, until nothing is left.
    private static func cleanUpAgainstTheClock() {
        var last: LabError?
        for _ in 0..<4 {
            last = nil
            do throws(LabError) { try emergencyCleanup() } catch { last = error }
            if !LabRemains.all().contains(where: \.isOurs) { return }
        }
        let words = Array("\(last.map { "\($0)" } ?? "Not all of the lab could be removed.")\n".utf8)
        _ = cl_write_quietly(2, words, words.count)
    }

    private static func startSecondSignalWatch(_ reading: Descriptor, _ signal: Int32) {
        do throws(SystemError) {
            try OwnThread.start("lab-signal-2") {
                var number: UInt8 = 0
                if read(reading.number, &number, 1) == 1 { clab_die_of(signal) }
            }
        } catch {
            // Without it a second signal has to wait for the clean-up, which has deadlines.
            return
        }
    }

    /// Ended by `stop()`.
    func keep(_ process: LabProcess) { running.withLock { $0.append(process) } }
}
