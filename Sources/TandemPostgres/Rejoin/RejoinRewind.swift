import Synchronization
import TandemCore
import TandemSystem

extension Rejoin {
    /// Takes the abandoned branch back with pg_rewind, after its WAL was saved; this directory becomes a copy of the source, with a
    /// new id, ready to be started as a standby.
    ///
    /// From the moment the intent is noted until the new mark stands, the directory is garbage: whatever ends this in between, the
    /// next survey says `copy`, and `Instance.start` refuses. An error before that changes nothing that counts; if it says that
    /// pg_rewind cannot do it at all, the next survey says `copy` too.
    /// - Parameters:
    ///   - survey: a fresh one, with the verdict `rewind`.
    ///   - term: in which the abandoned branch was written; names the folder where it is kept.
    public func rewind(_ survey: Survey, abandoned term: Term, work: Work) throws(PostgresError) -> Outcome {
        let attempted = "rewind \(settings.dataDirectory) to the branch of \(source.host)"
        guard case .rewind(let fork, _, _) = survey.verdict, let redo = survey.commonRedo else {
            throw PostgresError(
                attempted: attempted, happened: "The survey does not say `rewind`.", meaning: "Nothing was changed.",
                advice: "Do what its verdict names.")
        }
        let begun = SystemClock.now()
        let lock = try SetupLock(settings, attempted)
        defer { lock.release() }
        try endLeftovers(attempted)
        try requireStopped(attempted)
        if let words = try Rejoin.unfinishedRewind(settings) {
            throw PostgresError(
                attempted: attempted, happened: "A rewind was begun before and not finished: \(words).",
                meaning: "Nothing can be rewound any more.", advice: "Make a new copy.")
        }
        let place = try NewDirectory(settings, attempted)
        let copy = CopyID(high: Random.word(), low: Random.word())
        let rewind = Rewinding(
            rejoin: self, work: work, target: place.target, fork: fork, redo: redo, term: term, copy: copy, attempted: attempted)
        let saved = try rewind.prepare()
        let notes = try rewind.carryOut()
        return Outcome(
            copy: copy, movedAside: nil, saved: saved, notes: notes, duration: .nanoseconds(SystemClock.now() - begun))
    }
}

/// One rewind. `prepare` leaves a sound directory however it ends; `carryOut` is the part that must not be interrupted.
private struct Rewinding {
    let rejoin: Rejoin
    let work: Rejoin.Work
    let target: String
    let fork: LSN
    let redo: LSN
    let term: Term
    let copy: CopyID
    let attempted: String

    private var settings: InstanceSettings { rejoin.settings }
    private var kept: KeptSegments { KeptSegments(rejoin: rejoin, target: target, attempted: attempted) }
    private var config: KeptConfig { KeptConfig(rejoin: rejoin, attempted: attempted) }

    func prepare() throws(PostgresError) -> SavedBranch {
        try rejoin.step(.preparingSource, work)
        try work.prepareSource(copy)
        try rejoin.step(.recovering, work)
        try RejoinRecovery(rejoin: rejoin, attempted: attempted).run(copy, target)
        try rejoin.step(.checkpointing, work)
        try checkpointSource()
        try rejoin.step(.trying, work)
        try requireSameFork()
        if try !hasRoomForAll() { try tryOut() }
        try rejoin.step(.saving, work)
        let log = try ownLog()
        guard log.end > fork else { throw try refuse("after recovery the own log ends at \(log.end), before the fork \(fork)") }
        try keepSegments(log)
        try config.save(target)
        do throws(PostgresError) {
            return try SavedBranch.save(rejoin, log, fork: fork, term: term, attempted)
        } catch {
            _ = try refuse(error.happened)
            throw error
        }
    }

    /// Not to be tried again: a note says so to the next survey. The directory is as it was.
    private func refuse(_ words: String) throws(PostgresError) -> PostgresError {
        try RejoinIntent(phase: .refused, target: target, copy: copy, words: words).write(settings)
        return PostgresError(
            attempted: attempted, happened: words, meaning: "The directory is unchanged, and cannot be rewound.",
            advice: "Make a new copy; the next survey says so too.")
    }

    private func ownLog() throws(PostgresError) -> OwnLog {
        let control = try rejoin.instance.controlData()
        switch try OwnLog.find(control, directory: target + "/pg_wal", deadline: Deadline(rejoin.options.surveyDeadline)) {
        case .success(let log): return log
        case .failure(let damage): throw try refuse("its own WAL is damaged: \(damage.words)")
        }
    }

    private func keepSegments(_ log: OwnLog) throws(PostgresError) {
        let size = UInt64(log.segmentSize)
        let names = stride(from: redo.bytes / size * size, to: fork.bytes / size * size, by: Int(size)).compactMap {
            log.file(ofSegmentAt: LSN($0))
        }
        guard try !kept.keep(names) else { return }
        let asked = try RejoinSource(rejoin.source, attempted, deadline: rejoin.options.surveyDeadline)
        defer { asked.close() }
        for name in names where try !asked.has(name) {
            throw try refuse("\(name) is no longer at the source and could not be kept beside \(target)")
        }
    }

    // MARK: the source

    /// pg_rewind believes the source's control file, which tells the timeline of before the promotion until the first checkpoint
    /// after it: it would say "no rewind required" (`hazards.md` 0.1, 3).
    private func checkpointSource() throws(PostgresError) {
        let asked = try RejoinSource(rejoin.source, attempted, deadline: rejoin.options.checkpointDeadline)
        defer { asked.close() }
        let facts = try asked.facts()
        guard facts.controlTimeline != facts.timeline else { return }
        if let order = work.checkpointSource {
            try order()
        } else {
            do throws(PostgresError) {
                _ = try asked.ask("checkpoint")
            } catch {
                throw PostgresError(
                    attempted: "run a checkpoint at \(rejoin.source.host) before the rewind", happened: error.happened,
                    meaning: "Nothing was changed; pg_rewind would not see the new timeline.",
                    advice: "Run CHECKPOINT there, or GRANT pg_checkpoint TO \(rejoin.source.user) (PostgreSQL 15 and later).")
            }
        }
        let after = try asked.facts()
        guard after.controlTimeline == after.timeline, !after.isInRecovery else {
            throw PostgresError(
                attempted: "run a checkpoint at \(rejoin.source.host) before the rewind",
                happened: "Its control file is still on timeline \(after.controlTimeline).",
                meaning: "Nothing was changed; pg_rewind would not see the new timeline.", advice: "Look into its log.")
        }
    }

    // MARK: pg_rewind

    /// pg_rewind says where it finds the fork only when it has begun, and finds it by two history files: by that of the source's timeline, and
    /// by that of the timeline in the control file here, which may be behind the log's. What it will find is told beforehand from the same two.
    private func requireSameFork() throws(PostgresError) {
        let asked = try RejoinSource(rejoin.source, attempted, deadline: rejoin.options.surveyDeadline)
        defer { asked.close() }
        guard let newest = try asked.facts().timeline, let theirs = try asked.chain(newest) else {
            throw PostgresError(
                attempted: attempted, happened: "\(rejoin.source.host) does not tell its history.",
                meaning: "Nothing was changed.",
                advice: "Look whether it is still the primary; it is tried again.")
        }
        let timeline = try rejoin.instance.controlData().timelineOfRewind(major: asked.majorVersion)
        let found = try TimelineChain.read(timeline, walDirectory: target + "/pg_wal")?.fork(with: theirs)
        guard found != fork else { return }
        throw try refuse(
            "pg_rewind would not find the fork at \(fork), but \(found.map { "at \($0)" } ?? "none"), as the control file is on timeline \(timeline)"
        )
    }

    private static let meaning = "Part of the directory is of another branch now: it is never started again."

    /// Without `--config-file`, which versions before 15 do not have: it would be read only for recovery, which is done, and for
    /// `restore_command`, which is not used.
    private func arguments(_ more: [String]) -> [String] {
        let connection = BaseCopySource.connection(rejoin.source)
            .replacing("application_name='pgtandem copy'", with: "application_name='pgtandem rewind'")
        return ["-D", target, "--source-server=\(connection) dbname=\(ManagedSettings.connectionQuoted(rejoin.source.database))"]
            + ["--no-ensure-shutdown", "--progress"] + more
    }

    /// Room for the whole of the source: then how much of it will be fetched needs not be known before, for which pg_rewind would have to
    /// look at everything twice.
    private func hasRoomForAll() throws(PostgresError) -> Bool {
        let asked = try RejoinSource(rejoin.source, attempted, deadline: rejoin.options.surveyDeadline)
        defer { asked.close() }
        let data = try asked.ask(BaseCopySource.size).value.flatMap { Int64($0) } ?? 0
        let wal = try asked.ask(Self.walSize).value.flatMap { Int64($0) } ?? 0
        let folders = [target] + Elsewhere.of(target).map(\.place)
        let free = try SetupTool.perform(attempted) { () throws(SystemError) in
            try folders.map { folder throws(SystemError) in try FileFacts.space(onFileSystemOf: folder).freeBytes }
        }
        return free.allSatisfy { $0 >= data + wal + (64 << 20) }
    }

    private static let walSize = """
        select pg_catalog.count(*) * pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) \
        from pg_catalog.pg_ls_dir('pg_wal', true, false)
        """

    private func tryOut() throws(PostgresError) {
        let result = try SetupTool.perform(attempted) { () throws(SystemError) in
            try settings.tool("pg_rewind", arguments(["--dry-run"])).run(deadline: rejoin.options.rewindDeadline)
        }
        let words = (result.errors + "\n" + result.output).lastLines(4)
        guard result.succeeded else {
            // If the source cannot be asked either, it was that.
            let asked = try RejoinSource(rejoin.source, attempted, deadline: .seconds(15))
            asked.close()
            throw try refuse(words)
        }
        // Its own opinion of the fork must be ours.
        guard (result.errors + result.output).contains("servers diverged at WAL location \(fork) ") else {
            throw try refuse("it does not find the fork at \(fork): \(words)")
        }
        try requireSpace(result.errors + result.output)
    }

    /// A disk that gets full in the middle would leave neither the old branch nor room for a copy. What is overwritten in place is
    /// counted as well: how much that is cannot be known before.
    private func requireSpace(_ words: String) throws(PostgresError) {
        guard let place = words.range(of: "need to copy "), let number = words[place.upperBound...].split(separator: " ").first,
            let megabytes = Int64(number)
        else { return }
        let free = try SetupTool.perform(attempted) { () throws(SystemError) in
            try FileFacts.space(onFileSystemOf: target).freeBytes
        }
        guard free >> 20 < megabytes + 64 else { return }
        throw PostgresError(
            attempted: attempted,
            happened: "pg_rewind will fetch up to \(megabytes) MiB, and the file system of \(target) has \(free >> 20) MiB free.",
            meaning: "Nothing was changed; it could end in the middle, and the directory would be lost.",
            advice: "Free space there; an old data directory that was moved aside may be it.")
    }

    /// What pg_rewind said so far (`perform_rewind` and what comes before it in its `main`, PostgreSQL 14 to 18).
    private struct Said {
        var hasOurFork = false
        /// It has looked at everything and begins to write.
        var isWriting = false
    }

    /// It looks first, and says so before it writes: what it refuses by itself until then leaves the directory as it was.
    /// - Parameter mark: what the directory carried.
    private func rewind(_ mark: LocalPostgres.CopyMark?) throws(PostgresError) {
        let (fork, onProgress) = (fork, work.onProgress)
        let said = Mutex(Said())
        let result = try SetupTool.perform(attempted, meaning: Self.meaning) { () throws(SystemError) in
            try settings.tool("pg_rewind", arguments([])).run(
                deadline: rejoin.options.rewindDeadline, outputLimit: 1 << 16
            ) { line in
                said.withLock {
                    if line.contains("servers diverged at WAL location \(fork) ") { $0.hasOurFork = true }
                    if line.contains("need to copy ") { $0.isWriting = true }
                }
                guard let (done, total) = BaseCopy.progress(line) else { return }
                onProgress(Rejoin.Progress(step: .rewinding, doneBytes: done, totalBytes: total))
            }
        }
        let found = said.withLock { $0 }
        if result.succeeded, found.hasOurFork, found.isWriting { return }
        let words = (result.errors + "\n" + result.output).lastLines(4)
        // Its own opinion of the fork must be ours.
        let why =
            result.succeeded || !found.hasOurFork && found.isWriting ? "it does not find the fork at \(fork): \(words)" : words
        // Whoever ends well has written, whatever was understood of its words.
        guard !found.isWriting, !result.succeeded, case .exited = result.ending else {
            throw PostgresError(
                attempted: attempted, happened: "\(result.ending.text): \(why)", meaning: Self.meaning,
                advice: "Make a new copy; the next survey says so too.")
        }
        if let mark { try CopyMarkFile.write(mark, target, osUser: settings.osUser) }
        try RejoinIntent.remove(settings)
        // If the source cannot be asked either, it was that.
        let asked = try RejoinSource(rejoin.source, attempted, deadline: .seconds(15))
        asked.close()
        throw try refuse(why)
    }

    func carryOut() throws(PostgresError) -> [String] {
        try rejoin.step(.noting, work)
        let words = "begun from \(rejoin.source.host) for the fork at \(fork) of term \(term)"
        try RejoinIntent(phase: .rewinding, target: target, copy: copy, words: words).write(settings)
        // From here on no file says that this directory is whole.
        let mark = try CopyMarkFile.readSound(target)
        try CopyMarkFile.remove(target)
        try rejoin.step(.rewinding, work)
        try rewind(mark)
        try rejoin.step(.tidying, work)
        // First: whatever starts it by mistake gets a standby (`hazards.md` H110).
        try SetupTool.perform(attempted, meaning: Self.meaning) { () throws(SystemError) in
            try rejoin.owned.write("", to: target + "/standby.signal")
        }
        try kept.putBack()
        var notes = try config.restore(to: target)
        notes += try BaseCopyTidy(settings: settings, directory: target, attempted: attempted).run()
        for slot in OwnedFiles.names(in: target + "/pg_replslot") ?? [] {
            try Leftovers.remove("\(target)/pg_replslot/\(slot)", settings, attempted)
        }
        try rejoin.finish(copy, work, attempted)
        try RejoinIntent.remove(settings)
        try kept.remove()
        try config.remove()
        return notes
    }
}

extension Rejoin {
    /// The end of both ways: settings, then the mark.
    func finish(_ copy: CopyID, _ work: Work, _ attempted: String) throws(PostgresError) {
        try step(.configuring, work)
        if Layout(settings).isConfigInDataDirectory { try ConfigInclude.ensure(settings) }
        try work.configure(copy)
        try DirectoryIdentity.of(settings.dataDirectory).write(stateDirectory: settings.stateDirectory, osUser: settings.osUser)
        try step(.marking, work)
        try CopyMarkFile.write(
            LocalPostgres.CopyMark(copy: copy, node: node), settings.dataDirectory, osUser: settings.osUser)
        try step(.finishing, work)
    }
}
