import Logging
import TandemNetwork
import TandemSystem

public struct WitnessOptions: Sendable {
    public var listen: LinkAddress
    /// The state directory.
    public var state: String
    /// Certificates: one pair's files, or a folder per cluster.
    public var tls: String
    public var limits = LinkServerLimits()
    /// How many threads write to the disk.
    public var lanes = 4
    /// Of this program, for hellos.
    public var program: String
    /// Runs once on the loop's thread before it serves: the place to raise its priority.
    public var onLoopStart: (@Sendable () -> Void)?

    public init(listen: LinkAddress, state: String, tls: String, program: String) {
        self.listen = listen
        self.state = state
        self.tls = tls
        self.program = program
    }
}

/// The witness: one small process that keeps the record of many pairs, and promises for them (3.3).
///
/// All machines run on the loop of its server; what is durable is written on a few lanes, so that a slow disk holds up only those who wait
/// for it.
public final class WitnessService: Sendable {
    public let generation: UInt64
    private let options: WitnessOptions
    private let ground: WitnessGround
    private let lock: FileLock
    private let server = LinkServer<WitnessHouse>()
    private let log: Logger
    private let control: WitnessControl

    /// Takes the state directory and counts its generation up: from here on no other witness can serve it.
    public init(_ options: WitnessOptions, log: Logger) throws {
        self.options = options
        self.log = log
        let folder = WitnessFolder(options.state)
        try folder.make()
        guard let lock = try folder.lock() else {
            throw WitnessError(
                "another witness serves \(options.state), or a command works on it: it holds \(options.state)/lock. Stop that one, or give this one "
                    + "another `--state`: two witnesses of one pair would each promise without the other.")
        }
        self.lock = lock
        try folder.removeRemains()
        let dropped = try folder.dropRestoredRecords()
        if !dropped.isEmpty {
            log.warning(
                "the state directory is a copy, or was restored from a backup: no record in it counts, the nodes write them anew",
                metadata: ["folder": "\(options.state)", "clusters": "\(dropped.joined(separator: ", "))"])
        }
        for cluster in try folder.dropOlderRecords() {
            log.warning(
                "the file of a pair is not the one that was written last (a backup?): its record does not count, the nodes write it anew",
                metadata: ["file": "\(folder.file(of: cluster))", "cluster": "\(cluster)"])
        }
        let pairs = try WitnessGround.pairs(in: folder)
        generation = try folder.nextGeneration()
        ground = WitnessGround(
            folder: folder, generation: generation, pairs: pairs,
            lanes: (0..<max(1, options.lanes)).map { Lane(name: "disk-\($0)") },
            program: options.program, boot: try SystemClock.bootID(), log: log)
        control = try WitnessControl(path: folder.socket, server: server, log: log)
    }

    /// Returns when it listens.
    public func start() throws {
        let shelf = try TLSShelf.load(directory: options.tls)
        if shelf.identities.isEmpty {
            log.warning(
                "there are no certificates yet, so nobody can be served",
                metadata: [
                    "folder": "\(options.tls)",
                    "advice":
                        "copy the folder `witness` of `pgtandem tls create` there, or a folder per cluster; it is found by itself",
                ])
        }
        var configuration = LinkServerConfiguration(listen: options.listen, shelf: shelf)
        configuration.limits = options.limits
        configuration.onLoopStart = options.onLoopStart
        configuration.onRefused = { [log] address, reason in
            log.warning("a connection was refused", metadata: ["address": "\(address)", "reason": "\(reason)"])
        }
        configuration.onWarning = { [log] text in log.warning("certificate", metadata: ["reason": "\(text)"]) }
        configuration.onListener = { [log] address, reason in
            if let reason { log.warning("cannot listen", metadata: ["address": "\(address)", "reason": "\(reason)"]) }
        }
        try server.start(configuration) { [ground] loop in WitnessHouse(ground, loop: loop) }
        try control.start()
        log.info(
            "witness serves",
            metadata: [
                "version": "\(options.program)", "generation": "\(generation)", "listen": "\(server.listening ?? options.listen)",
                "clusters": "\(shelf.identities.count)", "pairs": "\(ground.pairs.count)",
            ])
    }

    public var listening: LinkAddress? { server.listening }

    /// Connections that are open: unknown ones, and guests.
    public var connections: (unknown: Int, guests: Int) { server.connections }

    /// Reads the certificates anew (SIGHUP). What was good and is broken now keeps its old ones.
    public func reload() {
        do {
            guard let shelf = try server.shelf?.reloaded() else { return }
            server.replace(shelf: shelf)
            log.info("certificates were read anew", metadata: ["clusters": "\(shelf.identities.count)"])
        } catch {
            log.error("the certificates could not be read anew: the old ones stay", metadata: ["reason": "\(error)"])
        }
    }

    public func list() -> WitnessList? { server.ask { $0.list } }

    /// Nothing is promised after this. What is being written is written to its end.
    public func stop() {
        control.stop()
        for lane in ground.lanes { lane.stop() }
        server.stop()
        lock.release()
        log.info("witness ends")
    }
}
