import Glibc
import TandemSystem

/// The place beside a data directory in which a new one is made, to be renamed into its place when it is whole.
public struct NewDirectory: Sendable {
    let settings: InstanceSettings
    let attempted: String
    /// Of the data directory, without symbolic links: a link there stays and leads to the new content.
    let target: String

    /// Same folder, hence same file system: the swap is one rename.
    var path: String { target + ".pgtandem-new" }
    var parent: String { KeptFile.folder(of: target) }

    /// Looks only.
    /// - Throws: if the folder above is missing, or the target is a mount point, which cannot be renamed over.
    init(_ settings: InstanceSettings, _ attempted: String) throws(PostgresError) {
        self.settings = settings
        self.attempted = attempted
        var wanted = settings.dataDirectory
        while wanted.count > 1, wanted.hasSuffix("/") { wanted.removeLast() }
        let folder = KeptFile.folder(of: wanted)
        guard wanted.hasPrefix("/"), let parent = ProcessTable.resolved(folder) else {
            throw PostgresError(
                attempted: attempted, happened: "There is no folder \(folder).", meaning: "Nothing was changed.",
                advice: "Create it (`install -d -o \(settings.osUser ?? "postgres") \(folder)`), or mount its disk.")
        }
        let name = wanted.split(separator: "/").last.map(String.init) ?? ""
        target = ProcessTable.resolved(wanted) ?? (parent == "/" ? "" : parent) + "/" + name
        let target = target
        let mounts = try SetupTool.perform(attempted) { () throws(SystemError) in try MountTable.current() }
        guard !mounts.isMountPoint(target) else {
            throw PostgresError(
                attempted: attempted, happened: "\(target) is a mount point.",
                meaning: "A new directory could not be swapped in as a whole; nothing was changed.",
                advice: "Name a folder below it, such as \(target)/data, in `postgresql.data_directory`.")
        }
    }

    /// Looks only: could a new directory be made there?
    public static func requirePlace(_ settings: InstanceSettings) throws(PostgresError) {
        _ = try NewDirectory(settings, "make a data directory at \(settings.dataDirectory)")
    }

    /// An empty directory of PostgreSQL's user, whatever an interrupted run has left there.
    func make() throws(PostgresError) {
        try clear()
        try SetupTool.perform(attempted) { () throws(SystemError) in
            try OwnedFiles(user: settings.osUser).makeFolder(path)
        }
    }

    /// Ends what an interrupted run left running there, and removes what it left.
    func clear() throws(PostgresError) {
        try Leftovers.end(naming: path, attempted)
        guard OwnedFiles.exists(path) else { return }
        try Leftovers.remove(path, settings, attempted)
    }

    /// Into an absent or empty target only; rename(2) refuses anything else.
    func swap() throws(PostgresError) {
        try SetupTool.perform(
            attempted, meaning: "The new directory \(path) is whole, but not in its place.",
            advice: "Look what stands at \(target), move it away if it holds anything, and repeat the command."
        ) { () throws(SystemError) in
            try OwnedFiles.sync(path)
            guard rename(path, target) == 0 else { throw SystemError.last("rename \(path) to \(target)") }
            try OwnedFiles.sync(parent)
        }
    }

    /// A name that is free, for what must not be deleted.
    func asideName() -> String {
        var now = time(nil)
        var parts = tm()
        gmtime_r(&now, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let stamp =
            "\(parts.tm_year + 1900)\(two(parts.tm_mon + 1))\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour))\(two(parts.tm_min))\(two(parts.tm_sec))"
        var name = "\(target).unfinished-\(stamp)"
        while OwnedFiles.exists(name) { name += "x" }
        return name
    }

    /// Renames the target; deletes nothing.
    /// - Returns: where it is now.
    func moveTargetAside(to name: String? = nil) throws(PostgresError) -> String {
        let aside = name ?? asideName()
        guard !OwnedFiles.exists(aside) else {
            throw PostgresError(
                attempted: attempted, happened: "\(aside) exists.", meaning: "Nothing was moved.", advice: "Look what it is.")
        }
        try SetupTool.perform(attempted) { () throws(SystemError) in
            guard rename(target, aside) == 0 else { throw SystemError.last("rename \(target) to \(aside)") }
            try OwnedFiles.sync(parent)
        }
        return aside
    }
}

/// What an interrupted run of ours leaves.
enum Leftovers {
    /// Programs that we start with the directory as an argument, and PostgreSQL's processes inside it. A second copy into
    /// a directory that an orphaned one still writes to would be a mixture of both.
    static func end(naming path: String, _ attempted: String) throws(PostgresError) {
        let found = processes(naming: path)
        for pid in found { ProcessTable.signal(pid, SIGKILL) }
        guard SystemClock.wait(upTo: .seconds(10), until: { processes(naming: path).isEmpty }) else {
            throw PostgresError(
                attempted: attempted, happened: "Processes \(processes(naming: path)) of an interrupted run do not end.",
                meaning: "They may still write to \(path); nothing was changed.",
                advice: "Look what they wait for (a dead disk?), end them, and repeat the command.")
        }
    }

    static func processes(naming path: String) -> [Int32] {
        let inside = InstanceProcesses(path).all()
        return inside.filter { isLeft($0, path) } + processes(naming: path, programs: programs).filter { !inside.contains($0) }
    }

    /// Only those of these programs that have the path as an argument.
    static func processes(naming path: String, programs: Set<String>) -> [Int32] {
        (OwnedFiles.names(in: "/proc") ?? []).compactMap { Int32($0) }.filter { names(path, $0, programs) && isLeft($0, path) }
    }

    private static func isLeft(_ pid: Int32, _ path: String) -> Bool {
        pid != getpid() && ProcessTable.startTime(of: pid) != nil && means(path, pid)
    }

    /// Whether the path is the same place for that process: containers have the same paths and other files.
    private static func means(_ path: String, _ pid: Int32) -> Bool {
        let folder = KeptFile.folder(of: path)
        do throws(SystemError) {
            guard let ours = try FileFacts.of(folder), let its = try FileFacts.of("/proc/\(pid)/root\(folder)") else {
                return false
            }
            return ours.deviceID == its.deviceID && ours.fileNumber == its.fileNumber
        } catch {
            // A process of another user: none that we have started.
            return false
        }
    }

    private static let programs: Set<String> = [
        "pg_basebackup", "initdb", "pg_verifybackup", "pg_createcluster", "postgres", "rm",
    ]

    private static func names(_ path: String, _ pid: Int32, _ programs: Set<String>) -> Bool {
        let words = commandLine(pid)
        guard words.contains(path) else { return false }
        // A script has its interpreter first.
        return words.prefix(3).contains { programs.contains($0.split(separator: "/").last.map(String.init) ?? "") }
    }

    private static func commandLine(_ pid: Int32) -> [String] {
        do throws(SystemError) {
            let bytes = try DurableFile.read("/proc/\(pid)/cmdline") ?? []
            return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        } catch {
            // It ended meanwhile, or is a stranger's with a very long command line.
            return []
        }
    }

    /// Removes a directory of ours with its content, as PostgreSQL's user: links in it are removed, never followed.
    static func remove(_ path: String, _ settings: InstanceSettings, _ attempted: String) throws(PostgresError) {
        let tool = Tool("/bin/rm", ["-rf", "--one-file-system", "--", path], user: settings.osUser)
        let result = try SetupTool.perform(attempted) { () throws(SystemError) in try tool.run(deadline: .seconds(3600)) }
        // The user may empty it but not remove it, if the folder above is root's.
        guard rmdir(path) == 0 || errno == ENOENT else {
            throw PostgresError(
                attempted, result, meaning: "What an interrupted run left at \(path) could not be removed.",
                advice: "Remove \(path) by hand, and repeat the command.")
        }
    }
}
