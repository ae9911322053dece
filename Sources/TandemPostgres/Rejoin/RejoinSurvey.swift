import TandemCore
import TandemSystem

extension Rejoin {
    /// Looks at the stopped instance here and at the source; changes nothing, except that it ends what an interrupted call has left
    /// running (`endLeftovers`).
    /// - Throws: what may pass by itself or is a matter of this host alone: no answer, a running server, a missing program. What a
    ///   person must put right about the pair is the verdict `refuse`.
    public func survey() throws(PostgresError) -> Survey {
        let attempted = "find out how \(settings.dataDirectory) can follow \(source.host)"
        try endLeftovers()
        try requireStopped(attempted)
        let asked = try RejoinSource(source, attempted, deadline: options.surveyDeadline)
        defer { asked.close() }
        let facts = try asked.facts()
        var survey = Survey(verdict: .refuse(.sourceIsStandby))
        survey.source = .init(
            systemIdentifier: facts.systemIdentifier, timeline: facts.timeline, position: facts.position)
        survey.verdict = try judge(asked, facts, &survey)
        return survey
    }

    private func judge(
        _ asked: RejoinSource, _ facts: RejoinSource.Facts, _ survey: inout Survey
    ) throws(PostgresError) -> Verdict {
        let major = try DirectoryCheck.majorOfPrograms(settings)
        guard asked.majorVersion == major else {
            return .refuse(.otherMajor(own: major, source: asked.majorVersion))
        }
        guard !facts.isInRecovery else { return .refuse(.sourceIsStandby) }
        if let verdict = try judgeDirectory(facts, &survey) { return verdict }
        guard facts.missingFunctions.isEmpty, facts.mayReplicate else {
            return .refuse(
                .missingRights(
                    role: source.user, database: source.database, functions: facts.missingFunctions,
                    mayReplicate: facts.mayReplicate))
        }
        let control: ControlData
        do throws(PostgresError) {
            control = try ControlData.read(settings)
        } catch {
            return .copy(.noControlFile(error.happened))
        }
        return try judge(asked, facts, control, &survey)
    }

    /// The histories, of an instance that is sound as far as its files tell.
    func judge(
        _ asked: RejoinSource, _ facts: RejoinSource.Facts, _ control: ControlData, _ survey: inout Survey
    ) throws(PostgresError) -> Verdict {
        guard let timeline = facts.timeline, let position = facts.position else { return .refuse(.sourceIsStandby) }
        survey.own.state = control.state
        if isFresh(try label()) { return try judgeFresh(asked, control, timeline, position, &survey) }
        let log: OwnLog
        switch try OwnLog.find(control, directory: settings.inData("pg_wal"), deadline: Deadline(options.surveyDeadline)) {
        case .failure(let damage): return .copy(.damagedWAL(damage.words))
        case .success(let found): log = found
        }
        survey.own.timeline = log.chain.current.timeline
        survey.own.end = log.end
        guard let chain = try asked.chain(timeline) else {
            return .copy(.unknownDescent("the source's \(TimelineChain.fileName(timeline)) is missing or damaged"))
        }
        let judgement = Judgement(rejoin: self, control: control, log: log, source: asked, chain: chain, position: position)
        return try judgement.verdict(&survey)
    }

    /// What can be said without a look at the logs.
    private func judgeDirectory(
        _ source: RejoinSource.Facts, _ survey: inout Survey
    ) throws(PostgresError) -> Verdict? {
        let remembered = try DirectoryIdentity.read(stateDirectory: settings.stateDirectory)
        let finding = try DirectoryCheck.look(at: settings.dataDirectory, remembered: remembered)
        func otherSystem(_ own: UInt64?) -> Verdict? {
            guard let own, own != source.systemIdentifier else { return nil }
            return .refuse(.otherSystem(own: own, source: source.systemIdentifier))
        }
        let known = options.systemIdentifier ?? remembered?.systemIdentifier
        switch finding {
        case .unmounted(let mountPoint): return .refuse(.notMounted(mountPoint))
        case .foreign(let names): return .refuse(.foreignDirectory(names))
        case .missing, .empty: return otherSystem(known) ?? .copy(.noDirectory)
        case .instance(let facts):
            survey.own.systemIdentifier = facts.systemIdentifier
            if let verdict = otherSystem(facts.systemIdentifier ?? known) { return verdict }
            if let missing = Elsewhere.missing(in: facts.path), try SetupIntent.read(settings, .copy)?.wholeDirectory == nil {
                return .refuse(.missingPart(missing))
            }
            if let part = try DirectoryIdentity.strayed(settings) {
                return .refuse(.partNotMounted(part.text, on: part.mountPoint))
            }
            try DirectoryCheck.requireOwner(settings)
            guard facts.major == (try DirectoryCheck.majorOfPrograms(settings)) else {
                return .refuse(.otherMajor(own: facts.major, source: try DirectoryCheck.majorOfPrograms(settings)))
            }
            if let reason = try unsoundness(facts) { return .copy(reason) }
            survey.own.copy = try CopyMarkFile.read(settings.dataDirectory)
            return nil
        }
    }

    private func unsoundness(_ facts: DirectoryFacts) throws(PostgresError) -> CopyReason? {
        if let words = try Rejoin.unfinishedRewind(settings) { return .unfinishedRewind(words) }
        if case .intent(let intent) = try RejoinIntent.read(settings), intent.phase == .refused {
            return .rewindRefused(intent.words)
        }
        if try SetupIntent.read(settings, .copy) != nil { return .unfinishedCopy }
        guard facts.systemIdentifier != nil else { return .noControlFile("global/pg_control is missing or damaged") }
        do throws(PostgresError) {
            guard let mark = try CopyMarkFile.read(settings.dataDirectory) else { return .noMark }
            guard mark.node == node else { return .markOfOtherNode(mark.node) }
        } catch {
            return .noMark
        }
        let label = try label()
        return label == nil || isFresh(label) ? nil : .backupLabel
    }

    private func label() throws(PostgresError) -> String? {
        let path = settings.inData("backup_label")
        let bytes = try SetupTool.perform("read \(path)") { () throws(SystemError) in try DurableFile.read(path) }
        return bytes.map { String(decoding: $0, as: UTF8.self) }
    }

    /// With our mark: a copy or a rewind that was finished and never started, as PostgreSQL takes the label away at the start.
    /// Another one is of a crash during an exclusive backup (14 and before).
    private func isFresh(_ label: String?) -> Bool {
        label?.contains("BACKUP METHOD: streamed") == true || label?.contains("BACKUP METHOD: pg_rewind") == true
    }

    /// Its log ends before what the data files hold, until it has streamed the rest; so the control file is asked alone.
    private func judgeFresh(
        _ asked: RejoinSource, _ control: ControlData, _ timeline: Timeline, _ position: LSN, _ survey: inout Survey
    ) throws(PostgresError) -> Verdict {
        let own = max(control.timeline, control.minimumRecoveryTimeline)
        let end = max(control.checkpoint, control.minimumRecoveryEnd ?? control.checkpoint)
        survey.own.timeline = own
        survey.own.end = end
        guard let piece = try asked.chain(timeline)?.pieces.first(where: { $0.timeline == own }) else {
            return .copy(.unknownDescent("timeline \(own), from which it was copied, is not in the source's history"))
        }
        survey.fork = piece.end
        guard end <= piece.end ?? position else { return .copy(.aheadOfSource(end: end, position: piece.end ?? position)) }
        return .plain
    }
}

/// The comparison of two histories whose instances are otherwise fit.
private struct Judgement {
    let rejoin: Rejoin
    let control: ControlData
    let log: OwnLog
    let source: RejoinSource
    let chain: TimelineChain
    let position: LSN

    func verdict(_ survey: inout Rejoin.Survey) throws(PostgresError) -> Rejoin.Verdict {
        guard let common = log.chain.lastCommon(with: chain) else {
            return .copy(.unknownDescent("the histories have no timeline in common"))
        }
        // The common timeline ends where the first of both left it.
        let ownEnd = common.own.end ?? log.end
        let sourceEnd = common.other.end ?? position
        let shared = min(ownEnd, sourceEnd)
        if let reason = try descent(shared, common.own) { return .copy(reason) }
        let fork = log.chain.fork(with: chain)
        survey.fork = fork
        guard let fork else {
            // Both are on it.
            return log.end <= position
                ? try plain() : .copy(.aheadOfSource(end: log.end, position: position))
        }
        if log.end <= fork, common.own.end == nil { return try plain() }
        guard log.chain.current.timeline != chain.current.timeline else {
            let began = "it began at \(log.chain.current.begin) here and at \(chain.current.begin) there"
            return .copy(.otherBranch(log.chain.current.timeline, began))
        }
        guard sourceEnd >= fork else { return .copy(.aheadOfSource(end: fork, position: sourceEnd)) }
        return try rewind(fork, &survey)
    }

    /// nil: both are of one branch up to there.
    private func descent(_ shared: LSN, _ piece: TimelineChain.Piece) throws(PostgresError) -> Rejoin.CopyReason? {
        let own = try LineageFile.read(stateDirectory: rejoin.settings.stateDirectory)
        var theirs = rejoin.options.lineage
        if theirs == nil { theirs = try source.lineage() }
        let descent = Descent(log: log, source: source, sourceChain: chain)
        switch try descent.answer(upTo: shared, timelineFrom: piece.begin, own, theirs) {
        case .same: return nil
        case .different(let words): return .otherBranch(piece.timeline, words)
        case .unknown(let words): return .unknownDescent(words)
        }
    }

    private func plain() throws(PostgresError) -> Rejoin.Verdict {
        if let missing = try missingAtSource(from: log.end) { return .copy(.walMissingAtSource(missing)) }
        return .plain
    }

    private func rewind(_ fork: LSN, _ survey: inout Rejoin.Survey) throws(PostgresError) -> Rejoin.Verdict {
        guard control.hasChecksums || control.hasHintLogging else { return .copy(.noHintLogging) }
        let checkpoint: OwnLog.Checkpoint
        do throws(WALError) {
            checkpoint = try log.lastCheckpoint(before: fork)
            if source.majorVersion < 16, try !log.hasCheckpointOnNewestTimeline() {
                return .copy(.noCheckpoint(log.chain.current.timeline))
            }
        } catch {
            return .copy(.walMissingHere("could not \(error.attempted): \(error.happened)"))
        }
        survey.commonCheckpoint = checkpoint.record
        survey.commonRedo = checkpoint.redo
        if let missing = try missingAtSource(from: fork) { return .copy(.walMissingAtSource(missing)) }
        // What lies before the fork may also be put back from here.
        let size = UInt64(log.segmentSize)
        for start in stride(from: checkpoint.redo.bytes / size * size, to: fork.bytes / size * size, by: Int(size)) {
            guard log.file(ofSegmentAt: LSN(start)) == nil else { continue }
            guard try source.file(ofSegmentAt: LSN(start), chain, size: log.segmentSize) == nil else { continue }
            return .copy(.walMissingHere("the segment at \(LSN(start)), from which recovery would begin"))
        }
        return .rewind(fork: fork, end: log.end, lostBytes: fork.behind(log.end))
    }

    /// The first segment that the source lacks, from a position on; the one it writes next need not exist.
    private func missingAtSource(from start: LSN) throws(PostgresError) -> String? {
        let size = UInt64(log.segmentSize)
        for address in stride(from: start.bytes / size * size, to: position.bytes, by: Int(size)) {
            if try source.file(ofSegmentAt: LSN(address), chain, size: log.segmentSize) == nil {
                return "the segment at \(LSN(address))"
            }
        }
        return nil
    }
}
