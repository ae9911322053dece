import Logging
import Synchronization
import TandemConfiguration
import TandemCore
import TandemPostgres
import TandemRuntime
import TandemSystem
import TandemWire

/// Coming back as the other node's standby (section 6): what the core decided, with this host's configuration.
final class RejoinAdapter: Sendable {
    private let configuration: Configuration
    private let instance: Instance
    private let kept: KeptSettings
    private let log: Logger
    private let history: HistoryFile
    /// What is under way, for who asks.
    private let present = Mutex<Present?>(nil)

    private struct Present {
        var way: RejoinWay
        var began: Int64
        var step: Rejoin.Step
        var stepBegan: Int64
        var done: Int64 = 0
        var total: Int64 = 0
        /// How long each step took, in their order.
        var phases: [HistoryEntry.Phase] = []

        mutating func begin(_ next: Rejoin.Step, at now: Int64) {
            endStep(at: now)
            step = next
            stepBegan = now
        }

        mutating func endStep(at now: Int64) {
            let length = (now - stepBegan) / 1_000_000
            // A copy comes back to a step.
            if let place = phases.firstIndex(where: { $0.name == step.rawValue }) {
                phases[place].ms += length
            } else {
                phases.append(.init(step.rawValue, length))
            }
        }
    }

    init(_ configuration: Configuration, _ instance: Instance, kept: KeptSettings, history: HistoryFile, log: Logger) {
        self.configuration = configuration
        self.instance = instance
        self.kept = kept
        self.history = history
        self.log = log
    }

    /// nil: nothing is under way.
    var progress: StatusDocument.Rejoin? {
        present.withLock { present in
            guard let present else { return nil }
            let now = SystemClock.now()
            var document = StatusDocument.Rejoin(
                by: present.way.rawValue, step: present.step.rawValue, seconds: (now - present.began) / 1_000_000_000)
            guard present.total > 0 else { return document }
            document.done_bytes = present.done
            document.total_bytes = present.total
            let span = now - present.stepBegan
            // The first second says nothing about the pace.
            if present.done > 0, span > 1_000_000_000 {
                document.left_seconds = Int64(Double(span) / Double(present.done) * Double(present.total - present.done) / 1e9)
            }
            return document
        }
    }

    private var settings: InstanceSettings { configuration.instance }

    private var rejoin: Rejoin {
        let source = Rejoin.Source(
            host: configuration.peer.addresses[0].description, port: configuration.postgresql.port,
            user: configuration.replication.user,
            database: configuration.postgresql.database, passFile: settings.passFile)
        // In kB, as pg_basebackup takes it.
        let rate = configuration.rejoin.bandwidth.map { Int($0 >> 10) }
        return Rejoin(
            instance: instance, node: configuration.node, source: source, options: .init(maxRateKilobytesPerSecond: rate))
    }

    func endLeftovers() throws { try rejoin.endLeftovers(atStart: true) }

    func survey() throws -> Survey {
        let found = try rejoin.survey()
        switch found.verdict {
        case .plain: return .plain
        case .rewind(let fork, _, let lost): return .rewind(fork: fork, lost: lost)
        case .copy(.aheadOfSource(let end, let position)):
            // Of the same branch, and further: then it is the primary that has lost something.
            return .refuse(Rejoin.CopyReason.aheadOfSource(end: end, position: position).text)
        case .copy(.noMark), .copy(.markOfOtherNode):
            // Nothing of ours was begun here (that would have been found first): somebody put this directory here.
            return .refuse(
                "the directory \(configuration.postgresql.dataDirectory) carries no mark of this node, and no copy was begun here: move it away, and run "
                    + "`pgtandem join`")
        case .copy(let reason): return .copy(reason.text)
        case .refuse(let reason): return .refuse(reason.text)
        }
    }

    func perform(_ way: RejoinWay, endedBy bell: Bell?) throws {
        let term = try abandonedTerm()
        let (wall, began) = (WallTime.text(.now), SystemClock.now())
        present.withLock { $0 = Present(way: way, began: began, step: .preparingSource, stepBegan: began) }
        defer { present.withLock { $0 = nil } }
        let outcome: Rejoin.Outcome
        switch way {
        case .rewind:
            // What was found then may be hours old: the window was closed, or an attempt failed.
            let survey = try rejoin.survey()
            guard case .rewind = survey.verdict else {
                throw CommandFailure.failed(
                    "this instance was to be rewound, and compared with the primary once more it is not so any more; it is looked at again"
                )
            }
            outcome = try rejoin.rewind(survey, abandoned: term, work: work(bell))
        case .copy:
            outcome = try rejoin.copy(abandoned: term, work: work(bell))
        }
        for note in outcome.notes { log.warning("rejoin", metadata: ["note": "\(note)"]) }
        var facts: Logger.Metadata = [
            "by": "\(way.rawValue)", "ms": "\(outcome.duration.milliseconds)", "copy": "\(outcome.copy)",
        ]
        if let saved = outcome.saved {
            facts["lost bytes"] = "\(saved.lostBytes)"
            facts["kept in"] = "\(saved.folder)"
            if let commits = saved.commits { facts["commits on it"] = "\(commits)" }
        }
        if let aside = outcome.movedAside { facts["old directory"] = "\(aside)" }
        log.info("the directory is like the primary's again", metadata: facts)
        let phases = present.withLock { present in
            present?.endStep(at: SystemClock.now())
            return present?.phases ?? []
        }
        history.add(entry(outcome, way, term, wall, phases))
        prune()
    }

    private func entry(
        _ outcome: Rejoin.Outcome, _ way: RejoinWay, _ term: Term, _ wall: String, _ phases: [HistoryEntry.Phase]
    ) -> HistoryEntry {
        var entry = HistoryEntry(
            at: wall, node: configuration.node.text, kind: .rejoin, from: "none", to: "standby", cause: way.rawValue,
            why: way == .rewind
                ? "this host's WAL had left the primary's: it was rewound with pg_rewind"
                : "a new copy of the primary's data was made beside the old directory, verified, and put in its place",
            evidence: outcome.notes, took_ms: outcome.duration.milliseconds)
        entry.phases = phases.filter { $0.ms > 0 }
        if let saved = outcome.saved {
            entry.wal = .init(fork: saved.fork.description)
            let commits = saved.commits.map { "\($0) commit\($0 == 1 ? "" : "s")" } ?? "commits that pg_waldump could not count"
            // In synchronous mode a commit on that branch was acknowledged to nobody, as no standby had confirmed it.
            let isSafe = configuration.replication.mode == .synchronous
            entry.lost = .init(
                isSafe ? .no : saved.commits == 0 ? .no : .possible,
                "the branch of term \(term) that was given up had \(commits) in \(saved.lostBytes) bytes of WAL"
                    + (isSafe ? "; none of them was acknowledged to a client while the pair was `paired`" : ""),
                bytes: saved.lostBytes, commits: saved.commits, keptIn: saved.folder)
        } else if let aside = outcome.movedAside {
            entry.lost = .init(.unknown, "the old directory was kept whole: look there for what it held", keptIn: aside)
        }
        return entry
    }

    /// What was saved of lost branches does not fill the disk of the state directory.
    private func prune() {
        do throws(PostgresError) {
            for gone in try SavedBranch.prune(
                instance.settings, keeping: configuration.rejoin.divergedBytes, for: configuration.rejoin.divergedAge)
            {
                log.warning("the saved WAL of a lost branch was removed, by `rejoin.diverged`", metadata: ["folder": "\(gone)"])
            }
        } catch {
            log.warning("saved branches could not be looked through", metadata: ["reason": "\(error)"])
        }
    }

    /// Names the folder of what is kept: the last term that this node led.
    private func abandonedTerm() throws -> Term {
        let own = try LineageFile.read(stateDirectory: configuration.stateDirectory)
        return own.map(\.term).max() ?? Term(0)
    }

    private func work(_ bell: Bell?) -> Rejoin.Work {
        Rejoin.Work(
            prepareSource: { [self] copy throws(PostgresError) in try makeSlot(copy) },
            configure: { [self] copy throws(PostgresError) in
                try instance.write(configuration.managed(Settings(copy: copy, synchronous: nil, slot: nil), keeping: kept))
                try ConfigInclude.ensure(settings)
                try configuration.hbaBlock.ensure(settings)
                try instance.writeStandbySignal()
            },
            interruption: bell,
            onProgress: { [self] progress in
                present.withLock {
                    if $0?.step != progress.step { $0?.begin(progress.step, at: SystemClock.now()) }
                    $0?.done = progress.doneBytes
                    $0?.total = progress.totalBytes
                }
                guard progress.totalBytes > 0 else { return }
                log.info(
                    "rejoin",
                    metadata: [
                        "step": "\(progress.step.rawValue)", "bytes": "\(progress.doneBytes)", "of": "\(progress.totalBytes)",
                    ])
            })
    }

    /// At the primary, by the replication role: WAL is kept for this copy from now on.
    private func makeSlot(_ copy: CopyID) throws(PostgresError) {
        let source = rejoin.source
        let attempted = "make the slot \(copy.applicationName) at \(source.host)"
        do throws(SessionError) {
            let session = try Session(
                to: SessionTarget(
                    host: source.host, port: source.port, user: source.user, database: source.database, passFile: source.passFile),
                deadline: .seconds(15))
            defer { session.close() }
            let sql = """
                select pg_catalog.pg_create_physical_replication_slot($1, true) \
                where not exists (select from pg_catalog.pg_replication_slots where slot_name = $1)
                """
            _ = try session.query(sql, [copy.applicationName], deadline: .seconds(15))
        } catch {
            throw PostgresError(
                attempted: attempted, happened: "\(error)", meaning: "Nothing was changed; it is tried again.",
                advice: "Look whether the primary's PostgreSQL has a free replication slot (`max_replication_slots`).")
        }
    }
}
