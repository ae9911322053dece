import TandemCore

extension Simulation {
    /// The fewest troubles of this seed after which the same rule is still broken: each is left out in turn, for as long as that helps.
    /// `budget`: how many runs it may take.
    package func shrunk(_ rule: Violation.Rule, budget: Int = 400) -> Simulation {
        var best = self
        var left = budget
        func breaks(_ candidate: Simulation) -> Bool {
            left -= 1
            return candidate.run().violation?.rule == rule
        }
        // Whole rounds first: later ones never matter, earlier ones seldom.
        while best.faults.count > 1, left > 0 {
            var shorter = best
            shorter.faults.removeLast()
            guard breaks(shorter) else { break }
            best = shorter
        }
        for round in best.faults.indices where left > 0 {
            var emptied = best
            emptied.faults[round] = []
            if !best.faults[round].isEmpty, breaks(emptied) { best = emptied }
        }
        var isSmaller = true
        while isSmaller, left > 0 {
            isSmaller = false
            for round in best.faults.indices {
                var place = 0
                while place < best.faults[round].count, left > 0 {
                    var without = best
                    without.faults[round].remove(at: place)
                    if breaks(without) {
                        best = without
                        isSmaller = true
                    } else {
                        place += 1
                    }
                }
            }
        }
        return best
    }
}
