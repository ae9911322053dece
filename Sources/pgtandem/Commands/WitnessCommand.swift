import ArgumentParser
import Glibc
import Logging
import TandemNetwork
import TandemSystem
import TandemWire
import TandemWitness

struct WitnessCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "witness",
        abstract: "The witness: a small process on a third host that keeps the record of many pairs.",
        discussion: """
            Without a subcommand it serves. It may run on any host that both nodes reach, and that fails independently of them; the network
            between it and the nodes must answer within the lease.
            Example: pgtandem witness --listen 0.0.0.0:7433
                     pgtandem witness list
            """,
        subcommands: [Serve.self, List.self, Forget.self], defaultSubcommand: Serve.self)

    struct State: ParsableArguments {
        @Option(help: "The state directory: a record per pair.") var state = "/var/lib/pgtandem-witness"
    }

    enum LogFormat: String, ExpressibleByArgument, CaseIterable { case text, json }
    enum LogLevel: String, ExpressibleByArgument, CaseIterable { case debug, info, warning, error }

    struct Serve: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Serve pairs (what the service starts; the default).",
            discussion: """
                The folder of certificates holds ca.crt, node.crt and node.key of one pair (the folder `witness` that `pgtandem tls create` makes), or
                such a folder per cluster, named like the cluster. A folder that is added is found by itself; SIGHUP reads all of them anew.
                Example: pgtandem witness --listen 10.77.0.13:7433
                """)

        @Option(help: "Where to listen: a literal address and a port.") var listen = "0.0.0.0:7433"
        @OptionGroup var common: State
        @Option(help: "Certificates: one pair's files, or a folder per cluster.") var tls = "/etc/pgtandem-witness/tls"
        @Option(help: "text or json.") var logFormat = LogFormat.text
        @Option(help: "debug, info, warning or error.") var logLevel = LogLevel.info

        func validate() throws { _ = try address() }

        private func address() throws -> LinkAddress {
            guard let address = LinkAddress(text: listen) else {
                throw ValidationError(
                    "--listen wants a literal address and a port, as 0.0.0.0:7433 or [::]:7433, not `\(listen)`")
            }
            return address
        }

        func run() throws {
            // Signals come to one thread that waits for them; blocked before any other thread exists.
            var signals = sigset_t()
            sigemptyset(&signals)
            for number in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&signals, number) }
            pthread_sigmask(SIG_BLOCK, &signals, nil)
            let level: Logger.Level =
                switch logLevel {
                case .debug: .debug
                case .info: .info
                case .warning: .warning
                case .error: .error
                }
            let (log, writer) = try LogSetup.make(isJSON: logFormat == .json, node: "witness", level: level)
            defer { writer.flush(within: .seconds(1)) }
            DescriptorLimit.raise()
            do {
                var options = WitnessOptions(listen: try address(), state: common.state, tls: tls, program: Version.text)
                options.onLoopStart = { Self.takePriority(log) }
                // The leases of its pairs run while it starts. Threads that are made from here on are ordinary ones.
                _ = RealTime.raise()
                let service = try WitnessService(options, log: log)
                try service.start()
                Self.serve(service, until: signals, log)
            } catch let error as ValidationError {
                throw error
            } catch {
                throw CommandFailure.failed("\(error)")
            }
        }

        /// Once, on the thread that answers, before it serves: the place for real-time priority and locked memory.
        private static func takePriority(_ log: Logger) {
            for reason in [RealTime.lockMemory(onFault: true), RealTime.raise()].compactMap(\.self) {
                log.warning("answers may be late on a busy host", metadata: ["reason": "\(reason)"])
            }
        }

        /// Until it is told to stop.
        private static func serve(_ service: WitnessService, until signals: sigset_t, _ log: Logger) {
            var waited = signals
            while true {
                var number: Int32 = 0
                guard sigwait(&waited, &number) == 0 else { continue }
                guard number == SIGHUP else {
                    log.info("told to stop", metadata: ["signal": "\(number)"])
                    return service.stop()
                }
                service.reload()
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Every pair: its nodes, whether they are connected, its record, what is promised.",
            discussion: "Where no witness runs, what is on disk is shown. Example: pgtandem witness list --json")

        @OptionGroup var common: State
        @Flag(help: "As JSON.") var json = false

        func run() throws {
            let list = try WitnessCommand.reaching { try WitnessClient(state: common.state).list() }
            Terminal.say(json ? String(decoding: try JSON.encode(list, pretty: true), as: UTF8.self) : WitnessText(list).text)
        }
    }

    struct Forget: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove the record of a pair, and what it is known by.",
            discussion: """
                For a pair that was made anew, or is gone; or whose record here is damaged, or older than what its nodes have seen. The nodes write
                the record anew by themselves: a primary alone at once, a pair when both nodes reach the witness. Until then nothing is granted.
                Example: pgtandem witness forget orders
                """)

        @Argument(help: "The cluster's name.") var cluster: String
        @OptionGroup var common: State

        func run() throws {
            Terminal.say(try WitnessCommand.reaching { try WitnessClient(state: common.state).forget(cluster) })
        }
    }

    private static func reaching<Value>(_ work: () throws -> Value) throws -> Value {
        do {
            return try work()
        } catch WitnessClient.Failure.refused(let text) {
            throw CommandFailure.failed(text)
        } catch WitnessClient.Failure.unreachable(let text) {
            throw CommandFailure.unreachable(text)
        }
    }
}

/// A connection is a descriptor: as many as the system allows.
enum DescriptorLimit {
    static func raise() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        // Refused only where it is so already.
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

/// The pairs of a witness for a person.
struct WitnessText {
    let list: WitnessList
    init(_ list: WitnessList) { self.list = list }

    var text: String {
        let state = list.running ? "the witness runs" : "no witness runs here: this is what is on disk"
        var lines = ["\(state), generation \(list.generation.map(String.init) ?? "none yet"), \(list.pairs.count) pairs"]
        for pair in list.pairs {
            lines.append("")
            let record = pair.record.map { "(\($0.term), \($0.step), \($0.primary), \($0.bond))" } ?? "no record"
            let promise = pair.promise_ms.map { ", promised for \($0) ms more" } ?? ""
            lines.append("\(Terminal.bold(pair.cluster))  \(record)\(promise)")
            if let system = pair.system_identifier, let authority = pair.authority {
                lines.append("  system identifier \(system), authority \(authority.prefix(16))…")
            }
            for node in pair.nodes { lines.append("  \(line(node))") }
            if pair.nodes.count == 1 { lines.append("  the second node has not come yet") }
            if let problem = pair.problem {
                lines.append("  gets no answers: \(problem). Run `pgtandem witness forget \(pair.cluster)`")
            }
        }
        return lines.joined(separator: "\n")
    }

    private func line(_ node: WitnessList.Node) -> String {
        let heard = node.last_heard_ms.map { ", heard \($0) ms ago" } ?? ""
        guard list.running else { return node.name }
        return node.name + (node.connected ? " from \(node.address ?? "?")" : " not connected") + heard
    }
}
