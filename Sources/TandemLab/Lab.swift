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
    /// A second network (10.77.1.0/24, eth1) between the hosts.
    public var secondPath: Bool
    /// The user that PostgreSQL runs as.
    public var osUser: String
    /// Leaves the work folder (logs, disks), named `kept-…`, in place when the lab stops, however it stops.
    public var keepsFolder: Bool

    public init(
        binary: String = LabOptions.ownBinary(), directory: String = "/tmp",
        hosts: [(name: String, number: UInt8)] = [("a", 11), ("b", 12)], secondPath: Bool = false,
        osUser: String = "postgres", keepsFolder: Bool = false
    ) {
        self.binary = binary
        self.directory = directory
        self.hosts = hosts
        self.secondPath = secondPath
        self.osUser = osUser
        self.keepsFolder = keepsFolder
    }

    /// The program that runs now.
    public static func ownBinary() -> String { Text.link("/proc/self/exe") ?? "" }
}

/// Two real hosts, a gateway and a client on one machine: network namespaces around a switch, hosts with processes, clocks
/// and disks of their own. All of it is gone after `stop()`. Prints nothing. Must run as root.
///
/// Addresses are those of 10.77.0.0/24 and fd77::/64, only inside: several labs may run at the same time.
public final class Lab: Sendable {
    public static let gatewayAddress = "10.77.0.1"
    public static let clientAddress = "10.77.0.50"
    public static let primaryAddress = "10.77.0.100"
    public static let standbyAddress = "10.77.0.101"
    public static let primaryAddress6 = "fd77::100"
    public static let standbyAddress6 = "fd77::101"

    public let options: LabOptions
    /// Hosts in the order of the options.
    public let hosts: [LabHost]
    /// Where everything of this lab is: disks, logs, the client's records.
    public let folder: String
    let name: LabName
    let network: LabSwitch
    let client: LabPlug
    let observer: LabPlug
    private let gateway: LabPlug
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
        hosts = options.hosts.map { host in
            LabHost(
                name: host.name, plug: plug(LabPort(host.name), host.number, paths: paths), network: network,
                place: LabHost.Place(
                    lab: name, folder: "\(folder)/\(host.name)", binary: options.binary, userID: user, groupID: group))
        }
    }

    /// Why something that a killed run has left could not be removed at the start; nil: nothing is left.
    public var unremovedLeftovers: LabError? { leftovers.withLock { $0 } }

    public func host(_ name: String) throws(LabError) -> LabHost {
        guard let host = hosts.first(where: { $0.name == name }) else {
            throw LabError(attempted: "find the host \(name)", happened: "the lab has \(hosts.map(\.name))")
        }
        return host
    }

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
        for host in hosts {
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

// Faults of the network
extension Lab {
    /// Silently drops what goes from one port to another, one way; carrier stays. Again is fine.
    /// - Parameter tcpPort: only the service on this port (both its requests and its answers in that direction).
    public func cut(from: LabPort, to: LabPort, tcpPort: UInt16? = nil) throws(LabError) {
        try network.cut(from: from, to: to, tcpPort: tcpPort)
    }

    public func heal(from: LabPort, to: LabPort, tcpPort: UInt16? = nil) throws(LabError) {
        try network.heal(from: from, to: to, tcpPort: tcpPort)
    }

    /// Removes every cut. Ports that are down stay down.
    public func heal() throws(LabError) { try network.healAll() }

    /// Cuts a port off from all others, both ways, with carrier.
    public func isolate(_ port: LabPort) throws(LabError) {
        for other in allPorts() where other != port {
            try cut(from: port, to: other)
            try cut(from: other, to: port)
        }
    }

    /// Between two ports, both ways.
    public func separate(_ first: LabPort, _ second: LabPort) throws(LabError) {
        try cut(from: first, to: second)
        try cut(from: second, to: first)
    }

    /// Frames that cuts have dropped: proof that one was hit.
    public func droppedFrames() throws(LabError) -> Int { try network.droppedFrames() }

    /// The gateway's cable.
    public func setGateway(down: Bool) throws(LabError) { try network.setPort(gateway, down: down) }

    /// The client's neighbour table forgets everything.
    public func forgetNeighbours() throws(LabError) { try client.namespace.ip(["neigh flush all"]) }

    private func allPorts() -> [LabPort] { hosts.map(\.plug.port) + [.gateway, .client, .observer] }
}
