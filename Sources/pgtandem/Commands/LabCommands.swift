import ArgumentParser
import Glibc
import TandemLab

/// PID 1 of a host of the lab. Not for people.
struct LabInitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lab-init", abstract: "PID 1 of a host of the lab.", shouldDisplay: false)
    @Option var spec: String
    func run() throws { Glibc.exit(try HostInit.run(specPath: spec)) }
}

/// Clients of the lab. Not for people.
struct LabClientCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lab-client", abstract: "Clients of the lab.", shouldDisplay: false)
    @Option var spec: String
    func run() throws { Glibc.exit(try LoadClient.run(specPath: spec)) }
}
