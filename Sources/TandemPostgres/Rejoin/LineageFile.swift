import TandemCore
import TandemSystem

/// The promotions of this node, in the state directory: what the table `pgtandem.lineage` got from it, readable without a server.
public enum LineageFile {
    static func path(_ stateDirectory: String) -> String { stateDirectory + "/lineage" }

    /// Newest first. A line that cannot be read is passed over: it only takes a proof away.
    public static func read(stateDirectory: String) throws(PostgresError) -> [Instance.LineageEntry] {
        let path = path(stateDirectory)
        let bytes = try SetupTool.perform("read \(path)") { () throws(SystemError) in try DurableFile.read(path) } ?? []
        let entries = String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.count == 4, let term = UInt64(words[0]), let copy = CopyID(words[1]), let lsn = LSN(words[3]) else {
                return Instance.LineageEntry?.none
            }
            return .init(term: Term(term), copy: copy, parent: UInt64(words[2]).map { Term($0) }, lsn: lsn)
        }
        return entries.sorted { $0.term > $1.term }
    }

    /// Once per term, as in the table; of many the newest hundred are kept.
    public static func add(
        _ entry: Instance.LineageEntry, stateDirectory: String, osUser: String?
    ) throws(PostgresError) {
        var entries = try read(stateDirectory: stateDirectory)
        guard !entries.contains(where: { $0.term == entry.term }) else { return }
        entries.append(entry)
        let text = entries.sorted { $0.term > $1.term }.prefix(100).map { entry in
            "\(entry.term) \(entry.copy) \(entry.parent.map { "\($0)" } ?? "-") \(entry.lsn)\n"
        }.joined()
        let path = path(stateDirectory)
        try SetupTool.perform("write \(path)") { () throws(SystemError) in
            try OwnedFiles(user: osUser).write(text, to: path)
        }
    }
}
