import ArgumentParser
import Glibc
import TandemLab
import TandemSystem

struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Two hosts, a witness, a client and real PostgreSQL on this machine: watch the roles move.",
        discussion: """
            Needs root: the hosts are network, PID and mount namespaces of this machine. Nothing of it is left behind, also when it is \
            interrupted. Example: sudo pgtandem demo --step
            """)

    @Flag(help: "Lines instead of a live view: for logs and CI.") var plain = false
    @Flag(help: "Leave all hosts up at the end, until Enter or Ctrl-C.") var keep = false
    @Flag(help: "Wait for Enter before each fault.") var step = false

    func run() throws {
        guard geteuid() == 0 else {
            throw CommandFailure.failed("the demo makes network namespaces, which only root may: sudo pgtandem demo")
        }
        let isLive = !plain && Terminal.isInteractive
        let screen = DemoScreen(isLive: isLive)
        do {
            try Lab.sweep()
            try Lab.cleanUpOnSignals { screen.interrupt() }
            let demo = try Demo(screen: screen, waitsForKey: step, keeps: keep)
            let isSound = try demo.run()
            if !isSound { throw CommandFailure.failed("the demo found something that must not happen: see above") }
        } catch let error as LabError {
            // The thread that cleans up ends the process when it is done.
            if screen.isInterrupted { _ = SystemClock.wait(upTo: .seconds(60), step: .milliseconds(100)) { false } }
            screen.restore()
            throw CommandFailure.failed("\(error)")
        }
    }
}
