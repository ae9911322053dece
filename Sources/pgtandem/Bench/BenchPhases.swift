import Glibc
import TandemLab
import TandemSystem

/// Where the time went, told by the agents' logs: milliseconds from the last acknowledged commit, or from the kill.
struct BenchPhases {
    /// In the order in which they follow each other; nil: its words were not found.
    var phases: [(name: String, milliseconds: Double?)]

    /// What the agents say at the end of each phase. The old primary says the first ones, the new one the others.
    private static let crash: [(name: String, words: String, isSaidByOld: Bool)] = [
        ("detection", ": PostgreSQL has ended here: the standby takes over", true),
        ("ending", ": PostgreSQL stopped", true),
        ("handover", ": handed over to", true),
        ("promotion", ": PostgreSQL promoted", false),
        ("address", ": address taken", false),
    ]
    private static let switchover = Array(crash.dropFirst())

    /// - Parameters:
    ///   - began: the kill, or the last commit before a switchover (CLOCK_BOOTTIME, ns).
    ///   - log: of the old and the new primary, what they wrote since.
    init(ofCrash isCrash: Bool, began: Int64, firstCommit: Int64, old: AgentLog, new: AgentLog) {
        var last: Int64? = began
        phases = []
        for mark in isCrash ? Self.crash : Self.switchover {
            let log = mark.isSaidByOld ? old : new
            let said = log.time(of: mark.words, and: mark.name == "address" ? "role=primary" : nil)
            phases.append((mark.name, said.flatMap { said in last.map { Self.milliseconds(said - $0) } }))
            last = said
        }
        phases.append(("client", last.map { Self.milliseconds(firstCommit - $0) }))
    }

    private static func milliseconds(_ nanoseconds: Int64) -> Double { Double(nanoseconds) / 1_000_000 }
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
