import Glibc
import TandemLab
import TandemSystem

/// A part of a change of roles, each up to an event that somebody has seen.
enum BenchPhase: String, CaseIterable, Encodable {
    case detection, ending, handover, promotion, address, client

    /// For people: up to when it lasts.
    var meaning: String {
        switch self {
        case .detection: "until the agent says that PostgreSQL has ended"
        case .ending: "until no process of it is left"
        case .handover: "until the old primary has no address, and has given the role away durably"
        case .promotion: "until the other host's PostgreSQL accepts writes"
        case .address: "until the address is there and announced"
        case .client: "until the first commit is acknowledged"
        }
    }

    /// What the agents say at the end; the old primary says the first ones, the new one the others.
    fileprivate var mark: (words: String, isSaidByOld: Bool)? {
        switch self {
        case .detection: (": PostgreSQL has ended here: the standby takes over", true)
        case .ending: (": PostgreSQL stopped", true)
        case .handover: (": handed over to", true)
        case .promotion: (": PostgreSQL promoted", false)
        case .address: (": address taken", false)
        case .client: nil
        }
    }
}

/// Where the time of one change of roles went.
struct BenchPhases {
    /// Milliseconds from the end of the phase before; the first, from the beginning.
    private(set) var lengths: [BenchPhase: Double] = [:]

    /// - Parameters:
    ///   - began: the kill, or the last commit before a switchover; so are all times: CLOCK_BOOTTIME, ns.
    ///   - ends: in their order.
    init(began: Int64, ends: [(phase: BenchPhase, ended: Int64)], firstCommit: Int64) {
        var last = began
        for (phase, ended) in ends + [(.client, firstCommit)] {
            lengths[phase] = Double(ended - last) / 1_000_000
            last = ended
        }
    }

    /// From what both agents wrote.
    static func ends(old: AgentLog, new: AgentLog) -> [(phase: BenchPhase, ended: Int64)] {
        BenchPhase.allCases.compactMap { phase in
            guard let mark = phase.mark else { return nil }
            let time = (mark.isSaidByOld ? old : new).time(of: mark.words, and: phase == .address ? "role=primary" : nil)
            return time.map { (phase, $0) }
        }
    }
}

/// What an agent logged from some moment on.
struct AgentLog {
    private let lines: [Substring]
    /// Wall time minus CLOCK_BOOTTIME; a lab's hosts share the wall clock of this machine.
    private let offset: Int64

    /// A place in the log to start from.
    static func length(_ host: LabHost) throws -> Int { try DurableFile.read(host.serviceLogPath, limit: 256 << 20)?.count ?? 0 }

    init(_ host: LabHost, from start: Int) throws {
        let bytes = try DurableFile.read(host.serviceLogPath, limit: 256 << 20) ?? []
        lines = String(decoding: bytes.dropFirst(start), as: UTF8.self).split(separator: "\n")
        var wall = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        offset = Int64(wall.tv_sec) * 1_000_000_000 + Int64(wall.tv_nsec) - SystemClock.now()
    }

    /// When the words were said first (CLOCK_BOOTTIME, ns, to the millisecond).
    func time(of words: String, and others: String? = nil) -> Int64? {
        lines.first { line in line.contains(words) && others.map { line.contains($0) } ?? true }.flatMap { Self.wallTime($0) }.map
        { $0 - offset }
    }

    /// The time at the beginning of a line, 2026-01-31T12:34:56.789Z; the middle of its millisecond.
    private static func wallTime(_ line: Substring) -> Int64? {
        let numbers = line.prefix(24).split { "-T:.Z".contains($0) }.compactMap { Int32($0) }
        guard numbers.count == 7 else { return nil }
        var parts = tm()
        parts.tm_year = numbers[0] - 1900
        parts.tm_mon = numbers[1] - 1
        parts.tm_mday = numbers[2]
        parts.tm_hour = numbers[3]
        parts.tm_min = numbers[4]
        parts.tm_sec = numbers[5]
        return Int64(timegm(&parts)) * 1_000_000_000 + Int64(numbers[6]) * 1_000_000 + 500_000
    }
}
