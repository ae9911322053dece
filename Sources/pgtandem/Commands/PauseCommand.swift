import ArgumentParser
import TandemRuntime

struct PauseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "No automatic failover while work is done; the addresses stay where they are.",
        discussion: """
            May be given on either host; both must run. Until `pgtandem resume` nothing moves the primary role, and a stopped agent leaves \
            PostgreSQL and the addresses as they are. Commits go on waiting for the standby until it has been away for 30 seconds; with \
            --standby-maintenance they wait for it no longer, so that it may go away at once.
            Example: pgtandem pause --standby-maintenance
            """)

    @OptionGroup var common: CommonOptions
    @Flag(help: "The standby may go away at once: commits do not wait for it.") var standbyMaintenance = false

    func run() throws {
        let configuration = try common.load()
        Terminal.say(
            try ControlRelay(configuration.controlSocket).run(
                ControlRequest(command: "pause", maintenance: standbyMaintenance), what: "pause",
                meaning: "so do not rely on it: the roles may still move by themselves",
                advice: { _ in
                    "Look at `pgtandem status` on the primary before you begin to work: it says `paused` if the pair is."
                }))
    }
}
