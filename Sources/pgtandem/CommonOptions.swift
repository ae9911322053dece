import ArgumentParser
import TandemConfiguration

struct CommonOptions: ParsableArguments {
    @Option(name: .customLong("config"), help: "The configuration file.")
    var config = "/etc/pgtandem/pgtandem.yml"

    /// Every problem of the file at once, with line and advice.
    func load() throws -> Configuration {
        do {
            return try Configuration.load(path: config)
        } catch {
            throw CommandFailure.failed("\(error)")
        }
    }
}
