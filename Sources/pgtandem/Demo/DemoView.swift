import TandemLab
import TandemSystem
import TandemWire

/// Both hosts as they are now: roles, addresses as the network sees them, lag, writes per second.
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
            && first.addresses == [Lab.primaryAddress] && second.addresses == [Lab.standbyAddress] && second.failover_ready.ok
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
        let owners = sniffer.owners()
        func carried(by host: LabHost) -> String {
            [Lab.primaryAddress, Lab.standbyAddress].filter { owners[$0]?.hardware == host.hardwareAddress }
                .map { $0 == Lab.primaryAddress ? "primary \($0)" : "standby \($0)" }.joined(separator: ", ")
        }
        var lines = ["", "  \(Terminal.dim("until \(what)"))", ""]
        lines.append("  " + columns("HOST", "ROLE", "POSTGRESQL", "POSITION", "LAG", "ADDRESSES ON THE WIRE"))
        for host in lab.hosts {
            let status = statuses[host.name]
            lines.append(
                "  "
                    + columns(
                        host.name, status?.role ?? "no answer", status?.postgresql.condition ?? "-", status?.lsn ?? "-",
                        status?.lag_bytes.map { "\($0) B" } ?? "-", carried(by: host)))
        }
        lines.append("")
        let bond = statuses.values.first?.bond ?? "-"
        lines.append(
            "  bond \(bond)   writes \(rate)/s by \(load.counters()?.writeNode ?? "-")   reads by \(load.counters()?.readNode ?? "-")"
        )
        return lines
    }

    private func columns(_ texts: String...) -> String {
        let widths = [7, 17, 13, 13, 11]
        return texts.enumerated().map { index, text in
            index < widths.count ? text + String(repeating: " ", count: max(1, widths[index] - text.count)) : text
        }.joined()
    }
}
