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
            promoted, the address moved. Both are measured by turns on the same machine with the same clients. Needs root. \
            Example: sudo ./bench --runs 3
            """,
        shouldDisplay: false)

    @Option(help: "How often each is measured.") var runs = 5
    @Option(help: "Where the hosts' disks lie.") var directory = "/tmp"
    @Flag(help: "Leave the hosts' logs and disks there, in folders kept-….") var keep = false
    @Flag(help: "The result as JSON.") var json = false
    @Flag(help: "Exit with 0 also when the limit is exceeded: for information only.") var noLimit = false

    func validate() throws {
        guard (1...1000).contains(runs) else { throw ValidationError("--runs wants a number from 1 to 1000") }
    }

    func run() throws {
        guard geteuid() == 0 else {
            throw CommandFailure.failed("the bench makes network namespaces, which only root may: sudo pgtandem bench")
        }
        do {
            try Lab.cleanUpOnSignals()
            let report = try Bench(runs: runs, directory: directory, keepsFolder: keep) { Terminal.complain($0) }.run()
            Terminal.say(json ? try report.json() : "\n" + report.text)
            guard report.isSound else { throw CommandFailure.failed("the bench found something that must not happen: see above") }
            guard report.isWithinLimit || noLimit else {
                throw CommandFailure.failed("pgtandem takes more than \(Int(BenchReport.limit)) times the floor")
            }
        } catch let error as LabError {
            throw CommandFailure.failed("\(error)")
        }
    }
}

/// The hands of the floor's script inside a host of the lab. Not for people.
struct BenchHandCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-hand", abstract: "Steps of the bench inside a host of the lab.", shouldDisplay: false)
    @Option var orders: String
    @Option var answers: String
    func run() throws { try FloorHand(orders: orders, answers: answers).run() }
}
