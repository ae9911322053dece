import ArgumentParser
import TandemRuntime

struct FailoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failover",
        abstract: "Vouch that the other host is off: this one goes on alone.",
        discussion: """
            You vouch that the other host is switched off AND STAYS OFF until this command is done. If it still runs, both hosts would \
            accept writes. On a standby, it is promoted; on a primary whose standby is gone, commits stop waiting for it.

            Where it is not certain that this host has every acknowledged commit, it is refused with the reason. --accept-data-loss gives \
            up what only the other host has. That host must stay off until this one can be reached: when it starts, it has to hear this \
            one before anything else.
            Example: pgtandem failover --peer-is-down
            """)

    @OptionGroup var common: CommonOptions
    @Flag(help: "I have made sure that the other host is off.") var peerIsDown = false
    @Flag(help: "Commits that only the other host has may be lost.") var acceptDataLoss = false

    func run() throws {
        guard peerIsDown else {
            throw CommandFailure(
                text:
                    "say --peer-is-down if you have made sure that the other host is off; to exchange roles while it runs: `pgtandem switchover`",
                code: 2)
        }
        let configuration = try common.load()
        Terminal.say(
            try ControlRelay(configuration.controlSocket).run(
                ControlRequest(command: "failover", acceptDataLoss: acceptDataLoss), what: "failover"
            ) { reasons in
                // The other host lives: nobody in a hurry shall be shown that way.
                acceptDataLoss || reasons.contains { $0.code == "peerHeard" }
                    ? nil
                    : "Where a reason says that this host may lack commits, and they can be given up: the same with --accept-data-loss"
                        + " (read `pgtandem failover --help` first)"
            })
    }
}
