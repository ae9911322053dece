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
    @Flag(help: "Not now: the announced failback to the preferred primary is left, until the role changes for another reason.")
    var cancel = false

    func validate() throws {
        if cancel, dryRun || target != nil { throw ValidationError("--cancel stands alone") }
    }

    func run() throws {
        let configuration = try common.load()
        if let target, !configuration.nodes.contains(where: { $0.name.text == target }) {
            throw CommandFailure(
                text: "`\(target)` is no node of this pair: \(configuration.nodes.map(\.name.text).joined(separator: ", "))",
                code: 2)
        }
        if cancel {
            return Terminal.say(
                try ControlRelay(configuration.controlSocket).run(
                    ControlRequest(command: "cancel-failback"), what: "switchover --cancel"))
        }
        let began = SystemClock.now()
        let text = try ControlRelay(configuration.controlSocket).run(
            ControlRequest(command: "switchover", to: target, dryRun: dryRun), what: "switchover")
        Terminal.say(dryRun ? text : "\(text) (after \((SystemClock.now() - began) / 1_000_000) ms)")
    }
}
