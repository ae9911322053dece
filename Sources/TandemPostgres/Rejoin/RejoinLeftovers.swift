import Glibc
import TandemCore
import TandemSystem

extension Rejoin {
    /// Ends and removes what an interrupted call has left: an orphaned pg_rewind, a server that only replays its log, spare names
    /// of segments. An agent calls it once at its start, before it adopts a running server; `survey`, `rewind` and `copy` call it too.
    /// - Parameter atStart: of an agent: then half of a copy that a sound directory stands beside is given up too.
    /// - Throws: also if another call is under way.
    public func endLeftovers(atStart: Bool = false) throws(PostgresError) {
        let attempted = "end what an interrupted return of \(settings.dataDirectory) has left"
        let lock = try SetupLock(settings, attempted)
        defer { lock.release() }
        try endLeftovers(attempted)
        if atStart {
            try giveUpCopy(attempted)
            try turnAwayFormer(attempted)
        }
    }

    /// Where an interrupted copy could not, as its notes were lost.
    private func turnAwayFormer(_ attempted: String) throws(PostgresError) {
        guard let mark = try CopyMarkFile.readSound(settings.dataDirectory), mark.node == node else { return }
        _ = try FormerDirectories(of: settings.dataDirectory).turnAway(attempted)
    }

    /// With the lock held.
    func endLeftovers(_ attempted: String) throws(PostgresError) {
        let target = ProcessTable.resolved(settings.dataDirectory) ?? settings.dataDirectory
        func orphans() -> [Int32] { Leftovers.processes(naming: target, programs: ["pg_rewind"]) }
        for pid in orphans() { ProcessTable.signal(pid, SIGKILL) }
        guard SystemClock.wait(upTo: .seconds(10), until: { orphans().isEmpty }) else {
            throw PostgresError(
                attempted: attempted, happened: "pg_rewind of an interrupted run does not end (\(orphans().listed)).",
                meaning: "It may still write to \(target); nothing was changed.",
                advice: "Look what it waits for (a dead disk?), and end it.")
        }
        if case .intent(let intent) = try RejoinIntent.read(settings) {
            switch intent.phase {
            case .recovering:
                let ended = instance.endAll(deadline: .seconds(10))
                guard ended.isComplete else { return try requireStopped(attempted) }
                try RejoinIntent.remove(settings)
            case .rewinding:
                // The mark stands already; only this was missing.
                if intent.target == target, try Rejoin.unfinishedRewind(settings) == nil { try RejoinIntent.remove(settings) }
            case .refused: break
            }
        }
        try settleFinishedCopy()
        try KeptSegments(rejoin: self, target: target, attempted: attempted).remove()
    }

    // MARK: the old directory

    /// Old directories that `copy` has moved aside, whole; what they had elsewhere lies beside its place, with the same ending.
    public static func divergedDirectories(_ settings: InstanceSettings) -> [String] {
        let former = FormerDirectories(of: settings.dataDirectory)
        return former.paths.filter { former.ending(of: $0).hasPrefix(".diverged.") }
    }

    /// Removes one of them for good. Only after the new copy serves: until then it may be the only place of what it holds.
    public static func removeDiverged(_ settings: InstanceSettings, _ path: String) throws(PostgresError) {
        let attempted = "remove the old data directory \(path)"
        guard divergedDirectories(settings).contains(path), InstanceProcesses(path).all().isEmpty else {
            throw PostgresError(
                attempted: attempted, happened: "It is none that was moved aside, or a server runs in it.",
                meaning: "Nothing was removed.", advice: "Name one of: \(divergedDirectories(settings)).")
        }
        for part in try FormerDirectories(of: settings.dataDirectory).parts(of: path) {
            try Leftovers.remove(part, settings, attempted)
        }
        try Leftovers.remove(path, settings, attempted)
    }
}

/// Second names of the segments before the fork. pg_rewind removes from the target each segment that the source no longer has, also
/// those with which recovery begins after it (until version 17): then they are put back.
struct KeptSegments {
    let rejoin: Rejoin
    /// The data directory, without symbolic links.
    let target: String
    let attempted: String

    private var walDirectory: String { ProcessTable.resolved(target + "/pg_wal") ?? target + "/pg_wal" }

    /// On the file system of `pg_wal`, and not inside the data directory, where pg_rewind would remove it.
    private var folder: String {
        (walDirectory.hasPrefix(target + "/") ? target : walDirectory) + ".pgtandem-wal"
    }

    /// - Returns: false if this file system or its folder does not allow it.
    func keep(_ names: [String]) throws(PostgresError) -> Bool {
        try remove()
        guard mkdir(folder, 0o700) == 0 else { return false }
        let folder = folder
        try SetupTool.perform(attempted) { () throws(SystemError) in try rejoin.owned.handOver(folder) }
        return names.allSatisfy { link("\(walDirectory)/\($0)", "\(folder)/\($0)") == 0 }
    }

    /// Those that are missing now.
    func putBack() throws(PostgresError) {
        let (folder, walDirectory) = (folder, walDirectory)
        try SetupTool.perform(attempted) { () throws(SystemError) in
            for name in OwnedFiles.names(in: folder) ?? [] where !OwnedFiles.exists("\(walDirectory)/\(name)") {
                guard link("\(folder)/\(name)", "\(walDirectory)/\(name)") == 0 else {
                    throw SystemError.last("put \(name) back into \(walDirectory)")
                }
            }
            try OwnedFiles.sync(walDirectory)
        }
    }

    func remove() throws(PostgresError) {
        guard OwnedFiles.exists(folder) else { return }
        try Leftovers.remove(folder, rejoin.settings, attempted)
    }
}
