import ArgumentParser
import Glibc
import TandemConfiguration
import TandemLinux
import TandemSystem

struct GuardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "guard",
        abstract:
            "Ends PostgreSQL here when the lease runs out, even if the agent hangs: what the service pgtandem-guard starts.",
        discussion: """
            It reads deadlines from a page of memory beside the control socket. When one passes, it kills every process of the data directory and
            removes both addresses. A second guard stands by. Started as root, it becomes the owner of the data directory and keeps CAP_NET_ADMIN,
            CAP_SYS_NICE and CAP_IPC_LOCK only.
            Example: pgtandem guard --config /etc/pgtandem/pgtandem.yml
            """)

    @OptionGroup var common: CommonOptions

    @Flag(
        name: .customLong("last-act"),
        help: "For service managers, when the agent or the guard has ended: do the guard's work once if no guard is left.")
    var isLastAct = false

    // How an agent starts one: by what it knows, not by a file that may have been edited since.
    @Option(help: .hidden) var board: String?
    @Option(help: .hidden) var scope: String?
    @Option(help: .hidden) var replacing: String?
    @Flag(name: .customLong("by-agent"), help: .hidden) var isByAgent = false
    /// "SECONDS:DEVICE".
    @Option(help: .hidden) var watchdog: String?
    /// A pipe with a name that stands in for a watchdog.
    @Option(help: .hidden) var watchdogFile: String?

    func run() throws {
        do {
            let duty = try duty()
            if isLastAct {
                print(try GuardLastAct.run(duty.scope, boardPath: duty.board))
            } else {
                try GuardProcess(duty.scope, boardPath: duty.board, watchdog: duty.watchdog, isByAgent: isByAgent).run(
                    replacing: replacing)
            }
        } catch let error as SystemError {
            throw CommandFailure.failed("the guard cannot do its duty: \(error)")
        }
    }

    private struct Duty {
        var board: String
        var scope: GuardScope
        var watchdog: (any GuardWatchdog)?
    }

    private func duty() throws -> Duty {
        if let text = scope, let board {
            guard let scope = GuardScope(text: text) else { throw ValidationError("--scope: not what an agent writes") }
            return Duty(board: board, scope: scope, watchdog: try chosenWatchdog())
        }
        let configuration = try common.load()
        let board = GuardAdapter.boardPath(configuration)
        let user = configuration.postgresql.osUser
        if geteuid() == 0 {
            try Ownership.require(user)
            try Folder.makeIfAbsent(board.split(separator: "/").dropLast().map { "/" + $0 }.joined(), owner: user, mode: 0o755)
        }
        // What it lacks it says, and runs.
        try Privileges.become(user: user, keeping: GuardProcess.capabilities)
        let device = configuration.watchdog.device.map { device in
            DeviceWatchdog(
                path: device,
                seconds: DeviceWatchdog.seconds(lease: configuration.timing.lease, margin: configuration.timing.durations.margin))
        }
        return Duty(board: board, scope: try GuardAdapter.scope(configuration), watchdog: try chosenWatchdog() ?? device)
    }

    private func chosenWatchdog() throws -> (any GuardWatchdog)? {
        if let watchdogFile { return FileWatchdog(path: watchdogFile) }
        guard let watchdog else { return nil }
        let parts = watchdog.split(separator: ":", maxSplits: 1)
        guard parts.count == 2, let seconds = Int32(parts[0]), seconds > 0 else {
            throw ValidationError("--watchdog: SECONDS:DEVICE")
        }
        return DeviceWatchdog(path: String(parts[1]), seconds: seconds)
    }
}
