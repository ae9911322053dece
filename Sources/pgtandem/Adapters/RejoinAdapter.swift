import Logging
import Synchronization
import TandemConfiguration
import TandemCore
import TandemPostgres
import TandemSystem

/// Coming back as the other node's standby (section 6): what the core decided, with this host's configuration.
final class RejoinAdapter: Sendable {
    private let configuration: Configuration
    private let instance: Instance
    private let kept: KeptSettings
    private let log: Logger
    /// What the last look found: a rewind goes by it.
    private let last = Mutex<Rejoin.Survey?>(nil)

    init(_ configuration: Configuration, _ instance: Instance, kept: KeptSettings, log: Logger) {
        self.configuration = configuration
        self.instance = instance
        self.kept = kept
        self.log = log
    }

    private var settings: InstanceSettings { configuration.instance }

    private var rejoin: Rejoin {
        let source = Rejoin.Source(
            host: configuration.peer.addresses[0].description, port: configuration.postgresql.port,
            user: configuration.replication.user,
            database: configuration.postgresql.database, passFile: settings.passFile)
        return Rejoin(instance: instance, node: configuration.node, source: source)
    }

    func endLeftovers() throws { try rejoin.endLeftovers() }

    func survey() throws -> Survey {
        let found = try rejoin.survey()
        last.withLock { $0 = found }
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

    func perform(_ way: RejoinWay) throws {
        let term = try abandonedTerm()
        let outcome: Rejoin.Outcome
        switch way {
        case .rewind:
            guard let survey = last.withLock({ $0 }), case .rewind = survey.verdict else {
                throw CommandFailure.failed(
                    "this instance is to be rewound, and was not compared with the primary by this agent; it is compared again")
            }
            outcome = try rejoin.rewind(survey, abandoned: term, work: work)
        case .copy:
            outcome = try rejoin.copy(abandoned: term, work: work)
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
    }

    /// Names the folder of what is kept: the last term that this node led.
    private func abandonedTerm() throws -> Term {
        let own = try LineageFile.read(stateDirectory: configuration.stateDirectory)
        return own.map(\.term).max() ?? Term(0)
    }

    private var work: Rejoin.Work {
        Rejoin.Work(
            prepareSource: { [self] copy throws(PostgresError) in try makeSlot(copy) },
            configure: { [self] copy throws(PostgresError) in
                try instance.write(configuration.managed(Settings(copy: copy, synchronous: nil, slot: nil), keeping: kept))
                try ConfigInclude.ensure(settings)
                try configuration.hbaBlock.ensure(settings)
                try instance.writeStandbySignal()
            },
            onProgress: { [log] progress in
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
