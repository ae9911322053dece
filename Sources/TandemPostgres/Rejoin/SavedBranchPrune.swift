import Glibc
import TandemSystem

extension SavedBranch {
    /// Removes the oldest saved branches beyond a size, and those beyond an age; the newest one always stays: what was lost last is what
    /// somebody will ask for. Answers with what was removed.
    public static func prune(
        _ settings: InstanceSettings, keeping bytes: Int64, for age: Duration
    ) throws(PostgresError) -> [String] {
        let diverged = settings.stateDirectory + "/diverged"
        let now = time(nil)
        var kept: Int64 = 0
        var gone: [String] = []
        let folders = (OwnedFiles.names(in: diverged) ?? []).map { Kept("\(diverged)/\($0)") }.sorted { $0.saved > $1.saved }
        for (place, folder) in folders.enumerated() {
            kept += folder.bytes
            guard place > 0, kept > bytes || now - folder.saved > age.components.seconds else { continue }
            kept -= folder.bytes
            try SetupTool.perform("remove \(folder.path)") { () throws(SystemError) in try folder.remove() }
            gone.append(folder.path)
        }
        return gone
    }

    /// A folder of segments and a report; without the report it is not finished, and counts as new.
    private struct Kept {
        let path: String
        var bytes: Int64 = 0
        var saved: Int

        init(_ path: String) {
            self.path = path
            saved = Self.facts(path + "/report.txt").map { $0.st_mtim.tv_sec } ?? time(nil)
            for name in OwnedFiles.names(in: path) ?? [] { bytes += Self.facts("\(path)/\(name)").map { Int64($0.st_size) } ?? 0 }
        }

        private static func facts(_ path: String) -> stat? {
            var facts = stat()
            return lstat(path, &facts) == 0 ? facts : nil
        }

        func remove() throws(SystemError) {
            // The report goes last: what is left after an interruption is still known for what it is.
            let names = (OwnedFiles.names(in: path) ?? []).sorted { ($0 == "report.txt" ? 1 : 0) < ($1 == "report.txt" ? 1 : 0) }
            for name in names {
                guard unlink("\(path)/\(name)") == 0 || errno == ENOENT else { throw SystemError.last("remove \(path)/\(name)") }
            }
            guard rmdir(path) == 0 || errno == ENOENT else { throw SystemError.last("remove \(path)") }
        }
    }
}
