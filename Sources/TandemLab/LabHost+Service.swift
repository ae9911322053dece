import TandemSystem

/// How the host's service manager sees its service.
public struct ServiceStatus: Sendable, Equatable {
    public enum State: String, Sendable { case stopped, running, stopping, waiting }

    public var state: State
    /// As the host numbers it; 0: none.
    public var pid: Int32
    /// Since the boot.
    public var starts: Int
    /// `exit:0`, `signal:9`, or `none` before the first end.
    public var lastEnding: String
}

extension LabHost {
    /// Runs already is fine.
    public func startService() throws(LabError) {
        _ = try machine(to: "start the service").order("start")
    }

    /// SIGTERM, SIGKILL after `limit`; it stays stopped until it is started again or the host boots.
    /// - Returns: how it ended: `exit:0`, `signal:9`, `not running`.
    @discardableResult
    public func stopService(within limit: Duration = .seconds(60)) throws(LabError) -> String {
        let milliseconds = limit.nanoseconds / 1_000_000
        return try machine(to: "stop the service").order("stop \(milliseconds)", upTo: limit + .seconds(5))
    }

    /// SIGKILL, and it is not started again by itself.
    public func killService() throws(LabError) {
        _ = try machine(to: "kill the service").order("kill")
    }

    /// Any signal to the service's main process: SIGSTOP for an agent that hangs, SIGHUP for a reload, SIGKILL for a
    /// crash after which it is started again.
    public func signalService(_ number: Int32) throws(LabError) {
        _ = try machine(to: "signal the service").order("signal \(number)")
    }

    public func serviceStatus() throws(LabError) -> ServiceStatus {
        let words = try machine(to: "ask for the service").order("status").split(separator: " ").map(String.init)
        guard words.count == 4, let state = ServiceStatus.State(rawValue: words[0]), let pid = Int32(words[1]),
            let starts = Int(words[2])
        else { throw LabError(attempted: "ask for the service of \(name)", happened: "the answer was \(words)") }
        return ServiceStatus(state: state, pid: pid, starts: starts, lastEnding: words[3])
    }
}
