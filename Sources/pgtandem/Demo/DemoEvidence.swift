import TandemLab
import TandemSystem

/// What decided a change of roles, read from what agents and guards wrote while it happened: the demo claims nothing that they did not
/// say.
struct DemoEvidence {
    private let began: Int64
    private let starts: [String: (agent: Int, guardian: Int)]

    /// From now on.
    init(_ hosts: [LabHost]) throws(LabError) {
        var starts: [String: (agent: Int, guardian: Int)] = [:]
        for host in hosts {
            starts[host.name] = try Self.told { () throws(SystemError) in
                (try AgentLog.length(host), try AgentLog.length(host, .guardian))
            }
        }
        self.starts = starts
        began = SystemClock.now()
    }

    /// The old primary's agent lived, and gave the role away.
    func handedOver(by old: LabHost, because words: String) throws(LabError) -> [String] {
        guard let passed = try passed(until: "handed over to", on: old) else { return [] }
        return ["\(words): \(old.name) itself gave the role away after \(passed);", "no lease had to end"]
    }

    /// The old primary was not asked.
    func granted(to new: LabHost, instead old: LabHost, lease: Duration) throws(LabError) -> [String] {
        guard let passed = try passed(until: "the witness grants the role", on: new) else { return [] }
        return [
            "\(DemoText.span(lease)) after the last word of \(old.name) its lease was over:",
            "the witness granted \(new.name) the role, \(passed) after the fault",
        ]
    }

    /// What the guard did on a host that goes on, alone.
    func guarded(_ host: LabHost) throws(LabError) -> [String] {
        guard let line = try log(host, .guardian).line(with: "the lease ended: ") else { return [] }
        // "14 processes of the instance killed, 1 addresses removed, silent after 2100 µs, all gone after …"
        let facts = line.split(separator: ":").last.map { $0.split(separator: ",") } ?? []
        guard let killed = facts.first?.split(separator: " ").first, let silent = Self.microseconds(facts) else {
            return ["the guard on \(host.name):\(line.dropFirst("pgtandem guard:".count))"]
        }
        guard killed != "0" else { return ["\(host.name)'s agent ended PostgreSQL before its guard had to"] }
        return [
            "before \(host.name)'s lease was over, its guard killed PostgreSQL",
            "(\(killed) processes) and removed the address, within \(DemoText.tenths(silent / 1000)) ms",
        ]
    }

    /// How a host that came back was made like the new primary.
    func cameBack(_ host: LabHost) throws(LabError) -> [String] {
        guard let line = try log(host).line(with: "the directory is like the primary's again") else {
            return ["\(host.name) came back and could follow at once: no rewind was needed"]
        }
        guard line.contains(" by=rewind") else { return ["\(host.name) came back by a new copy of the primary"] }
        return ["\(host.name) came back with WAL of its own: pg_rewind took it off,", "and that branch is kept on \(host.name)"]
    }

    private func passed(until words: String, on host: LabHost) throws(LabError) -> String? {
        try log(host).time(of: words).map { DemoText.span(.nanoseconds(max(0, $0 - began))) }
    }

    private func log(_ host: LabHost, _ service: HostService = .agent) throws(LabError) -> AgentLog {
        let start = starts[host.name] ?? (0, 0)
        return try Self.told { () throws(SystemError) in
            try AgentLog(host, service, from: service == .agent ? start.agent : start.guardian)
        }
    }

    private static func microseconds(_ facts: [Substring]) -> Double? {
        guard let fact = facts.first(where: { $0.contains("silent after") }) else { return nil }
        return fact.split(separator: " ").dropLast().last.flatMap { Double($0) }
    }

    private static func told<Value>(_ body: () throws(SystemError) -> Value) throws(LabError) -> Value {
        do throws(SystemError) {
            return try body()
        } catch {
            throw LabError(attempted: error.attempted, happened: error.reason, advice: error.advice)
        }
    }
}

/// Numbers for people.
enum DemoText {
    /// 61.4 ms, 1.93 s.
    static func span(_ duration: Duration) -> String {
        let milliseconds = duration / .milliseconds(1)
        if milliseconds < 1000 { return "\(tenths(milliseconds)) ms" }
        let hundredths = Int((milliseconds / 10).rounded())
        return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100) s"
    }

    static func tenths(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
