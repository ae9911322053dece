import TandemLab
import TandemSystem
import TandemWire

/// The machines as they are now: roles, leases, addresses as the network sees them, the witness's record, writes per second.
final class DemoView {
    private let screen: DemoScreen
    private let script: LabScript
    private let lab: Lab
    private let load: LabLoad
    private let sniffer: Sniffer
    private var lastCount = 0
    private var lastAt = SystemClock.now()
    private var rate = 0
    private var statuses: [String: StatusDocument] = [:]
    /// What was done to a host and is not mended yet.
    var mark: (host: String, text: String)?

    init(screen: DemoScreen, script: LabScript, lab: Lab, load: LabLoad, sniffer: Sniffer) {
        self.screen = screen
        self.script = script
        self.lab = lab
        self.load = load
        self.sniffer = sniffer
    }

    /// Draws until the claim holds.
    func run(until what: String, upTo patience: Duration = .seconds(60), _ claim: () -> Bool) throws(LabError) {
        let reached = SystemClock.wait(upTo: patience, step: .milliseconds(150)) {
            look()
            screen.draw(lines(what))
            return claim()
        }
        guard reached else {
            throw LabError(
                attempted: "wait until \(what)", happened: "it is not so after \(patience)",
                advice: lines(what).joined(separator: "\n"))
        }
    }

    /// L1: one primary, one standby, each with its address, and a bond that allows a failover.
    func isWhole(primary: String) -> Bool {
        guard let first = statuses[primary], let second = statuses.first(where: { $0.key != primary })?.value else {
            return false
        }
        return first.role == "primary" && second.role == "standby" && first.bond == "paired" && second.bond == "paired"
            && first.addresses == [Lab.primaryAddress] && second.addresses == [Lab.standbyAddress] && first.failover_ready.ok
            && second.failover_ready.ok
    }

    /// It has both roles and both addresses, and commits wait for nobody.
    func isAlone(primary: String) -> Bool {
        guard let status = statuses[primary] else { return false }
        return status.role == "primary_standby" && status.bond == "sole"
            && status.addresses == [Lab.primaryAddress, Lab.standbyAddress]
    }

    /// A second in which nothing is done.
    func calm() throws(LabError) {
        let end = SystemClock.after(.seconds(1))
        try run(until: "a second of calm is over") { SystemClock.now() >= end }
    }

    /// L, as the pair has it.
    var lease: Duration {
        .milliseconds(statuses.values.compactMap { $0.arbiter.record?.lease_ms }.first ?? 0)
    }

    private func look() {
        for host in lab.hosts {
            do {
                statuses[host.name] = try JSON.decode(StatusDocument.self, from: Array(try script.status(of: host).text.utf8))
            } catch {
                // Its agent does not answer now: that is what the view shows.
                statuses[host.name] = nil
            }
        }
        let now = SystemClock.now()
        if now - lastAt > 900_000_000, let count = load.counters()?.acknowledged {
            rate = Int(Double(count - lastCount) / (Double(now - lastAt) / 1_000_000_000))
            lastCount = count
            lastAt = now
        }
    }

    private func lines(_ what: String) -> [String] {
        var lines = ["", "  \(Terminal.dim("until \(what)"))", ""]
        lines.append("  " + columns("HOST", "ROLE", "POSTGRESQL", "LAG", "LEASE", "ADDRESSES ON THE WIRE"))
        lines += lab.hosts.map(line)
        lines.append(witnessLine())
        lines.append("")
        let counters = load.counters()
        lines.append("  \(Lab.primaryAddress) (primary): \(rate) commits/s, acknowledged by \(counters?.writeNode ?? "-")")
        lines.append("  \(Lab.standbyAddress) (standby): reads, answered by \(counters?.readNode ?? "-")")
        return lines
    }

    private func line(_ host: LabHost) -> String {
        let owners = sniffer.owners()
        let carried = [(Lab.primaryAddress, "primary"), (Lab.standbyAddress, "standby")]
            .filter { owners[$0.0]?.hardware == host.hardwareAddress }.map(\.1).joined(separator: ", ")
        let mark = mark.flatMap { $0.host == host.name ? " \($0.text)" : nil } ?? ""
        guard host.isRunning else { return "  " + columns(host.name, "powered off", "-", "-", "-", carried) }
        guard let status = statuses[host.name] else {
            return "  " + columns(host.name + mark, "no answer", "-", "-", "-", carried)
        }
        return "  "
            + columns(
                host.name + mark, status.role, status.postgresql.condition, status.lag_bytes.map { "\($0) B" } ?? "-",
                status.lease_ms.map { "\(DemoText.tenths(Double($0) / 1000)) s" } ?? "-", carried)
    }

    /// The newest record that any node was told.
    private func witnessLine() -> String {
        let records = statuses.values.compactMap(\.arbiter.record)
        let heard = statuses.filter { $0.value.arbiter.reachable == true }.keys.sorted().joined(separator: " and ")
        guard let newest = records.max(by: { ($0.term, $0.step) < ($1.term, $1.step) }) else { return "  w          witness" }
        return "  "
            + columns("w", "witness")
            + "record: term \(newest.term), \(newest.primary) \(newest.bond); heard by \(heard.isEmpty ? "nobody" : heard)"
    }

    private func columns(_ texts: String...) -> String {
        let widths = [11, 17, 12, 9, 8]
        return texts.enumerated().map { index, text in
            index < widths.count ? text + String(repeating: " ", count: max(1, widths[index] - text.count)) : text
        }.joined()
    }
}
