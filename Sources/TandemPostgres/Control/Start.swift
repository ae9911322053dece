import Glibc
import TandemCore
import TandemSystem

extension Instance {
    public enum StartMode: Hashable, Sendable {
        /// With `standby.signal`: it recovers and follows, and never accepts writes.
        case standby
        /// Without it, for a direct start; it is written again as soon as the server accepts writes. Needs authority.
        case primary
    }

    public struct StartResult: Hashable, Sendable {
        public var postmaster: Postmaster
        /// Only for `.primary`: it accepts writes and `standby.signal` is there again. False: still in crash recovery at
        /// the deadline; call `writeStandbySignal` once it is open.
        public var isOpen: Bool
        public var duration: Duration
    }

    /// Starts the postmaster in a session of its own, so that it outlives the agent, and returns when it runs (standby) or
    /// accepts writes (primary). A running postmaster is left as it is: that counts as started.
    ///
    /// A `postmaster.pid` whose number belongs to a foreign process does not hinder.
    /// - Parameter options: settings that win over those of all files, as `hot_standby=off`.
    /// - Throws: if a rewind was begun here and not finished: such a directory is never started; if the disk of `pg_wal` or a tablespace is
    ///   not mounted; with the last lines of the log, if the postmaster ended at once or did not come up in time.
    public func start(
        _ mode: StartMode, deadline: Duration, options: [String] = []
    ) throws(PostgresError) -> StartResult {
        let begun = SystemClock.now()
        let end = Deadline(deadline)
        if try postmaster() == nil {
            try refuseOrphans()
            try refuseUnfinishedRewind()
            try refuseStrayedPart()
            switch mode {
            case .standby: try writeStandbySignal()
            case .primary: try removeStandbySignal()
            }
            try clearStaleLocks()
            try launch(end, options)
        }
        let postmaster = try awaitPostmaster(end)
        var isOpen = false
        if mode == .primary {
            isOpen = try awaitReady(postmaster, end)
            if isOpen { try writeStandbySignal() }
        }
        return StartResult(
            postmaster: postmaster, isOpen: isOpen, duration: .nanoseconds(SystemClock.now() - begun))
    }

    private var starting: String { "start PostgreSQL in \(settings.dataDirectory)" }

    private func refuseOrphans() throws(PostgresError) {
        let left = processes.all()
        guard left.isEmpty else {
            throw PostgresError(
                attempted: starting, happened: "\(left.count) processes of an earlier server still live there.",
                meaning: "They may still acknowledge commits, and share memory with the new server.",
                advice: "End them first.")
        }
    }

    /// PostgreSQL has no mark of its own for that state, and would start from it sometimes (`hazards.md` 0.1, 5).
    private func refuseUnfinishedRewind() throws(PostgresError) {
        guard let words = try Rejoin.unfinishedRewind(settings) else { return }
        throw PostgresError(
            attempted: starting, happened: "A rewind was begun here and not finished: \(words).",
            meaning: "The directory is a mixture of two branches and is never started.", advice: "Make a new copy of it.")
    }

    /// PostgreSQL itself takes whatever it finds behind a link: it would go on with old files of a tablespace, or with an old log.
    private func refuseStrayedPart() throws(PostgresError) {
        guard let part = try DirectoryIdentity.strayed(settings) else { return }
        throw PostgresError(
            attempted: starting,
            happened:
                "\(part.mountPoint) is not mounted, on which \(part.text), to which a link of the data directory leads, was when PostgreSQL last ran here.",
            meaning:
                "What is found there now is older, or somebody else's. PostgreSQL is not started on it; the pair goes on without this host.",
            advice:
                "Mount \(part.mountPoint). If the part was moved on purpose, remove \(DirectoryIdentity.file(stateDirectory: settings.stateDirectory)): it is remembered anew when PostgreSQL runs."
        )
    }

    /// PostgreSQL refuses to start if the pid in a lock file is taken, even by something else (it was used again after a
    /// reboot), or by the dead postmaster itself that nobody has reaped yet. Removed only then, and only what names this
    /// directory: in all other cases PostgreSQL's own checks, which see more, decide.
    private func clearStaleLocks() throws(PostgresError) {
        let socketLock = "\(settings.socketDirectory)/.s.PGSQL.\(settings.port).lock"
        do throws(SystemError) {
            for path in [settings.inData("postmaster.pid"), socketLock] {
                guard let bytes = try DurableFile.read(path), let file = PostmasterFile(bytes) else { continue }
                guard let named = file.directory, isOurs(named), !processes.all().contains(file.pid) else { continue }
                if kill(file.pid, 0) == 0 || errno == EPERM { try DurableFile.remove(path) }
            }
        } catch {
            throw PostgresError(starting, error, meaning: "A stale lock file is in the way.")
        }
    }

    private func isOurs(_ directory: String) -> Bool {
        directory == settings.dataDirectory
            || ProcessTable.resolved(directory) == ProcessTable.resolved(settings.dataDirectory)
    }

    private func launch(_ end: Deadline, _ options: [String]) throws(PostgresError) {
        var arguments = ["-W", "-D", settings.dataDirectory, "-l", settings.logFile]
        let all = (settings.configFile.map { ["config_file=\($0)"] } ?? []) + options
        if !all.isEmpty { arguments += ["-o", all.map { "-c \(shellQuoted($0))" }.joined(separator: " ")] }
        let result: ToolResult
        do throws(SystemError) {
            try makeLogFile()
            try makeStatisticsFolder(end)
            result = try settings.tool("pg_ctl", arguments + ["start"]).run(deadline: end.atMost(.seconds(30)))
        } catch {
            throw PostgresError(starting, error, meaning: "The server was not started.")
        }
        guard result.succeeded else {
            throw PostgresError(
                starting, result, meaning: "The server was not started.", advice: "Put right what pg_ctl names.")
        }
    }

    private func makeLogFile() throws(SystemError) {
        guard !OwnedFiles.exists(settings.logFile) else { return }
        let number = open(settings.logFile, O_WRONLY | O_CREAT | O_CLOEXEC, 0o640)
        guard number >= 0 else { throw SystemError.last("create \(settings.logFile)") }
        _ = Descriptor(number)
        try files.handOver(settings.logFile)
    }

    /// It exists once its sockets are open, which is when the file's last line appears: before that it can still give up
    /// because of a port in use. Its end is seen in the process table.
    private func awaitPostmaster(_ end: Deadline) throws(PostgresError) -> Postmaster {
        let begun = SystemClock.now()
        var seen = false
        while true {
            let found = try postmaster()
            do throws(SystemError) {
                if let found, try PostmasterFile.read(settings)?.status != nil { return found }
            } catch {
                throw PostgresError(starting, error, meaning: "Whether the server runs is unknown.")
            }
            let living = found != nil || !processes.all().isEmpty
            // Between pg_ctl's return and the moment the child stands in its directory there is nothing to see.
            let early = SystemClock.now() - begun < 2_000_000_000
            if (seen && !living) || (!living && !early) { throw startFailure("It ended at once.") }
            if end.isOver { throw startFailure("It was not there in time.") }
            seen = seen || living
            _ = SystemClock.wait(upTo: .milliseconds(2)) { false }
        }
    }

    private func awaitReady(_ postmaster: Postmaster, _ end: Deadline) throws(PostgresError) -> Bool {
        while true {
            do throws(SystemError) {
                if try PostmasterFile.read(settings)?.status == .ready { return true }
            } catch {
                throw PostgresError(starting, error, meaning: "Whether the server accepts writes is unknown.")
            }
            if !processes.isAlive(postmaster) { throw startFailure("It ended during recovery.") }
            if end.isOver { return false }
            _ = SystemClock.wait(upTo: .milliseconds(2)) { false }
        }
    }

    private func startFailure(_ happened: String) -> PostgresError {
        PostgresError(
            attempted: starting, happened: "\(happened) The log's last words: \(lastLogLines())",
            meaning: "There is no server on this host.", advice: "Put right what the log names (\(settings.logFile)).")
    }

    /// The last lines of the start log; why it cannot be read, if so.
    public func lastLogLines(_ count: Int = 8) -> String {
        let number = open(settings.logFile, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { return "(\(settings.logFile) cannot be read)" }
        let file = Descriptor(number)
        var tail = [UInt8](repeating: 0, count: 8192)
        let size = lseek(file.number, 0, SEEK_END)
        let read = pread(file.number, &tail, tail.count, max(0, size - off_t(tail.count)))
        return String(decoding: tail.prefix(max(0, read)), as: UTF8.self).lastLines(count)
    }
}

/// pg_ctl hands its option text to a shell.
func shellQuoted(_ text: String) -> String {
    "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
}
