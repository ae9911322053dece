import Glibc
import TandemCore
import TandemSystem

/// A new copy of the other host's data directory, made beside the place and swapped in by one rename when it is verified
/// (`protocol.md` 6; `hazards.md` H104, H114 to H116). No data directory is ever deleted or overwritten.
///
/// Ended at any moment, also with the power, it is completed by a second run.
public struct BaseCopy: Sendable {
    /// This instance; its data directory is the target, its state directory must exist.
    public var settings: InstanceSettings
    /// This node, to tell whose the mark in an existing directory is.
    public var node: NodeName
    public var source: Source
    public var options: Options
    /// A stopped instance in the place is moved to this name, whole, when the new copy is verified; nil: it is refused.
    var asideName: String?
    /// Ends the program that copies, syncs or verifies; the target is as it was then.
    var interruption: Bell?
    /// What a directory that is gone had elsewhere.
    var remembered: [Elsewhere] = []
    /// Tests leave out fsync here.
    var moreArguments: [String] = []
    /// Called before each step, so that tests can interrupt there.
    var beforeStep: (@Sendable (Step) throws(PostgresError) -> Void)?

    public struct Source: Hashable, Sendable {
        /// A numeric address, or the folder of a Unix socket.
        public var host: String
        public var port: Int
        /// The replication role.
        public var user: String
        /// Where it may connect for questions.
        public var database: String
        /// libpq's password file, readable for PostgreSQL's user.
        public var passFile: String

        public init(host: String, port: Int, user: String, database: String, passFile: String) {
            self.host = host
            self.port = port
            self.user = user
            self.database = database
            self.passFile = passFile
        }
    }

    public struct Options: Hashable, Sendable {
        /// A physical slot that exists at the source; nil: pg_basebackup makes a temporary one.
        public var slot: String?
        /// 32 to 1048576 (pg_basebackup's limits); nil: unlimited.
        public var maxRateKilobytesPerSecond: Int?
        /// The pair's; a source with another one is refused.
        public var systemIdentifier: UInt64?
        /// For each of copying and verifying.
        public var deadline: Duration

        public init(
            slot: String? = nil, maxRateKilobytesPerSecond: Int? = nil, systemIdentifier: UInt64? = nil,
            deadline: Duration = .seconds(7 * 86400)
        ) {
            self.slot = slot
            self.maxRateKilobytesPerSecond = maxRateKilobytesPerSecond
            self.systemIdentifier = systemIdentifier
            self.deadline = deadline
        }
    }

    public enum Step: String, Hashable, Sendable, CaseIterable {
        case checking, clearing, copying, verifying, tidying, movingAside, noting, swapping, settling, marking,
            finishing
    }

    public struct Progress: Hashable, Sendable {
        public var step: Step
        /// Of the copy; the total is PostgreSQL's estimate and may grow.
        public var doneBytes: Int64
        public var totalBytes: Int64
    }

    public struct Report: Hashable, Sendable {
        /// Where the unfinished directory is now that stood in the place; a person may remove it.
        public var movedAside: String?
        /// What a person should know, in sentences.
        public var notes: [String]
        /// True: only the end of an earlier run had to be done.
        public var wasCompleted: Bool
    }

    public init(settings: InstanceSettings, node: NodeName, source: Source, options: Options = Options()) {
        self.settings = settings
        self.node = node
        self.source = source
        self.options = options
    }

    /// Looks only.
    /// - Throws: what stands in the place of the copy and may not be replaced.
    public static func requirePlace(_ settings: InstanceSettings, _ node: NodeName) throws(PostgresError) {
        let attempted = "make \(settings.dataDirectory) a copy of the first host's data directory"
        let place = try NewDirectory(settings, attempted)
        let intent = try SetupIntent.read(settings, .copy)
        _ = try BaseCopyTarget(settings: settings, node: node, place: place, attempted: attempted).judge(intent)
    }

    /// Looks only: whether the places of what lies elsewhere can be used, and the space is enough. Beside what an interrupted
    /// run has left, the space is left to `run`, which removes that first.
    func requireRoom() throws(PostgresError) {
        let attempted = "copy the data directory of \(source.host) to \(settings.dataDirectory)"
        let place = try NewDirectory(settings, attempted)
        let old = try SetupIntent.read(settings, .copy)
        let asked = try BaseCopySource(copy: self, attempted: attempted).ask()
        let plan = try BaseCopyPlan(self, asked, place, old, attempted)
        if !OwnedFiles.exists(place.path) { try requireSpace(place, asked, plan, attempted) }
    }

    /// - Parameters:
    ///   - onProgress: called in this thread, about once a second.
    ///   - writeMark: writes the copy mark into the directory in its final place; the last step. May be called again
    ///     after an interruption.
    /// - Throws: the target is as it was before, or (only after the swap) whole and without a mark.
    public func run(
        onProgress: @escaping @Sendable (Progress) -> Void,
        writeMark: (_ dataDirectory: String) throws(PostgresError) -> Void
    ) throws(PostgresError) -> Report {
        let attempted = "copy the data directory of \(source.host) to \(settings.dataDirectory)"
        let lock = try SetupLock(settings, attempted)
        defer { lock.release() }
        func step(_ step: Step) throws(PostgresError) {
            try beforeStep?(step)
            onProgress(Progress(step: step, doneBytes: 0, totalBytes: 0))
        }
        try step(.checking)
        let place = try NewDirectory(settings, attempted)
        let old = try SetupIntent.read(settings, .copy)
        let target = BaseCopyTarget(
            settings: settings, node: node, place: place, attempted: attempted, mayReplace: asideName != nil)
        let standing = try target.judge(old)
        var report = Report(movedAside: nil, notes: [], wasCompleted: standing == .ourWholeCopy)
        if standing != .ourWholeCopy {
            let asked = try BaseCopySource(copy: self, attempted: attempted).ask()
            try step(.clearing)
            let intent = try clear(place, old, asked, attempted)
            try step(.copying)
            // Asked once: what was not synced there is synced here.
            let syncsLater = OwnedFiles.exists(settings.binDirectory + "/initdb")
            try copy(place, syncsLater ? ["--no-sync"] : [], attempted, onProgress)
            try step(.verifying)
            // The files' way to the disk and their checksums, a processor's work, at once.
            let syncing = syncsLater ? SideJob("sync the copy") { () throws(PostgresError) in try sync(place, attempted) } : nil
            let verified = Result { () throws(PostgresError) in try verify(place, attempted) }
            do throws(PostgresError) {
                try syncing?.value()
                report.notes += try verified.get()
            } catch {
                // With its manifest it would be taken for a whole one, and kept.
                if interruption?.wait(upTo: .zero) == true {
                    try SetupTool.perform(attempted) { () throws(SystemError) in
                        try DurableFile.remove(place.path + "/backup_manifest")
                    }
                }
                throw error
            }
            try step(.tidying)
            report.notes += try BaseCopyTidy(settings: settings, directory: place.path, attempted: attempted).run()
            try step(.movingAside)
            // A copy takes hours, in which a person may have looked into the old one.
            guard InstanceProcesses(place.target).all().isEmpty else {
                throw PostgresError(
                    attempted: attempted, happened: "A server runs in \(place.target) now.",
                    meaning: "It was started while the copy was made; it is not moved aside.",
                    advice: "Stop it, and repeat the command.")
            }
            if standing != .free { report.movedAside = try place.moveTargetAside(to: asideName) }
            try step(.noting)
            try note(place, intent, attempted)
            try step(.swapping)
            try place.swap()
        }
        try step(.settling)
        try settle(place, attempted)
        try step(.marking)
        try writeMark(settings.dataDirectory)
        try step(.finishing)
        let parts = try SetupIntent.read(settings, .copy)?.elsewhere ?? []
        try SetupIntent.remove(settings, .copy)
        for part in parts { try part.unmark(attempted) }
        return report
    }

    /// Removes what an interrupted run left, checks tablespaces, and notes durably what this one will write to.
    private func clear(
        _ place: NewDirectory, _ old: SetupIntent?, _ asked: BaseCopySource.Facts, _ attempted: String
    ) throws(PostgresError) -> SetupIntent {
        var intent = SetupIntent(target: place.target)
        let known = old?.target == place.target ? old?.tablespaces ?? [] : []
        // First without the inode: from now on no directory of that number is our whole copy.
        intent.tablespaces = known
        let plan = try BaseCopyPlan(self, asked, place, old, attempted)
        intent.elsewhere = plan.beside
        try intent.write(settings, .copy)
        try place.clear()
        // Not what the directory in the place needs, if somebody has started it before it was marked.
        let used = Set(Elsewhere.links(of: place.target).map(\.text))
        for part in Set(plan.beside + (old?.elsewhere ?? [])) where OwnedFiles.exists(part.fresh) && !used.contains(part.fresh) {
            try Leftovers.remove(part.fresh, settings, attempted)
        }
        let tablespaces = BaseCopyTablespaces(settings: settings, attempted: attempted)
        try tablespaces.clear(known.filter { plan.inPlace.contains($0) }, major: asked.major)
        try tablespaces.requireEmpty(plan.inPlace)
        try requireSpace(place, asked, plan, attempted)
        intent.tablespaces = plan.inPlace
        try intent.write(settings, .copy)
        try place.make()
        try SetupTool.perform(attempted) { () throws(SystemError) in
            for part in plan.beside { try OwnedFiles(user: settings.osUser).makeFolder(part.fresh) }
        }
        return intent
    }

    /// What lies elsewhere comes to its place, the links say what they said, and no old directory leads there.
    private func settle(_ place: NewDirectory, _ attempted: String) throws(PostgresError) {
        let intent = try SetupIntent.read(settings, .copy)
        if let asideName, let parts = intent?.elsewhere {
            for part in parts {
                try part.settle(place.target, ending: String(asideName.dropFirst(place.target.count)), attempted)
            }
            if let whole = intent?.wholeDirectory {
                for part in parts { try part.requireMark("\(whole)", of: place.target, attempted) }
            }
        }
        _ = try FormerDirectories(of: place.target).turnAway(attempted)
    }

    private func requireSpace(
        _ place: NewDirectory, _ asked: BaseCopySource.Facts, _ plan: BaseCopyPlan, _ attempted: String
    ) throws(PostgresError) {
        // How much of it each tablespace takes, the role may not know: together they must have room at least.
        let folders = [place.parent] + plan.folders
        let free = try SetupTool.perform(attempted) { () throws(SystemError) in
            var free: [UInt64: Int64] = [:]
            for folder in folders {
                guard let facts = try FileFacts.of(folder) else { continue }
                free[facts.deviceID] = try FileFacts.space(onFileSystemOf: folder).freeBytes
            }
            return free.values.reduce(0, +)
        }
        // The first segments of WAL, the catalogs that all share, and databases that nobody may enter.
        let needed = asked.bytes + (64 << 20)
        guard free < needed else { return }
        throw PostgresError(
            attempted: attempted,
            happened:
                "\(Set(folders).sorted().joined(separator: ", ")) has \(free >> 20) MiB free, and a copy of the source needs \(needed >> 20) MiB.",
            meaning: "Nothing was changed.", advice: "Free space there; an old data directory that was moved aside may be it.")
    }

    private func copy(
        _ place: NewDirectory, _ sync: [String], _ attempted: String, _ onProgress: @escaping @Sendable (Progress) -> Void
    ) throws(PostgresError) {
        var arguments = [
            "-D", place.path, "-d", BaseCopySource.connection(source), "-X", "stream", "-c", "fast", "-w", "--progress", "-v",
        ]
        arguments += try (SetupIntent.read(settings, .copy)?.elsewhere ?? []).map(\.argument)
        arguments += moreArguments + sync
        if let slot = options.slot { arguments += ["-S", slot] }
        if let rate = options.maxRateKilobytesPerSecond { arguments.append("--max-rate=\(min(max(rate, 32), 1_048_576))") }
        _ = try SetupTool.run(
            settings, "pg_basebackup", arguments, deadline: options.deadline, interruption: interruption, attempted,
            meaning: "The copy is not whole; the target was not touched.",
            advice: "Put right what it says, and repeat the command; it begins anew."
        ) { line in
            guard let (done, total) = BaseCopy.progress(line) else { return }
            onProgress(Progress(step: .copying, doneBytes: done, totalBytes: total))
        }
    }

    /// As pg_basebackup would do it at its end: the same function of PostgreSQL, in all folders that links of the directory lead to.
    private func sync(_ place: NewDirectory, _ attempted: String) throws(PostgresError) {
        _ = try SetupTool.run(
            settings, "initdb", ["--sync-only", "-D", place.path], deadline: options.deadline, interruption: interruption,
            attempted,
            meaning: "The copy may not survive a loss of power; the target was not touched.",
            advice: "Look for errors of the disk here, then repeat the command.")
    }

    /// `  23456/123456 kB (19%), 0/1 tablespace (…)`, in bytes.
    static func progress(_ line: String) -> (done: Int64, total: Int64)? {
        guard let end = line.firstIndex(of: "k"), line[end...].hasPrefix("kB (") else { return nil }
        let numbers = line[..<end].trimmed().split(separator: "/")
        guard numbers.count == 2, let done = Int64(numbers[0]), let total = Int64(numbers[1]) else { return nil }
        return (done * 1024, total * 1024)
    }

    /// Before anything in it is changed: every file against the manifest, and the WAL it needs.
    private func verify(_ place: NewDirectory, _ attempted: String) throws(PostgresError) -> [String] {
        let found = try DirectoryCheck.look(at: place.path)
        guard case .instance(let facts) = found, let identifier = facts.systemIdentifier else {
            throw PostgresError(
                attempted: attempted, happened: "pg_basebackup ended well, but left no control file.",
                meaning: "The copy is not whole; the target was not touched.", advice: "Repeat the command.")
        }
        if let wanted = options.systemIdentifier, wanted != identifier {
            throw PostgresError(
                attempted: attempted, happened: "The copy has the system identifier \(identifier), the pair has \(wanted).",
                meaning: "It is another database; the target was not touched.", advice: "Correct the configuration's addresses.")
        }
        guard OwnedFiles.exists(settings.binDirectory + "/pg_verifybackup") else {
            return ["The copy was not verified: \(settings.binDirectory) has no pg_verifybackup."]
        }
        // It reads the WAL by pg_waldump, which stands beside it.
        let hasDump = OwnedFiles.exists(settings.binDirectory + "/pg_waldump")
        _ = try SetupTool.run(
            settings, "pg_verifybackup", ["-e", "-q"] + (hasDump ? [] : ["-n"]) + [place.path],
            deadline: options.deadline, interruption: interruption, attempted,
            meaning: "The copy is damaged; the target was not touched.",
            advice: "Look for errors of disk or memory on both hosts, then repeat the command.")
        return hasDump ? [] : ["The copy's WAL was not verified: \(settings.binDirectory) has no pg_waldump."]
    }

    /// From here on the new directory is whole, and found again by its number.
    private func note(_ place: NewDirectory, _ intent: SetupIntent, _ attempted: String) throws(PostgresError) {
        var intent = intent
        intent.wholeDirectory = try SetupTool.perform(attempted) { () throws(SystemError) in
            try FileFacts.of(place.path)?.fileNumber
        }
        if let whole = intent.wholeDirectory {
            for part in intent.elsewhere { try part.mark("\(whole)", settings, attempted) }
        }
        try intent.write(settings, .copy)
    }
}
