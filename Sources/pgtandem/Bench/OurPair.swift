import Glibc
import TandemLab
import TandemRuntime
import TandemSystem
import TandemWire

/// A pair with agents, guards and a witness, as `init` and `join` make it.
final class OurPair {
    let lab: Lab
    private let script: LabScript
    private(set) var primary: LabHost
    private(set) var standby: LabHost

    init(_ lab: Lab, _ profile: BenchProfile) {
        self.lab = lab
        var configuration = LabConfiguration()
        configuration.arbiterKind = "witness"
        configuration.timing = profile.rawValue
        configuration.hangPatience = "\(BenchCase.hangPatience.milliseconds)ms"
        script = LabScript(lab, configuration: configuration)
        (primary, standby) = (lab.hosts[0], lab.hosts[1])
    }

    func bringUp() throws {
        try lab.start()
        try script.bringUp()
        try waitUntilWhole()
    }

    /// The postmaster is killed; its host and the agent live.
    func crash() throws -> ChangeOfRoles {
        guard let postmaster = primary.postgresProcesses(.postmaster).first else {
            throw CommandFailure.failed("there is no postmaster on \(primary.name)")
        }
        let began = SystemClock.now()
        guard ProcessTable.signal(postmaster.pid, SIGKILL) else {
            throw SystemError.last("kill the postmaster on \(primary.name)")
        }
        return changed(since: began)
    }

    func switchover() throws -> ChangeOfRoles {
        let began = SystemClock.now()
        try script.command(on: primary, ["switchover"])
        return changed(since: began)
    }

    func powerOff() throws -> ChangeOfRoles {
        let began = SystemClock.now()
        try primary.powerOff()
        return changed(since: began)
    }

    func cutOff() throws -> ChangeOfRoles {
        let began = SystemClock.now()
        try lab.isolate(LabPort(primary.name))
        return changed(since: began)
    }

    func hang() throws -> ChangeOfRoles {
        let processes = primary.postgresProcesses()
        let began = SystemClock.now()
        for process in processes { ProcessTable.signal(process.pid, SIGSTOP) }
        // Who was born meanwhile, and nothing more is: the postmaster stands still.
        guard try primary.kill(nil, signal: SIGSTOP) > 0 else {
            throw CommandFailure.failed("there is no PostgreSQL on \(primary.name)")
        }
        return changed(since: began)
    }

    func happen(_ kind: BenchKind) throws -> ChangeOfRoles {
        switch kind {
        case .crash: try crash()
        case .switchover: try switchover()
        case .powerOff: try powerOff()
        case .cutOff: try cutOff()
        case .hang: try hang()
        }
    }

    /// What a person would repair: the rest comes back by itself.
    func mend(_ kind: BenchKind) throws {
        switch kind {
        case .crash, .switchover, .hang: return
        case .powerOff: try standby.boot()
        case .cutOff: try lab.heal()
        }
    }

    private func changed(since began: Int64) -> ChangeOfRoles {
        (primary, standby) = (standby, primary)
        return ChangeOfRoles(began: began, primary: primary.name, steps: [])
    }

    /// One primary, one standby, each with its address, and a bond that allows a failover. Who is primary is seen anew: on a busy
    /// machine a short lease may have ended meanwhile.
    func waitUntilWhole(upTo patience: Duration = .seconds(90)) throws {
        var last = "nothing"
        let isWhole = SystemClock.wait(upTo: patience, step: .milliseconds(100)) {
            do {
                if try status(primary).role != "primary" { (primary, standby) = (standby, primary) }
                let (first, second) = (try status(primary), try status(standby))
                last = "\(first.node) \(first.role) \(first.bond ?? "-"), \(second.node) \(second.role) \(second.bond ?? "-")"
                return first.role == "primary" && second.role == "standby" && first.bond == "paired" && second.bond == "paired"
                    && first.addresses == [Lab.primaryAddress] && second.addresses == [Lab.standbyAddress]
                    && first.failover_ready.ok
                    && second.failover_ready.ok
            } catch {
                // An agent that does not answer is not part of a whole pair.
                last = "\(error)"
                return false
            }
        }
        guard isWhole else {
            throw CommandFailure.failed("the pair is not whole within \(patience); last: \(last)\n\(lastWords())")
        }
    }

    /// The other one is lost, and this one has both roles.
    func waitUntilAlone(_ host: LabHost) throws {
        let isAlone = SystemClock.wait(upTo: .seconds(60), step: .milliseconds(50)) {
            do { return try status(host).role == "primary_standby" } catch { return false }
        }
        guard isAlone else { throw CommandFailure.failed("\(host.name) does not go on alone within 60 s\n\(lastWords())") }
    }

    func other(_ host: LabHost) -> LabHost { host.name == primary.name ? standby : primary }

    /// nil: its agent does not answer now.
    func bond(_ host: LabHost) -> String? {
        do { return try status(host).bond } catch { return nil }
    }

    func command(on host: LabHost, _ arguments: [String]) throws { try script.command(on: host, arguments) }

    /// The newest entry of its history about its data.
    func lastReturn(of host: LabHost) throws -> HistoryEntry {
        struct Document: Decodable { var entries: [HistoryEntry] }
        let text = try host.demand([LabHost.programPath, "history", "--local", "--json"])
        let entry = try JSON.decode(Document.self, from: Array(text.utf8)).entries.last { $0.kind == .rejoin }
        guard let entry else { throw CommandFailure.failed("the history of \(host.name) knows no return") }
        return entry
    }

    private func status(_ host: LabHost) throws -> StatusDocument {
        try JSON.decode(StatusDocument.self, from: Array(try script.status(of: host).text.utf8))
    }

    /// For whoever has to find out what went wrong.
    func lastWords() -> String {
        lab.hosts.map { host in
            do {
                let log = String(decoding: try DurableFile.read(host.serviceLogPath, limit: 64 << 20) ?? [], as: UTF8.self)
                return "last lines of the agent on \(host.name):\n"
                    + log.split(separator: "\n").suffix(20).joined(separator: "\n")
            } catch {
                return "the agent's log of \(host.name) could not be read: \(error)"
            }
        }.joined(separator: "\n")
    }
}
