import TandemSystem

extension LabHost {
    /// Runs already is fine. After an end whose last act is still at work, it waits for that.
    public func startService(_ service: HostService = .agent) throws(LabError) {
        _ = try machine(to: "start the \(service.rawValue)").order("start \(service.rawValue)", upTo: .seconds(20))
    }

    /// SIGTERM, SIGKILL after `limit`; it stays stopped until it is started again or the host boots. Returns after its last act.
    /// - Returns: how it ended: `exit:0`, `signal:9`, `not running`.
    @discardableResult public func stopService(_ service: HostService = .agent, within limit: Duration = .seconds(60))
        throws(LabError) -> String
    {
        let milliseconds = limit.nanoseconds / 1_000_000
        return try machine(to: "stop the \(service.rawValue)").order(
            "stop \(service.rawValue) \(milliseconds)", upTo: limit + .seconds(20))
    }

    /// SIGKILL, and it is not started again by itself. Its last act follows; this returns when the process is gone.
    public func killService(_ service: HostService = .agent) throws(LabError) { try killServices([service]) }

    /// SIGKILL to all of them at the same moment: none sees another's end and acts on it. Returns when all are gone; their last
    /// acts follow.
    /// - Parameters:
    ///   - startAgain: each is started again after its usual time, as after a crash; otherwise none is.
    ///   - withoutLastAct: as if the service manager had been killed too.
    public func killServices(_ services: [HostService], startAgain: Bool = false, withoutLastAct: Bool = false) throws(LabError) {
        let names = services.map(\.rawValue).joined(separator: ",")
        _ = try machine(to: "kill \(names)").order(
            "kill \(names) \(startAgain ? "again" : "stay") \(withoutLastAct ? "bare" : "all")")
    }

    /// Any signal to the service's main process: SIGSTOP for an agent that hangs, SIGHUP for a reload, SIGKILL for a
    /// crash after which it is started again.
    public func signalService(_ number: Int32, _ service: HostService = .agent) throws(LabError) {
        try signalServices(number, [service])
    }

    /// To all of them at the same moment.
    public func signalServices(_ number: Int32, _ services: [HostService]) throws(LabError) {
        let names = services.map(\.rawValue).joined(separator: ",")
        _ = try machine(to: "signal \(names)").order("signal \(names) \(number)")
    }

    public func serviceStatus(_ service: HostService = .agent) throws(LabError) -> ServiceStatus {
        let attempted = "ask for the \(service.rawValue)"
        let words = try machine(to: attempted).order("status \(service.rawValue)").split(separator: " ").map(String.init)
        guard words.count == 6, let state = ServiceStatus.State(rawValue: words[0]), let pid = Int32(words[1]),
            let starts = Int(words[2]), let lastActs = Int(words[4])
        else { throw LabError(attempted: "\(attempted) of \(name)", happened: "the answer was \(words)") }
        return ServiceStatus(
            state: state, pid: pid, starts: starts, lastEnding: words[3], lastActs: lastActs, lastActEnding: words[5])
    }
}
