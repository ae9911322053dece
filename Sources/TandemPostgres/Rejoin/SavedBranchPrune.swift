import Glibc
import TandemSystem

extension SavedBranch {
    /// Removes the oldest saved branches beyond a size, and those beyond an age. The newest one always stays: what was lost last is what
    /// somebody will ask for.
    ///
    /// Which is the newest is told by the sequence in the reports, never by a clock: a wall clock that was wrong for an hour must not cost the
    /// only place of somebody's commits. One without a legible sequence was not finished, or is damaged: it stays, and takes of the size.
    /// - Returns: what was removed.
    public static func prune(
        _ settings: InstanceSettings, keeping bytes: Int64, for age: Duration
    ) throws(PostgresError) -> [String] {
        let diverged = settings.stateDirectory + "/diverged"
        let now = time(nil)
        var kept: Int64 = 0
        var folders: [Kept] = []
        for name in OwnedFiles.names(in: diverged) ?? [] {
            let folder = Kept("\(diverged)/\(name)")
            if folder.sequence == nil { kept += folder.bytes } else { folders.append(folder) }
        }
        // Those of before they were counted are the oldest, and among themselves as the clock of then said.
        folders.sort { ($0.sequence ?? 0, $0.saved) > ($1.sequence ?? 0, $1.saved) }
        var gone: [String] = []
        // Of what was saved later; nobody can be of a later time than that.
        var later = now
        for (place, folder) in folders.enumerated() {
            kept += folder.bytes
            let isAgeTold = folder.saved <= later
            later = min(later, folder.saved)
            guard place > 0, kept > bytes || isAgeTold && now - folder.saved > age.components.seconds else { continue }
            kept -= folder.bytes
            try SetupTool.perform("remove \(folder.path)") { () throws(SystemError) in try folder.remove() }
            gone.append(folder.path)
        }
        return gone
    }

    /// A folder of segments and a report.
    private struct Kept {
        let path: String
        let sequence: UInt64?
        var bytes: Int64 = 0
        /// By the wall clock of then.
        var saved: Int

        init(_ path: String) {
            self.path = path
            sequence = SavedBranch.sequence(of: path)
            saved = Self.facts(path + "/report.txt").map { $0.st_mtim.tv_sec } ?? Int.max
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
