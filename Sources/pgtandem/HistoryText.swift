import TandemRuntime

/// One entry for a person.
struct HistoryText {
    let entry: HistoryEntry
    init(_ entry: HistoryEntry) { self.entry = entry }

    var text: String {
        var head = "\(Terminal.bold(entry.at))  \(entry.node): \(entry.from) -> \(entry.to)"
        if let term = entry.term { head += "  term \(term).\(entry.step ?? 0)\(entry.bond.map { " \($0)" } ?? "")" }
        if let out = entry.writes_out_ms { head += "  writes out \(out) ms" }
        var lines = [head, "  why     \(entry.why)"]
        for evidence in entry.evidence { lines.append("          - \(evidence)") }
        if !entry.phases.isEmpty {
            lines.append("  phases  " + entry.phases.map { "\($0.name) \($0.ms) ms" }.joined(separator: ", "))
        }
        if let wal = entry.wal {
            let parts = [
                wal.fork.map { "promoted at \($0)" }, wal.timeline.map { "timeline \($0)" },
                wal.heard.map { "the primary was heard at \($0)" },
                wal.received.map { "received here up to \($0)" },
            ]
            lines.append("  WAL     " + parts.compactMap(\.self).joined(separator: ", "))
        }
        if let lost = entry.lost {
            lines.append("  lost    \(lost.text)")
            if let folder = lost.kept_in { lines.append("          kept in \(folder)") }
        }
        return lines.joined(separator: "\n")
    }
}
