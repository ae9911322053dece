import ArgumentParser
import Glibc
import TandemRuntime
import TandemSystem
import TandemWire

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Both nodes: roles, addresses, lag, and whether a failover would succeed now.",
        discussion: "Example: pgtandem status --json | jq .failover_ready")

    @OptionGroup var common: CommonOptions
    @Flag(help: "The status document as JSON.") var json = false
    @Flag(help: "Draw it again every second, until Ctrl-C.") var watch = false

    func run() throws {
        let configuration = try common.load()
        repeat {
            let status = try Self.fetch(configuration.controlSocket)
            if json {
                Terminal.say(String(decoding: try JSON.encode(status, pretty: true), as: UTF8.self))
            } else {
                if watch, Terminal.isInteractive { Terminal.write(1, "\u{1B}[H\u{1B}[2J") }
                Terminal.say(StatusText(status).text)
            }
            // A pause for the reader's eyes; nothing is synchronised by it.
            if watch { _ = SystemClock.wait(upTo: .seconds(1), step: .milliseconds(200)) { false } }
        } while watch
    }

    static func fetch(_ socket: String) throws -> StatusDocument {
        do {
            let answer = try ControlClient(path: socket).ask(ControlRequest(command: "status"), patience: .seconds(5))
            guard let status = answer.status else { throw CommandFailure.failed("the agent sent no status") }
            return status
        } catch let error as UnixSocketError {
            throw CommandFailure.unreachable("\(error)")
        }
    }
}

/// `new copy, 1.2 of 4.0 GB, 3 min left`
struct RejoinText {
    let rejoin: StatusDocument.Rejoin
    init(_ rejoin: StatusDocument.Rejoin) { self.rejoin = rejoin }

    var text: String {
        var parts = [rejoin.by == "rewind" ? "rewind" : "new copy", rejoin.step]
        if let done = rejoin.done_bytes, let total = rejoin.total_bytes {
            parts.append("\(Self.size(done)) of \(Self.size(max(total, done)))")
        }
        parts.append("for \(Self.span(rejoin.seconds))")
        if let left = rejoin.left_seconds { parts.append("\(Self.span(left)) left") }
        return parts.joined(separator: ", ")
    }

    static func size(_ bytes: Int64) -> String {
        for (unit, shift) in [("GB", 30), ("MB", 20), ("kB", 10)] where bytes >= 1 << shift {
            let tenths = bytes * 10 >> shift
            return "\(tenths / 10).\(tenths % 10) \(unit)"
        }
        return "\(bytes) B"
    }

    static func span(_ seconds: Int64) -> String {
        seconds < 120 ? "\(seconds) s" : seconds < 7200 ? "\(seconds / 60) min" : "\(seconds / 3600) h \(seconds % 3600 / 60) min"
    }
}

/// The status for a person: the pair in four lines, then what is not as it should be.
struct StatusText {
    let status: StatusDocument
    init(_ status: StatusDocument) { self.status = status }

    var text: String {
        var lines: [String] = []
        let term = status.term.map { "term \($0).\(status.step ?? 0)" } ?? "no ledger"
        lines.append("\(Terminal.bold(status.cluster))  \(term)  bond \(status.bond ?? "none")  arbiter \(arbiter)")
        if let lease = status.lease_ms {
            let its = status.guard.map { $0.armed ? "guard armed" : $0.alive ? "guard not armed" : "no guard" } ?? "no guard"
            lines.append("lease \(lease) ms left, \(its)")
        }
        if status.paused { lines.append("paused: nothing fails over until `pgtandem resume`") }
        lines.append("")
        lines.append(row("NODE", "ROLE", "POSTGRESQL", "POSITION", "LAG", "ADDRESSES"))
        lines.append(
            row(
                status.node + " (here)", status.role, postgres, status.lsn ?? "-", lag(status.lag_bytes, status.lag_seconds),
                status.addresses.joined(separator: " ")))
        let heard = status.peer.last_heard_ms.map { $0 > 2000 ? "silent for \($0 / 1000) s" : "heard" } ?? "not heard yet"
        lines.append(
            row(
                status.peer.node, status.peer.role ?? heard, status.peer.condition ?? "-", status.peer.lsn ?? "-",
                lag(status.peer.lag_bytes, nil), status.peer.addresses.joined(separator: " ")))
        lines.append("")
        if status.failover_ready.ok {
            lines.append(
                "failover ready: yes"
                    + (status.arbiter.kind == "manual" ? ", on a person's word (`pgtandem failover --peer-is-down`)" : ""))
        } else {
            lines.append("failover ready: no")
            for reason in status.failover_ready.reasons ?? [] { lines.append("  - \(reason.text)  [\(reason.code)]") }
        }
        if let problem = status.arbiter.problem { lines.append("witness: \(problem.text)  [\(problem.code)]") }
        if let gap = status.guard?.not_covered { lines.append("not covered: \(gap)") }
        if status.state != "primary", status.state != "standby" { lines.append("state: \(status.state)") }
        if let rejoin = status.rejoin { lines.append("coming back: \(RejoinText(rejoin).text)") }
        for note in status.notes { lines.append("note: \(note)") }
        return lines.joined(separator: "\n")
    }

    private var arbiter: String { status.arbiter.kind + (status.arbiter.reachable == false ? " (not reachable)" : "") }

    private var postgres: String {
        let version = status.postgresql.version.map { "\($0) " } ?? ""
        let timeline = status.timeline.map { " tl \($0)" } ?? ""
        return version + status.postgresql.condition + timeline
    }

    private func lag(_ bytes: UInt64?, _ seconds: Double?) -> String {
        guard let bytes else { return "-" }
        guard let seconds else { return "\(bytes) B" }
        let tenths = Int((seconds * 10).rounded())
        return "\(bytes) B, \(tenths / 10).\(tenths % 10) s"
    }

    private func row(_ columns: String...) -> String {
        let widths = [12, 17, 21, 13, 16]
        return columns.enumerated().map { index, text in
            index < widths.count ? text + String(repeating: " ", count: max(1, widths[index] - text.count)) : text
        }.joined()
    }
}
