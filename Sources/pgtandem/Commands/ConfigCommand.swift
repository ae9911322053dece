import ArgumentParser
import TandemConfiguration

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Check or show the configuration.", subcommands: [Check.self, Show.self])

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Every problem of the file, with line and advice.",
            discussion: "Example: pgtandem config check --config ./pgtandem.yml")
        @OptionGroup var common: CommonOptions

        func run() throws {
            let configuration = try common.load()
            let problems = configuration.warnings + SecretFiles.check(configuration, passwordMayBeMissing: true)
            for problem in problems { Terminal.complain(problem.description) }
            // No error: it may be checked on another machine than it is for, and an interface may come later.
            if let missing = HostChecks.missingInterface(configuration) { Terminal.complain("warning: \(missing)") }
            if problems.contains(where: { $0.severity == .error }) {
                throw CommandFailure.failed("\(common.config) cannot be used as it is")
            }
            Terminal.say("\(common.config) is good: node \(configuration.node) of \(configuration.cluster)")
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Effective values, and where each comes from.", discussion: "Example: pgtandem config show | grep timing")
        @OptionGroup var common: CommonOptions

        func run() throws {
            let values = try common.load().effectiveValues()
            let width = values.map { $0.key.count + $0.value.count + 2 }.max() ?? 0
            for value in values {
                let text = "\(value.key): \(value.value)"
                Terminal.say(text + String(repeating: " ", count: max(2, min(width, 72) - text.count + 2)) + "# \(value.origin)")
            }
        }
    }
}
