import TandemCore
import TandemSystem

/// Where a timeline left the one before it: the last entry of its history file. Two independent promotions can write
/// identical files, so it proves no descent (`protocol.md` 9).
struct Fork: Hashable, Sendable {
    var parent: Timeline
    var lsn: LSN

    /// nil: there is no such file (timeline 1 has none), or it is damaged: nobody may conclude anything from that.
    static func read(_ dataDirectory: String, _ timeline: Timeline) -> Fork? {
        let digits = String(timeline, radix: 16, uppercase: true)
        let name = String(repeating: "0", count: 8 - digits.count) + digits + ".history"
        do throws(SystemError) {
            guard let bytes = try DurableFile.read("\(dataDirectory)/pg_wal/\(name)") else { return nil }
            return parse(String(decoding: bytes, as: UTF8.self))
        } catch {
            return nil
        }
    }

    static func parse(_ text: String) -> Fork? {
        let lines = text.split(separator: "\n").map { $0.trimmed() }.filter { !$0.isEmpty && !$0.hasPrefix("#") }
        guard let fields = lines.last?.split(whereSeparator: { $0 == "\t" || $0 == " " }), fields.count >= 2,
            let parent = Timeline(fields[0]), let lsn = LSN(fields[1])
        else { return nil }
        return Fork(parent: parent, lsn: lsn)
    }
}
