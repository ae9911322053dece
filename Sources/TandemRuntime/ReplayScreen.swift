import Glibc

/// A replayed journal for a person's eyes.
public struct ReplayScreen: Sendable {
    private let bold: @Sendable (String) -> String

    /// - Parameter bold: how the terminal makes a text stand out.
    public init(bold: @escaping @Sendable (String) -> String = { $0 }) { self.bold = bold }

    public func text(_ item: ReplayItem) -> String {
        switch item {
        case .beginning(let beginning): text(beginning)
        case .event(let step): text(step)
        case .damaged(let line, let reason):
            "\nline \(line) cannot be read (\(reason)): what follows it, up to the next start of the agent or gap, is left out\n"
        case .torn(let line):
            "line \(line) has no end: the agent was writing it, or ended while it did. That is usual, and nothing else is missing"
        }
    }

    private func text(_ beginning: ReplayBeginning) -> String {
        let state = "\(beginning.state), \(beginning.ledger.map { "ledger \($0)" } ?? "no ledger")"
        guard beginning.lost > 0 else {
            return bold(
                "\(time(beginning.wall))  node \(beginning.node) of \(beginning.cluster), \(state); written by pgtandem \(beginning.program)"
            )
        }
        return """
            \(time(beginning.wall))  GAP: \(beginning.lost) events before this are missing, the disk did not take them. What was decided
                meanwhile is not known; from here on the state is the one that the agent had then: \(state)
            """
    }

    private func text(_ step: ReplayStep) -> String {
        var lines = ["\(time(step.wall))  \(step.text)"]
        for decision in step.decisions { lines += text(decision) }
        if let difference = step.difference {
            lines.append("    DECIDED DIFFERENTLY (line \(step.line)), and what follows rests on it:")
            lines.append("        the agent ordered   \(list(difference.recorded))")
            lines.append("        this version        \(list(difference.here))")
        }
        return lines.joined(separator: "\n")
    }

    private func list(_ words: [String]) -> String { words.isEmpty ? "nothing" : words.joined(separator: ", ") }

    private func text(_ decision: ReplayDecision) -> [String] {
        var text = decision.text
        if let cause = decision.cause { text += " [\(cause)\(decision.section.map { "; protocol \($0)" } ?? "")]" }
        for fact in (decision.facts ?? [:]).sorted(by: { $0.key < $1.key }) { text += "  \(fact.key)=\(fact.value)" }
        let kind = decision.level ?? decision.kind
        let column = kind + String(repeating: " ", count: max(1, 11 - kind.count))
        let line = "    \(column)\(text)"
        let reasons = (decision.reasons ?? []).map { "        - \($0.text)  [\($0.code)]" }
        return [decision.kind == "transition" ? bold(line) : line] + reasons
    }

    public func text(_ summary: ReplaySummary) -> String {
        var parts = ["\(summary.events) events, \(summary.decisive) led to a decision"]
        if summary.lost > 0 { parts.append("\(summary.lost) are missing in the journal") }
        parts.append(
            summary.differing == 0
                ? "this version decides the same at each of them"
                : "this version decides differently at \(summary.differing) of them")
        return parts.joined(separator: "; ")
    }

    /// nil: everything was read, and decided alike. `writer`, `reader`: versions of pgtandem.
    public static func failure(_ summary: ReplaySummary, writer: String, reader: String) -> String? {
        var reasons: [String] = []
        if summary.differing > 0 {
            reasons.append(
                "this pgtandem \(reader) decides differently than the one that wrote the journal (pgtandem \(writer)): what is shown after the "
                    + "first difference did not happen. Replay it with the program that wrote it")
        }
        if !summary.damaged.isEmpty {
            reasons.append(
                "\(summary.damaged.count == 1 ? "line" : "lines") \(summary.damaged.map(String.init).joined(separator: ", ")) could not be read: the "
                    + "file was changed, or its disk is damaged")
        }
        return reasons.isEmpty ? nil : reasons.joined(separator: "\n")
    }

    /// Local time, milliseconds: a person compares it with a watch.
    private func time(_ wall: Int64) -> String {
        var seconds = time_t(wall / 1000)
        var parts = tm()
        localtime_r(&seconds, &parts)
        func pad(_ number: some BinaryInteger, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return "\(parts.tm_year + 1900)-\(pad(parts.tm_mon + 1, 2))-\(pad(parts.tm_mday, 2)) "
            + "\(pad(parts.tm_hour, 2)):\(pad(parts.tm_min, 2)):\(pad(parts.tm_sec, 2)).\(pad(wall % 1000, 3))"
    }
}
