import TandemWire

/// What `pgtandem witness-bench` found.
struct WitnessBenchReport: Codable, Sendable {
    struct Spread: Codable, Sendable {
        var count: Int
        var p50_ms: Double
        var p99_ms: Double
        var max_ms: Double

        init(_ nanoseconds: [Int64]) {
            let sorted = nanoseconds.sorted()
            func at(_ part: Double) -> Double {
                sorted.isEmpty ? 0 : milliseconds(sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))])
            }
            count = sorted.count
            p50_ms = at(0.5)
            p99_ms = at(0.99)
            max_ms = milliseconds(sorted.last)
        }
    }

    var pairs: Int
    var seconds: Double
    /// Of one core.
    var cpu_percent: Double
    /// Memory that nobody else has.
    var private_kb: Int
    var resident_kb: Int
    var heartbeats: Int
    var answers: Spread
    /// From the sending of an acknowledged heartbeat to the next acknowledgement.
    var longest_gap_ms: Double
    /// From the kill until it listened again.
    var restart_down_ms: Double
    /// From then until every pair had an acknowledgement of a heartbeat that it sent since.
    var restart_all_back_ms: Double
    /// The longest one is what counts against L.
    var restart_gaps: Spread
    var lease_ms: Double

    static func milliseconds(_ nanoseconds: Int64?) -> Double { (Double(nanoseconds ?? 0) / 10_000).rounded() / 100 }

    var isWithinLease: Bool { longest_gap_ms < lease_ms && restart_gaps.max_ms < lease_ms }

    var text: String {
        """
        \(pairs) pairs, \(heartbeats) heartbeats in \(Int(seconds)) s
        CPU                        \((cpu_percent * 10).rounded() / 10) % of one core
        memory                     \(private_kb / 1024) MB private, \(resident_kb / 1024) MB resident
        answer                     p50 \(answers.p50_ms) ms, p99 \(answers.p99_ms) ms, longest \(answers.max_ms) ms; \(answers.count) answers
        longest gap                \(longest_gap_ms) ms, calm
        restart                    down for \(restart_down_ms) ms, all pairs served \(restart_all_back_ms) ms later
        longest gap over a restart \(restart_gaps.max_ms) ms of a lease of \(lease_ms) ms
        """
    }
}

private func milliseconds(_ nanoseconds: Int64?) -> Double { WitnessBenchReport.milliseconds(nanoseconds) }
