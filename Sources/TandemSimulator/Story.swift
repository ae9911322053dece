import TandemCore

/// A run told so that a person can follow it.
package enum Story {
    /// The seed, what it was set up as, the troubles that are enough, and what happened, line by line.
    package static func text(_ simulation: Simulation, _ outcome: Simulation.Outcome) -> String {
        var lines: [String] = []
        let setup = simulation.setup
        lines.append(
            "seed \(simulation.seed), \(simulation.limit) steps: \(setup.mode.rawValue), arbiter \(setup.arbiter.rawValue), lease \(setup.timing.lease.text)"
                + (simulation.flaw.map { ", with the mistake `\($0.rawValue)` put back" } ?? ""))
        if let violation = outcome.violation {
            lines.append("\(violation.rule.rawValue) is broken at \(Text.seconds(violation.at)) s: \(violation.text)")
        }
        let faults = simulation.faults.enumerated().filter { !$0.element.isEmpty }
        if !faults.isEmpty { lines.append("") }
        for (round, troubles) in faults {
            lines.append("troubles of round \(round + 1), from its beginning:")
            for trouble in troubles { lines.append("  \(trouble)") }
        }
        lines.append("")
        lines += self.lines(outcome.transcript)
        return lines.joined(separator: "\n")
    }

    package static func lines(_ transcript: [World.Line]) -> [String] {
        transcript.map { line in
            let time = Text.seconds(line.at)
            let pad = String(repeating: " ", count: max(0, 9 - time.count))
            return "\(pad)\(time)  \(line.who)\(String(repeating: " ", count: max(1, 8 - line.who.count)))\(line.text)"
        }
    }
}
