import ArgumentParser
import Glibc
import TandemSimulatorCommand
import TandemSystem

/// One binary: each command in a file of its own under `Commands/`.
struct Pgtandem: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pgtandem",
        abstract: "A PostgreSQL database on two hosts: one primary, one standby, two addresses that follow the roles.",
        discussion: """
            See it work on this machine, as root:   pgtandem demo
            First day: pgtandem tls create; on a third machine pgtandem witness; then init, run; on the second host join, run
            Then:                                   pgtandem status
            """,
        version: Version.text,
        subcommands: [
            StatusCommand.self, SwitchoverCommand.self, FailoverCommand.self, PauseCommand.self, ResumeCommand.self,
            RejoinCommand.self, HistoryCommand.self,
            ReplayCommand.self, InitCommand.self, JoinCommand.self, RunCommand.self, WitnessCommand.self, GuardCommand.self,
            ConfigCommand.self, TLSCommand.self, DemoCommand.self, VersionCommand.self, SimulateCommand.self, LabInitCommand.self,
            LabClientCommand.self, BenchCommand.self, BenchHandCommand.self, WitnessBenchCommand.self,
        ])
}

enum Version {
    static let text = "0.1.0"
}

/// `interface.md` 1: 0 done, 1 refused or failed with the reason, 2 wrong usage, 3 not reachable.
struct CommandFailure: Error, CustomStringConvertible {
    var text: String
    var code: Int32
    /// Also as a reason in logs and in the status.
    var description: String { text }
    static func failed(_ text: String) -> CommandFailure { CommandFailure(text: text, code: 1) }
    static func unreachable(_ text: String) -> CommandFailure { CommandFailure(text: text, code: 3) }
}

@main enum Main {
    static func main() {
        // A reader that went away is no reason to die silently in the middle of a command.
        signal(SIGPIPE, SIG_IGN)
        let began = SystemClock.now()
        do {
            var command = try Pgtandem.parseAsRoot()
            try command.run()
        } catch let failure as CommandFailure {
            Terminal.complain(failure.text)
            holdBack(since: began)
            exit(failure.code)
        } catch let code as ExitCode {
            // What was found has been said.
            exit(code.rawValue)
        } catch {
            switch Pgtandem.exitCode(for: error) {
            case .success:
                print(Pgtandem.fullMessage(for: error))
                exit(0)
            case .validationFailure:
                Terminal.complain(Pgtandem.fullMessage(for: error))
                exit(2)
            default:
                Terminal.complain("\(error)")
                holdBack(since: began)
                exit(1)
            }
        }
    }

    /// What systemd itself has started (systemd.exec(5), `SYSTEMD_EXEC_PID`) and could not begin is started again at once, for ever: as good as
    /// that is after a crash, a wrong configuration stays wrong for a second.
    private static func holdBack(since began: Int64) {
        guard let number = getenv("SYSTEMD_EXEC_PID"), pid_t(String(cString: number)) == getpid() else { return }
        _ = SystemClock.wait(upTo: .nanoseconds(max(0, 1_000_000_000 - (SystemClock.now() - began)))) { false }
    }
}
