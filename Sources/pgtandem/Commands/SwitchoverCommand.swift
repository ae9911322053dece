import ArgumentParser
import TandemRuntime
import TandemSystem
import TandemWire

struct SwitchoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "switchover",
        abstract: "Exchange the roles, without losing an acknowledged commit.",
        discussion: "May be given on either host. Example: pgtandem switchover --dry-run")

    @OptionGroup var common: CommonOptions
    @Option(name: .customLong("to"), help: "The node that shall be primary; else the one that is standby now.") var target:
        String?
    @Flag(help: "Say whether it could be done now, and change nothing.") var dryRun = false

    func run() throws {
        let configuration = try common.load()
        if let target, !configuration.nodes.contains(where: { $0.name.text == target }) {
            throw CommandFailure(
                text: "`\(target)` is no node of this pair: \(configuration.nodes.map(\.name.text).joined(separator: ", "))",
                code: 2)
        }
        let began = SystemClock.now()
        let text = try ControlRelay(configuration.controlSocket).run(
            ControlRequest(command: "switchover", to: target, dryRun: dryRun), what: "switchover")
        Terminal.say(dryRun ? text : "\(text) (after \((SystemClock.now() - began) / 1_000_000) ms)")
    }
}

struct FailoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failover",
        abstract: "Vouch that the other host is off: this one goes on alone.",
        discussion: """
            You vouch that the other host is switched off AND STAYS OFF until this command is done. If it still runs, both hosts would \
            accept writes. On a standby, it is promoted; on a primary whose standby is gone, commits stop waiting for it.
            Example: pgtandem failover --peer-is-down
            """)

    @OptionGroup var common: CommonOptions
    @Flag(help: "I have made sure that the other host is off.") var peerIsDown = false

    func run() throws {
        guard peerIsDown else {
            throw CommandFailure(
                text:
                    "say --peer-is-down if you have made sure that the other host is off; to exchange roles while it runs: `pgtandem switchover`",
                code: 2)
        }
        let configuration = try common.load()
        Terminal.say(try ControlRelay(configuration.controlSocket).run(ControlRequest(command: "failover"), what: "failover"))
    }
}

/// Sends a command to the agent, shows progress, and turns a refusal into a failure with its reasons.
struct ControlRelay {
    private let socket: String
    init(_ socket: String) { self.socket = socket }

    func run(_ request: ControlRequest, what: String) throws -> String {
        let answer: ControlAnswer
        do {
            answer = try ControlClient(path: socket).ask(request) { Terminal.say($0) }
        } catch let error as UnixSocketError {
            throw CommandFailure.unreachable("\(error)")
        }
        if let done = answer.done { return done }
        let reasons = (answer.reasons ?? []).map { "  - \($0.text)  [\($0.code)]" }
        throw CommandFailure.failed("\(what) refused, nothing was changed:\n" + reasons.joined(separator: "\n"))
    }
}
