import Foundation
import Glibc
import TandemSystem

/// A kind of PostgreSQL's processes, told by the title that it gives itself.
public enum PostgresProcess: Sendable, Equatable {
    case postmaster, backend, walreceiver, walsender, startup, checkpointer, walwriter, backgroundWriter
}

/// A process inside a host.
public struct HostProcess: Sendable, Equatable {
    /// As this machine numbers it.
    public var pid: Int32
    /// As the host numbers it.
    public var innerPID: Int32
    /// Command line, or the title it gave itself.
    public var title: String
    public var directory: String
}

extension LabHost {
    /// All that run, process 1 included; empty when the host is off.
    public func processes() -> [HostProcess] {
        let machine: Machine
        do throws(LabError) { machine = try self.machine(to: "list processes") } catch { return [] }
        return machine.processes().compactMap { pid in
            guard let raw = Text.read("/proc/\(pid)/cmdline"), let directory = Text.link("/proc/\(pid)/cwd") else { return nil }
            // PostgreSQL overwrites its arguments and pads them with zero bytes.
            let title = raw.split(separator: "\0").joined(separator: " ")
            return HostProcess(pid: pid, innerPID: innerNumber(pid), title: title, directory: directory)
        }
    }

    /// The processes of the server that works in that data directory (as inside).
    public func postgresProcesses(
        _ kind: PostgresProcess? = nil, dataDirectory: String = LabPostgres.debianDataDirectory
    ) -> [HostProcess] {
        processes().filter { process in
            process.directory == dataDirectory && (kind == nil || LabHost.kind(of: process.title) == kind)
        }
    }

    /// Sends a signal to all processes of a kind; nil: to all of the server.
    /// - Returns: how many got it; 0: there was none.
    /// - Throws: if the host is off.
    @discardableResult
    public func kill(
        _ kind: PostgresProcess?, signal: Int32 = SIGKILL, dataDirectory: String = LabPostgres.debianDataDirectory
    ) throws(LabError) -> Int {
        _ = try machine(to: "signal PostgreSQL")
        return postgresProcesses(kind, dataDirectory: dataDirectory).count { ProcessTable.signal($0.pid, signal) }
    }

    /// Sends a signal to every process of the program under test that runs this command (`run`, `guard`): also to those that no
    /// service started, such as a guard that the agent keeps.
    /// - Returns: how many got it.
    /// - Throws: if the host is off.
    @discardableResult
    public func signalProgram(_ number: Int32, command: String) throws(LabError) -> Int {
        _ = try machine(to: "signal pgtandem \(command)")
        return processes().count { process in
            let words = process.title.split(separator: " ").prefix(2)
            return words.count == 2 && words[0].hasSuffix("/pgtandem") && words[1] == command
                && ProcessTable.signal(process.pid, number)
        }
    }

    /// Titles are `postgres: [cluster_name: ]what …`; only the postmaster keeps its command line.
    static func kind(of title: String) -> PostgresProcess? {
        guard title.hasPrefix("postgres: ") else {
            let program = title.split(separator: " ").first?.split(separator: "/").last
            return program == "postgres" || program == "postmaster" ? .postmaster : nil
        }
        let words = title.dropFirst("postgres: ".count)
        let others = [
            "logger", "archiver", "autovacuum", "logical replication", "stats collector", "parallel worker", "io worker",
            "slotsync",
        ]
        // The cluster's name ends with the first ": "; a title without one has none there.
        let what = words.range(of: ": ").map { words[$0.upperBound...] } ?? words
        if what.hasPrefix("walreceiver") { return .walreceiver }
        if what.hasPrefix("walsender") { return .walsender }
        if what.hasPrefix("startup") { return .startup }
        if what.hasPrefix("checkpointer") { return .checkpointer }
        if what.hasPrefix("walwriter") { return .walwriter }
        if what.hasPrefix("background writer") { return .backgroundWriter }
        return others.contains { what.hasPrefix($0) } ? nil : .backend
    }

    private func innerNumber(_ pid: Int32) -> Int32 {
        let status = Text.read("/proc/\(pid)/status") ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("NSpid:") }
        return line?.split(whereSeparator: \.isWhitespace).last.flatMap { Int32($0) } ?? 0
    }
}
