import TandemCore

/// What a run, or many, have reached.
package struct Coverage: Sendable {
    package var transitions: [Transition: Int] = [:]
    package var refusals: [String: Int] = [:]
    package var guardActs = 0
    package var acknowledged = 0
    package init() {}

    mutating func note(_ code: String) { refusals[code, default: 0] += 1 }

    mutating func note(_ heartbeat: Heartbeat) {
        for note in heartbeat.report.refusals { self.note(note.code) }
        switch heartbeat.answer {
        case .notPrepared(_, let notes), .requestRefused(_, let notes): for note in notes { self.note(note.code) }
        case .prepared, .requestDone, nil: break
        }
    }

    package mutating func add(_ other: Coverage) {
        transitions.merge(other.transitions, uniquingKeysWith: +)
        refusals.merge(other.refusals, uniquingKeysWith: +)
        guardActs += other.guardActs
        acknowledged += other.acknowledged
    }

    /// Rows of the table that were never reached, but for those that no run can reach while every rule holds.
    package var missing: [Transition] {
        TransitionTable.rows.filter { !$0.isImpossible && transitions[$0.transition] == nil }.map(\.transition)
    }
}
