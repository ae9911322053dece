import Foundation
import Glibc
import TandemSystem

/// How often the file of each pair was written, so that a single one that was restored from a backup is known for what it is: an empty file
/// `<cluster>.<count>` each, in `written/`.
///
/// A pair's file holds its own number, and is written first, its count after it, and nothing is answered before both are durable. So the file is
/// at its count, or, after a crash in between, one ahead. Behind it, or further ahead, it is none that the witness has left there. To count is one
/// rename, which needs no room on a full disk.
struct PairCounts: Sendable {
    let folder: String

    var advice: String {
        "Without it a restored file would not be noticed: make \(folder) readable and writable, then start again."
    }

    func make() throws(SystemError) {
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw SystemError.last("make the folder \(folder)") }
    }

    /// 0: never, or it is not known.
    func count(of cluster: String) throws -> UInt64 { try all()[cluster] ?? 0 }

    /// By cluster. A start looks at a thousand pairs, and at the folder once.
    func all() throws -> [String: UInt64] {
        guard access(folder, F_OK) == 0 else { return [:] }
        var counts: [String: UInt64] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 2, let count = UInt64(parts[1]), count < UInt64.max - 4 else { continue }
            counts[String(parts[0]), default: 0] = max(count, counts[String(parts[0])] ?? 0)
        }
        return counts
    }

    /// Durable when it returns.
    func raise(_ cluster: String, to count: UInt64) throws {
        let (last, path) = (try self.count(of: cluster), "\(folder)/\(cluster).\(count)")
        guard count > last else { return }
        guard last > 0 else { return try DurableFile.write([], to: path, mode: 0o600) }
        guard rename("\(folder)/\(cluster).\(last)", path) == 0 else {
            throw SystemError.last("rename \(cluster).\(last) to \(path)")
        }
        try DurableFile.syncFolder(of: path)
    }

    /// Whether a pair's file is the one that was written last.
    static func isLast(_ pair: PairFile, _ count: UInt64) -> Bool { pair.written == count || pair.written == count + 1 }
}
