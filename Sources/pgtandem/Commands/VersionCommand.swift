import ArgumentParser

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "The version of this program.")
    func run() throws { Terminal.say("pgtandem \(Version.text)") }
}
