import Glibc
import TandemSystem

/// Data directories that made room for the one in use: `<dir>.diverged.<term>`, `<dir>.unfinished-<time>`.
///
/// Whoever starts one of them, or cleans it up, must not reach what the directory in use has elsewhere. That does not hang on any note in the
/// state directory, which may be lost or restored: their links alone tell.
struct FormerDirectories {
    /// The directory in use, without symbolic links.
    let current: String
    let paths: [String]

    init(of directory: String) {
        current = ProcessTable.resolved(directory) ?? directory
        let folder = KeptFile.folder(of: current)
        let name = current.split(separator: "/").last.map(String.init) ?? ""
        paths = (OwnedFiles.names(in: folder) ?? []).filter {
            $0.hasPrefix(name + ".diverged.") || $0.hasPrefix(name + ".unfinished-")
        }
        .map { folder == "/" ? "/" + $0 : "\(folder)/\($0)" }
    }

    /// Of its name: what it had elsewhere is kept under the same one.
    func ending(of path: String) -> String { String(path.dropFirst(current.count)) }

    /// Their links that lead to a part's place.
    func links(to part: Elsewhere) -> [(directory: String, link: String)] {
        paths.flatMap { path in
            Elsewhere.links(of: path).filter { _, kind, text in
                text == part.text || Elsewhere(kind, text, in: path)?.place == part.place
            }.map { (path, $0.link) }
        }
    }

    /// Under which ending the old content of a part is kept: that of the directory whose link leads there, whatever a note says of where that
    /// directory went.
    /// - Parameter ending: by the note.
    func ending(of part: Elsewhere, noted ending: String) -> String {
        let found = links(to: part).map { self.ending(of: $0.directory) }
        if found.contains(ending) { return ending }
        return found.filter { $0.hasPrefix(".diverged.") }.max { ($0.utf8.count, $0) < ($1.utf8.count, $1) } ?? ending
    }

    /// None of their links leads to a part of the directory in use any more: such a one says where that directory's own part would be, and if
    /// that is nowhere, PostgreSQL does not start there.
    /// - Returns: the links that were changed.
    func turnAway(_ attempted: String) throws(PostgresError) -> [String] {
        let used = Elsewhere.of(current)
        var changed: [String] = []
        try SetupTool.perform(
            attempted, meaning: "An old data directory would lead to what \(current) uses.",
            advice: "Start none of \(paths.joined(separator: ", ")); it is tried again."
        ) { () throws(SystemError) in
            for part in used {
                for (directory, link) in links(to: part) {
                    try Elsewhere.set(link, to: part.place + ending(of: directory))
                    changed.append(link)
                }
            }
        }
        return changed
    }

    /// What one of them had elsewhere and may be removed with it: under its own ending, of no other directory by its stamp, and not in use.
    func parts(of path: String) throws(PostgresError) -> [String] {
        let used = Elsewhere.of(current).flatMap { [$0.place, $0.fresh] }
        let (number, ending) = try SetupTool.perform("look at \(path)") { () throws(SystemError) in
            (try FileFacts.of(path)?.fileNumber, self.ending(of: path))
        }
        var found: [String] = []
        for part in Elsewhere.of(path) where part.place.hasSuffix(ending) && !used.contains(part.place) {
            let stamp = part.place + "/" + Elsewhere.stamp
            let bytes = try SetupTool.perform("read \(stamp)") { () throws(SystemError) in try DurableFile.read(stamp) }
            if let bytes, String(decoding: bytes, as: UTF8.self) != number.map(String.init) { continue }
            found.append(part.place)
        }
        return found
    }
}
