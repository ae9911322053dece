import ArgumentParser
import Glibc
import TandemWire

/// For those who work on pgtandem: a part of `./bench`.
struct WitnessBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "witness-bench",
        abstract: "Measure a witness under the load of many pairs, and over its restart.",
        discussion: """
            The pairs live in this process, with certificates, TLS and records as real ones have them. Exit 1 if a gap between two \
            acknowledgements was longer than the lease. Example: pgtandem witness-bench --pairs 1000 --seconds 20
            """,
        shouldDisplay: false)

    @Option(help: "How many pairs.") var pairs = 1000
    @Option(help: "How long heartbeats are measured.") var seconds = 20
    @Option(help: "Milliseconds between two heartbeats of a pair.") var heartbeat = 1000
    @Option(help: "The lease, in milliseconds.") var lease = 10_000
    @Option(help: "Where certificates and state lie.") var directory = "/tmp"
    @Flag(help: "The result as JSON.") var json = false

    func validate() throws {
        guard (1...10_000).contains(pairs), (1...3600).contains(seconds), (10...60_000).contains(heartbeat),
            (100...86_400_000).contains(lease)
        else {
            throw ValidationError("--pairs 1 to 10000, --seconds 1 to 3600, --heartbeat 10 to 60000, --lease 100 to 86400000")
        }
    }

    func run() throws {
        DescriptorLimit.raise()
        let bench = WitnessBench(
            pairs: pairs, seconds: seconds, heartbeat: .milliseconds(heartbeat), lease: .milliseconds(lease),
            directory: directory,
            say: { Terminal.complain($0) })
        let report: WitnessBenchReport
        do {
            report = try bench.run()
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw CommandFailure.failed("\(error)")
        }
        Terminal.say(json ? String(decoding: try JSON.encode(report, pretty: true), as: UTF8.self) : report.text)
        guard report.isWithinLease else { throw CommandFailure.failed("a pair was without a promise for longer than its lease") }
    }
}
