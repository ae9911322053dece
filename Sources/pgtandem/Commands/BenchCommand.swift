import ArgumentParser
import Glibc
import TandemLab

/// For those who work on pgtandem: `./bench`.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure how long clients are without a primary, beside the floor.",
        discussion: """
            The floor is the least that could be done by a script that is told what happened: two servers made by hand, ended, \
            promoted, the address moved. Both are measured by turns on the same machine with the same clients. A lost host is never told \
            of: its limit is the lease and half a second. `bench idle` measures processor and memory of a pair that has nothing to do, \
            `bench load` a switchover beside `pgbench` with 20 clients, `bench returns` a rewind and a new copy beside the same by hand. \
            Needs root. Example: sudo ./bench --runs 3 --only powerOff
            """,
        shouldDisplay: false)

    enum What: String, ExpressibleByArgument, CaseIterable { case idle, load, returns }
    /// Of `pgbench`.
    private static let clients = 20

    @Argument(help: "`idle`: a pair that has nothing to do; `load`: a switchover under load; `returns`: a rewind, a new copy.")
    var what: What?
    @Option(help: "How often each is measured; of `returns` 3 times unless it is said.") var runs: Int?
    @Option(help: "How much data comes back (`returns`); the disk needs five times as much.") var gigabytes = 2
    @Option(help: "One kind instead of all.") var only: BenchKind?
    @Option(help: "Where the hosts' disks lie.") var directory = "/tmp"
    @Flag(help: "Leave the hosts' logs and disks there, in folders kept-….") var keep = false
    @Flag(help: "The result as JSON.") var json = false
    @Flag(help: "Exit with 0 also when the limit is exceeded: for information only.") var noLimit = false

    func validate() throws {
        guard (1...1000).contains(runs ?? 1) else { throw ValidationError("--runs wants a number from 1 to 1000") }
        guard (1...1000).contains(gigabytes) else { throw ValidationError("--gigabytes wants a number from 1 to 1000") }
        if let what, only != nil { throw ValidationError("`\(what)` has no kinds: leave --only out") }
    }

    func run() throws {
        guard geteuid() == 0 else {
            throw CommandFailure.failed("the bench makes network namespaces, which only root may: sudo pgtandem bench")
        }
        do {
            try Lab.cleanUpOnSignals()
            switch what {
            case .idle: try runIdle()
            case .returns: try runReturns()
            case .load: try runLosses(only: .switchover, pgbenchClients: Self.clients)
            case nil: try runLosses(only: only)
            }
        } catch let error as LabError {
            throw CommandFailure.failed("\(error)")
        }
    }

    private func runLosses(only: BenchKind?, pgbenchClients: Int? = nil) throws {
        let bench = Bench(
            runs: runs ?? 5, only: only, pgbenchClients: pgbenchClients, directory: directory, keepsFolder: keep
        ) { Terminal.complain($0) }
        let report = try bench.run()
        Terminal.say(json ? try report.json() : "\n" + report.text)
        guard report.isSound else { throw CommandFailure.failed("the bench found something that must not happen: see above") }
        guard report.isWithinLimit || noLimit else {
            throw CommandFailure.failed("pgtandem takes longer than its limit: see above")
        }
    }

    private func runReturns() throws {
        let bench = try BenchReturns(gigabytes: gigabytes, runs: runs ?? 3, directory: directory, keepsFolder: keep) {
            Terminal.complain($0)
        }
        let report = try bench.run()
        Terminal.say(json ? try report.json() : "\n" + report.text)
        guard report.isSound else { throw CommandFailure.failed("the hosts do not hold the same after a return: see above") }
        guard report.isWithinLimit || noLimit else {
            throw CommandFailure.failed("pgtandem takes longer than its limit: see above")
        }
    }

    private func runIdle() throws {
        let report = try BenchIdle(directory: directory, keepsFolder: keep) { Terminal.complain($0) }.run()
        Terminal.say(json ? try report.json() : "\n" + report.text)
        guard report.isWithinLimit || noLimit else {
            throw CommandFailure.failed("pgtandem costs more than its limit: see above")
        }
    }
}

extension BenchKind: ExpressibleByArgument {}

/// The hands of the floor's script inside a host of the lab. Not for people.
struct BenchHandCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-hand", abstract: "Steps of the bench inside a host of the lab.", shouldDisplay: false)
    @Option var orders: String
    @Option var answers: String
    func run() throws { try FloorHand(orders: orders, answers: answers).run() }
}
