import Glibc
import TandemLab
import TandemSystem
import TandemWire

/// A pair with agents, as `init` and `join` make it.
final class OurPair {
    let lab: Lab
    private let script: LabScript
    private(set) var primary: LabHost
    private(set) var standby: LabHost

    init(_ lab: Lab, progress: @escaping @Sendable (LabScript.Progress) -> Void) {
        self.lab = lab
        script = LabScript(lab, progress: progress)
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

    private func changed(since began: Int64) -> ChangeOfRoles {
        (primary, standby) = (standby, primary)
        return ChangeOfRoles(began: began, primary: primary.name, steps: [])
    }

    /// One primary, one standby, each with its address, and a bond that allows a failover.
    func waitUntilWhole() throws {
        var last = "nothing"
        let isWhole = SystemClock.wait(upTo: .seconds(60), step: .milliseconds(100)) {
            do {
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
            throw CommandFailure.failed(
                "the pair is not whole within 60 s, with \(primary.name) as primary; last: \(last)\n\(lastWords())")
        }
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
