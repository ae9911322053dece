import Glibc
import TandemLab
import TandemSystem

/// What a service of a host logged from some moment on.
struct AgentLog {
    private let lines: [Substring]
    /// Wall time minus CLOCK_BOOTTIME; a lab's hosts share the wall clock of this machine.
    private let offset: Int64

    /// A place in the log to start from.
    static func length(_ host: LabHost, _ service: HostService = .agent) throws(SystemError) -> Int {
        try DurableFile.read(host.serviceLogPath(service), limit: 256 << 20)?.count ?? 0
    }

    init(_ host: LabHost, _ service: HostService = .agent, from start: Int) throws(SystemError) {
        let bytes = try DurableFile.read(host.serviceLogPath(service), limit: 256 << 20) ?? []
        lines = String(decoding: bytes.dropFirst(start), as: UTF8.self).split(separator: "\n")
        var wall = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        offset = Int64(wall.tv_sec) * 1_000_000_000 + Int64(wall.tv_nsec) - SystemClock.now()
    }

    /// The first line with these words.
    func line(with words: String, and others: String? = nil) -> Substring? {
        lines.first { line in line.contains(words) && others.map { line.contains($0) } ?? true }
    }

    /// When the words were said first (CLOCK_BOOTTIME, ns, to the millisecond).
    func time(of words: String, and others: String? = nil) -> Int64? {
        line(with: words, and: others).flatMap { Self.wallTime($0) }.map { $0 - offset }
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
