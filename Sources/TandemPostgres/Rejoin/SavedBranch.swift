import Glibc
import Synchronization
import TandemCore
import TandemSystem

/// What was saved of an abandoned branch before it was taken back, in `STATE/diverged/<term>/`: its segments from the fork on, and
/// `report.txt`. Kept as long, and as much of it, as `rejoin.diverged` says.
public struct SavedBranch: Hashable, Sendable {
    public var folder: String
    public var fork: LSN
    public var end: LSN
    /// Transactions that committed behind the fork; nil: pg_waldump could not tell.
    public var commits: Int?
    /// As pg_waldump writes it, in UTC.
    public var firstCommit: String?
    public var lastCommit: String?
    /// Counts what was saved here: the highest was saved last, whatever the wall clock said then or says now.
    var sequence: UInt64 = 0

    public var lostBytes: UInt64 { fork.behind(end) }

    private var place: String { "fork            \(fork)\nend             \(end)\n" }

    private static let sequenceName = "sequence"

    /// What a folder's report says of its place among the others; 0: it was written before they were counted.
    /// - Returns: nil: there is no such report, so it was not finished, or is none of ours, or damaged.
    static func sequence(of folder: String) -> UInt64? {
        // A person may leave anything there: it is no obstacle to a rewind.
        guard let bytes = bytes(of: folder + "/report.txt") else { return nil }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map { $0.trimmed() }
        guard lines.first?.hasPrefix("WAL of an abandoned branch") == true, lines.last?.hasPrefix("pg_waldump ") == true else {
            return nil
        }
        guard let line = lines.first(where: { $0.hasPrefix(sequenceName + " ") }) else { return 0 }
        return UInt64(line.dropFirst(sequenceName.count).trimmed()).flatMap { $0 < .max - 1 ? $0 : nil }
    }

    private static func bytes(of path: String) -> [UInt8]? {
        do { return try DurableFile.read(path) } catch { return nil }
    }

    /// For a person.
    public var report: String {
        let count = commits.map { "\($0)" } ?? "unknown (pg_waldump could not read it)"
        return """
            WAL of an abandoned branch, saved by pgtandem before the data directory was rewound.
            \(place)bytes           \(lostBytes)
            commits         \(count)
            first commit    \(firstCommit ?? "-")
            last commit     \(lastCommit ?? "-")
            \(Self.sequenceName)        \(sequence)

            The segments in this folder hold these changes and nothing else does. To look into them:
                pg_waldump -p \(folder) -s \(fork) -e \(end)

            """
    }
}

extension SavedBranch {
    /// Copies, since second names would not do: pg_rewind overwrites in place what the source has too, and a server uses old
    /// segments again.
    static func save(
        _ rejoin: Rejoin, _ log: OwnLog, fork: LSN, term: Term, _ attempted: String
    ) throws(PostgresError) -> SavedBranch {
        let diverged = rejoin.settings.stateDirectory + "/diverged"
        let folder = try folder(diverged, term, fork, log.end, attempted)
        let size = UInt64(log.segmentSize)
        var names = stride(from: fork.bytes / size * size, to: log.end.bytes, by: Int(size)).compactMap {
            log.file(ofSegmentAt: LSN($0))
        }
        names += log.chain.pieces.map { TimelineChain.fileName($0.timeline) }.filter {
            OwnedFiles.exists("\(log.directory)/\($0)")
        }
        let bytes = Int64(names.count) * Int64(size)
        let free = try SetupTool.perform(attempted) { () throws(SystemError) in
            try FileFacts.space(onFileSystemOf: rejoin.settings.stateDirectory).freeBytes
        }
        guard bytes <= rejoin.options.savedBytesLimit, bytes <= free - (64 << 20) else {
            throw PostgresError(
                attempted: attempted,
                happened: "The abandoned branch has \(bytes >> 20) MiB of segments; the limit is "
                    + "\(rejoin.options.savedBytesLimit >> 20) MiB, and \(diverged) has \(free >> 20) MiB free.",
                meaning: "It cannot be saved, so it is not taken back; a new copy keeps the whole old directory.",
                advice: "Free space, or let a new copy be made.")
        }
        var saved = SavedBranch(folder: folder, fork: fork, end: log.end)
        // pg_waldump counts while the segments are copied: one takes a processor, the other a disk.
        let (chain, directory) = (log.chain, log.directory)
        let counting = SideJob("count commits") { [saved] () throws(PostgresError) in
            saved.summarized(rejoin.settings, chain, in: directory)
        }
        for name in OwnedFiles.names(in: diverged) ?? [] {
            saved.sequence = max(saved.sequence, sequence(of: "\(diverged)/\(name)") ?? 0)
        }
        saved.sequence += 1
        let copied = Result { () throws(PostgresError) in
            try SetupTool.perform(attempted) { () throws(SystemError) in
                for path in [diverged, folder] { try rejoin.owned.makeFolder(path) }
                for name in names {
                    try copyFile("\(log.directory)/\(name)", to: "\(folder)/\(name)")
                    try rejoin.owned.handOver("\(folder)/\(name)")
                }
            }
        }
        let counted = try counting.value()
        try copied.get()
        (saved.commits, saved.firstCommit, saved.lastCommit) = (counted.commits, counted.firstCommit, counted.lastCommit)
        let report = saved.report
        try SetupTool.perform(attempted) { () throws(SystemError) in
            try rejoin.owned.write(report, to: folder + "/report.txt")
            for path in [diverged, rejoin.settings.stateDirectory] { try OwnedFiles.sync(path) }
        }
        return saved
    }

    /// A folder of another branch that bears the same term is never written to; one of this branch, from an interrupted run, is.
    private static func folder(
        _ diverged: String, _ term: Term, _ fork: LSN, _ end: LSN, _ attempted: String
    ) throws(PostgresError) -> String {
        let wanted = SavedBranch(folder: "", fork: fork, end: end).place
        var name = "\(diverged)/\(term)"
        var number = 1
        while OwnedFiles.exists(name) {
            let path = name + "/report.txt"
            let bytes = try SetupTool.perform(attempted) { () throws(SystemError) in try DurableFile.read(path) }
            // Without a report it was not finished, and its branch is still where it was.
            guard let bytes, !String(decoding: bytes, as: UTF8.self).contains(wanted) else { return name }
            number += 1
            name = "\(diverged)/\(term)-\(number)"
        }
        return name
    }

    private static func copyFile(_ from: String, to: String) throws(SystemError) {
        let reading = open(from, O_RDONLY | O_CLOEXEC)
        guard reading >= 0 else { throw SystemError.last("open \(from)") }
        let source = Descriptor(reading)
        let writing = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard writing >= 0 else { throw SystemError.last("create \(to)") }
        let target = Descriptor(writing)
        var piece = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = read(source.number, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemError.last("read \(from)") }
            if count == 0 { break }
            var done = 0
            while done < count {
                let written = piece[done..<count].withUnsafeBytes { write(target.number, $0.baseAddress, $0.count) }
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { throw SystemError.last("write \(to)") }
                done += written
            }
        }
        guard fsync(target.number) == 0 else { throw SystemError.last("fsync \(to)") }
    }

    private struct Count {
        var commits = 0
        var first: String?
        var last: String?
    }

    /// Best effort: a missing program or damage takes only the numbers away.
    private func summarized(_ settings: InstanceSettings, _ chain: TimelineChain, in directory: String) -> SavedBranch {
        let found = Mutex(Count())
        for piece in chain.pieces where (piece.end ?? end) > fork {
            let arguments = [
                "-p", directory, "-t", String(piece.timeline), "-s", max(fork, piece.begin).description,
                "-e", (piece.end ?? end).description, "--rmgr=Transaction",
            ]
            do throws(SystemError) {
                let result = try settings.tool("pg_waldump", arguments).run(
                    deadline: .seconds(120), outputLimit: 4096
                ) { line in
                    guard let place = line.range(of: "desc: COMMIT") else { return }
                    // `COMMIT 2026-01-02 03:04:05.678901 UTC`, `COMMIT_PREPARED gid 1: 2026-…`
                    let words = line[place.upperBound...].split(separator: " ")
                    let date = words.firstIndex { $0.utf8.count == 10 && $0.split(separator: "-").count == 3 }
                    let time = date.map { words[$0...].prefix(3).joined(separator: " ").prefix { $0 != ";" } }.map(String.init)
                    found.withLock {
                        $0.commits += 1
                        $0.first = $0.first ?? time
                        $0.last = time ?? $0.last
                    }
                }
                guard result.succeeded else { return self }
            } catch {
                return self
            }
        }
        let count = found.withLock { $0 }
        var summarized = self
        (summarized.commits, summarized.firstCommit, summarized.lastCommit) = (count.commits, count.first, count.last)
        return summarized
    }
}
