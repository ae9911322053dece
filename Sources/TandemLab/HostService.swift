/// A service of a machine of the lab, as a service manager knows it.
public enum HostService: String, Sendable, Codable, CaseIterable {
    /// The agent; on the witness's machine, the witness.
    case agent
    /// The guard, which ends PostgreSQL when the lease has run out. Only where `LabOptions.hasGuard`.
    case guardian

    public static let witness = HostService.agent

    /// RestartSec: systemd's default for the agent; a guard that is away is a reason for the agent to end the instance.
    var restartDelay: Duration {
        switch self {
        case .agent: .milliseconds(100)
        case .guardian: .milliseconds(20)
        }
    }

    /// `Restart=always` or `on-failure`: an agent that ended with exit status 0 was done.
    var restartsAfterSuccess: Bool { self == .guardian }
}

/// How a machine's service manager sees one of its services.
public struct ServiceStatus: Sendable, Equatable {
    /// `lastAct`: the service has ended, and the command that follows is at work.
    public enum State: String, Sendable { case stopped, running, stopping, waiting, lastAct }

    public var state: State
    /// As the host numbers it; 0: none.
    public var pid: Int32
    /// Since the boot.
    public var starts: Int
    /// `exit:0`, `signal:9`, or `none` before the first end.
    public var lastEnding: String
    /// How often the command that follows the service's end has ended since the boot, and how it ended last.
    public var lastActs = 0
    public var lastActEnding = "none"
}

/// What a machine is told of one service.
struct ServiceSpec: Codable, Sendable {
    var service: HostService
    /// Absolute path first.
    var arguments: [String]
    var environment: [String: String]
    /// Run after every end of the service, whatever the reason (`ExecStopPost`); empty: none.
    var lastAct: [String]
    /// Output of both; opened before the machine's mounts hide it.
    var log: String
    var startsAtBoot: Bool
}
