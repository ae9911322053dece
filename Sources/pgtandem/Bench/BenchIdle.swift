import TandemLab
import TandemSystem
import TandemWire

/// What a pair costs that has nothing to do: agent and guard of both hosts, and the witness, at the profile `standard`.
struct BenchIdle {
    private static let measured = Duration.seconds(30)
    /// What pairing has stirred up is over.
    private static let rest = Duration.seconds(10)
    private let lab: Lab
    private let say: @Sendable (String) -> Void

    init(directory: String, keepsFolder: Bool, say: @escaping @Sendable (String) -> Void) throws {
        self.say = say
        lab = try Lab(LabOptions(directory: directory, hasWitness: true, keepsFolder: keepsFolder))
    }

    func run() throws -> BenchIdleReport {
        let result = Result { try measure() }
        do { try lab.stop() } catch { say("the lab could not be removed: \(error)") }
        return try result.get()
    }

    private func measure() throws -> BenchIdleReport {
        let pair = OurPair(lab, .standard)
        say("a pair with agents, guards and a witness")
        try pair.bringUp()
        say("\(Self.rest) of rest, then \(Self.measured) measured")
        pass(Self.rest)
        let processes =
            try [pair.primary, pair.standby].flatMap { host in
                let role = host.name == pair.primary.name ? "primary" : "standby"
                return [try find("run", on: host, as: "agent, \(role)"), try find("guard", on: host, as: "guard, \(role)")]
            } + [try find("witness", on: try lab.witness, as: "witness")]
        let before = try processes.map { try ProcessCost.cpuSeconds($0.pid) }
        let began = SystemClock.now()
        pass(Self.measured)
        let seconds = Double(SystemClock.now() - began) / 1e9
        let rows = try zip(processes, before).map { process, before in
            let memory = try ProcessCost.memory(process.pid)
            return BenchIdleReport.Row(
                name: process.name, cpu_percent: (try ProcessCost.cpuSeconds(process.pid) - before) / seconds * 100,
                private_kb: memory.own, resident_kb: memory.resident)
        }
        return BenchIdleReport(seconds: seconds, rows: rows)
    }

    private func find(_ command: String, on host: LabHost, as name: String) throws -> (name: String, pid: Int32) {
        let found = host.processes().first { process in
            let words = process.title.split(separator: " ").prefix(2)
            return words.count == 2 && words[0].hasSuffix("/pgtandem") && words[1] == command
        }
        guard let found else { throw CommandFailure.failed("there is no process `pgtandem \(command)` on \(host.name)") }
        return (name, found.pid)
    }

    /// The measured time itself; nothing is synchronised by it.
    private func pass(_ length: Duration) {
        let end = SystemClock.after(length)
        _ = SystemClock.wait(upTo: length + .seconds(1), step: .milliseconds(100)) { SystemClock.now() >= end }
    }
}

struct BenchIdleReport: Encodable {
    struct Row: Encodable {
        var name: String
        /// Of one core.
        var cpu_percent: Double
        /// Memory that nobody else has.
        var private_kb: Int
        var resident_kb: Int
    }

    /// Of agent and guard of one host together.
    static let cpuLimit = 1.0
    static let memoryLimit = 40 * 1024

    let seconds: Double
    let rows: [Row]

    /// Agent and guard of one host.
    private func host(_ role: String) -> (cpu: Double, memory: Int) {
        let both = rows.filter { $0.name.hasSuffix(", " + role) }
        return (both.map(\.cpu_percent).reduce(0, +), both.map(\.private_kb).reduce(0, +))
    }

    private func isWithinLimit(_ role: String) -> Bool {
        host(role).cpu < Self.cpuLimit && host(role).memory < Self.memoryLimit
    }

    var isWithinLimit: Bool { isWithinLimit("primary") && isWithinLimit("standby") }

    func json() throws -> String { String(decoding: try JSON.encode(self, pretty: true), as: UTF8.self) }

    var text: String {
        var lines = [
            "A pair that has nothing to do, profile standard, over \(Int(seconds.rounded())) s", "",
            Self.line("", "CPU, % of a core", "private, MiB", "resident, MiB"),
        ]
        lines += rows.map {
            Self.line($0.name, Self.percent($0.cpu_percent), Self.mebibytes($0.private_kb), Self.mebibytes($0.resident_kb))
        }
        lines.append("")
        for role in ["primary", "standby"] {
            let sum = host(role)
            lines.append(
                Self.line("both, \(role)", Self.percent(sum.cpu), Self.mebibytes(sum.memory), "")
                    + "   limit 1 %, 40 MiB" + (isWithinLimit(role) ? "" : "  TOO MUCH"))
        }
        return lines.joined(separator: "\n")
    }

    private static func percent(_ value: Double) -> String { BenchReport.decimal(value, digits: 2) }
    private static func mebibytes(_ kilobytes: Int) -> String { BenchReport.tenths(Double(kilobytes) / 1024) }

    private static func line(_ name: String, _ numbers: String...) -> String {
        "  " + name + String(repeating: " ", count: max(1, 18 - name.count))
            + numbers.map { String(repeating: " ", count: max(1, 18 - $0.count)) + $0 }.joined()
    }
}
