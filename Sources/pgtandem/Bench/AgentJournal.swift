import TandemLab
import TandemSystem

/// What an agent's journal on a running host tells of an effect: `{"t":[boot,raw],…,"effects":["askWitness claim"],…}`.
enum AgentJournal {
    private static func path(_ host: LabHost) -> String { host.diskPath(of: "/var/lib/pgtandem/journal/current.jsonl") }

    /// A place in it to start from.
    static func length(_ host: LabHost) throws -> Int { try DurableFile.read(path(host), limit: 1 << 30)?.count ?? 0 }

    /// When the effect was ordered first (CLOCK_BOOTTIME of this machine, ns).
    static func time(of effect: String, on host: LabHost, from start: Int) throws -> Int64? {
        let bytes = try DurableFile.read(path(host), limit: 1 << 30) ?? []
        // A shorter one was begun anew since.
        let rest = bytes.dropFirst(start <= bytes.count ? start : 0)
        let line = String(decoding: rest, as: UTF8.self).split(separator: "\n").first { $0.contains("\"\(effect)\"") }
        guard let line, line.hasPrefix("{\"t\":["), let time = Int64(line.dropFirst(6).prefix { $0.isNumber }) else { return nil }
        return time - (try clockOffset(host))
    }

    /// A host of the lab has a clock of its own, some whole seconds behind this machine's.
    private static func clockOffset(_ host: LabHost) throws -> Int64 {
        let pid = String(decoding: try DurableFile.read(host.pidPath) ?? [], as: UTF8.self).filter(\.isNumber)
        let offsets = String(decoding: try DurableFile.read("/proc/\(pid)/timens_offsets") ?? [], as: UTF8.self)
        let words = offsets.split(separator: "\n").first { $0.hasPrefix("boottime") }?.split(whereSeparator: \.isWhitespace) ?? []
        guard words.count == 3, let seconds = Int64(words[1]), let rest = Int64(words[2]) else { return 0 }
        return seconds * 1_000_000_000 + rest
    }
}
