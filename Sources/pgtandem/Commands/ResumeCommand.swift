import ArgumentParser
import TandemRuntime

struct ResumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "End the pause: the pair is made whole again.",
        discussion: """
            May be given on either host. A standby that streams and has caught up is paired again; without one the primary goes on alone, \
            and commits wait for nobody until it is back.
            Example: pgtandem resume
            """)

    @OptionGroup var common: CommonOptions

    func run() throws {
        let configuration = try common.load()
        Terminal.say(
            try ControlRelay(configuration.controlSocket).run(
                ControlRequest(command: "resume"), what: "resume",
                meaning: "so a pause still holds, and nothing fails over",
                advice: { _ in "Look at `pgtandem status` on both hosts, put right what it names, then `pgtandem resume` again." }
            ))
    }
}
