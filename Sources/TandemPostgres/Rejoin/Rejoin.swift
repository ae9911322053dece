import TandemCore
import TandemSystem

/// Coming back after another node was promoted (`protocol.md` 6): what this stopped instance may do to follow the new primary,
/// and doing it. The order of choice: plain start, pg_rewind, a new base copy.
///
/// Every call blocks up to its deadlines and may be ended at any moment, also with the power: what was begun is known by files
/// in the state directory, never by the looks of the data directory (`hazards.md` 0.1, 5). Whether a node may come back, and
/// when, is decided elsewhere.
///
///     let rejoin = Rejoin(instance: instance, node: "a", source: source)
///     let survey = try rejoin.survey()
///     switch survey.verdict {
///     case .plain: …                                  // write the include file, start as follower of `survey.fork`
///     case .rewind: try rejoin.rewind(survey, abandoned: term, work: work)
///     case .copy: try rejoin.copy(abandoned: term, work: work)
///     case .refuse(let reason): …                     // a person must act: `reason.text`
///     }
public struct Rejoin: Sendable {
    /// The new primary, as the replication role reaches it.
    public typealias Source = BaseCopy.Source

    public let instance: Instance
    /// This node.
    public let node: NodeName
    public var source: Source
    public var options: Options
    /// Called before each step, so that tests can interrupt there.
    var beforeStep: (@Sendable (Step) throws(PostgresError) -> Void)?
    /// The same of the copy's own steps.
    var beforeCopyStep: (@Sendable (BaseCopy.Step) throws(PostgresError) -> Void)?
    /// Tests leave out fsync here.
    var moreCopyArguments: [String] = []

    var settings: InstanceSettings { instance.settings }
    var owned: OwnedFiles { OwnedFiles(user: settings.osUser) }

    public struct Options: Hashable, Sendable {
        /// The pair's; needed only where the own control file is lost and the state directory remembers nothing.
        public var systemIdentifier: UInt64?
        /// The source's lineage, newest first, if the other agent has told it; nil: asked by SQL, which the replication role
        /// may as a rule not.
        public var lineage: [Instance.LineageEntry]?
        public var surveyDeadline: Duration
        /// For replaying the own log before a rewind.
        public var recoveryDeadline: Duration
        public var checkpointDeadline: Duration
        public var rewindDeadline: Duration
        /// For each of copying and verifying.
        public var copyDeadline: Duration
        /// Of a base copy: 32 to 1048576; nil: unlimited.
        public var maxRateKilobytesPerSecond: Int?
        /// How much WAL of the abandoned branch is saved before a rewind; more: a new copy, which keeps the whole directory.
        public var savedBytesLimit: Int64

        public init(
            systemIdentifier: UInt64? = nil, lineage: [Instance.LineageEntry]? = nil, surveyDeadline: Duration = .seconds(60),
            recoveryDeadline: Duration = .seconds(1800), checkpointDeadline: Duration = .seconds(600),
            rewindDeadline: Duration = .seconds(86_400), copyDeadline: Duration = .seconds(7 * 86_400),
            maxRateKilobytesPerSecond: Int? = nil, savedBytesLimit: Int64 = 8 << 30
        ) {
            self.systemIdentifier = systemIdentifier
            self.lineage = lineage
            self.surveyDeadline = surveyDeadline
            self.recoveryDeadline = recoveryDeadline
            self.checkpointDeadline = checkpointDeadline
            self.rewindDeadline = rewindDeadline
            self.copyDeadline = copyDeadline
            self.maxRateKilobytesPerSecond = maxRateKilobytesPerSecond
            self.savedBytesLimit = savedBytesLimit
        }
    }

    /// What only the caller can do, each at its moment; each may be called again after an interruption, with the same copy.
    public struct Work {
        /// Makes the slot `copy.applicationName` at the source, so that WAL is kept for the new copy. Before anything is changed here.
        public var prepareSource: (CopyID) throws(PostgresError) -> Void
        /// Runs a CHECKPOINT at the source; nil: it is tried as the replication role, which needs PostgreSQL 15 and
        /// `pg_checkpoint` for it. Called only if the source's control file is still on the timeline before its promotion.
        public var checkpointSource: (() throws(PostgresError) -> Void)?
        /// Writes the settings of the new copy (include file, block of pg_hba.conf). The directory is in its place and holds
        /// configuration files of this node; it has no mark yet.
        public var configure: (CopyID) throws(PostgresError) -> Void
        /// In the calling thread, about once a second.
        public var onProgress: @Sendable (Progress) -> Void
        /// When it rings, a new copy that is not whole yet is given up; the directory in the place is as it was. A rewind, which is short, and
        /// would leave a directory that only a new copy helps, goes on.
        public var interruption: Bell?

        public init(
            prepareSource: @escaping (CopyID) throws(PostgresError) -> Void,
            checkpointSource: (() throws(PostgresError) -> Void)? = nil,
            configure: @escaping (CopyID) throws(PostgresError) -> Void,
            interruption: Bell? = nil, onProgress: @escaping @Sendable (Progress) -> Void = { _ in }
        ) {
            self.prepareSource = prepareSource
            self.checkpointSource = checkpointSource
            self.configure = configure
            self.onProgress = onProgress
            self.interruption = interruption
        }
    }

    public enum Step: String, Hashable, Sendable, CaseIterable {
        // Of both.
        case preparingSource, configuring, marking, finishing
        // Of a rewind.
        case recovering, checkpointing, trying, saving, noting, rewinding, tidying
        // Of a copy: its other steps come as `copying`.
        case copying, verifying
    }

    public struct Progress: Hashable, Sendable {
        public var step: Step
        /// Of the bytes that are fetched; PostgreSQL's estimate of the total may grow.
        public var doneBytes: Int64
        public var totalBytes: Int64
    }

    public struct Outcome: Hashable, Sendable {
        /// The new id of this directory, which stands in its mark: the ledger, the slot and `application_name` name it.
        public var copy: CopyID
        /// Of a copy: where the old directory is now, whole; `removeDiverged` removes it when the copy serves.
        public var movedAside: String?
        /// Of a rewind: the folder with the abandoned branch's WAL and its report.
        public var saved: SavedBranch?
        /// What a person should know, in sentences.
        public var notes: [String]
        public var duration: Duration
    }

    public init(instance: Instance, node: NodeName, source: Source, options: Options = Options()) {
        self.instance = instance
        self.node = node
        self.source = source
        self.options = options
    }

    func step(_ step: Step, _ work: Work) throws(PostgresError) {
        try beforeStep?(step)
        work.onProgress(Progress(step: step, doneBytes: 0, totalBytes: 0))
    }

    /// Refuses while anything of the instance lives.
    func requireStopped(_ attempted: String) throws(PostgresError) {
        let left = instance.livingProcesses()
        guard !left.isEmpty else { return }
        throw PostgresError(
            attempted: attempted, happened: "Processes \(left.listed) of \(settings.dataDirectory) live.",
            meaning: "Nothing was changed: only a stopped instance can come back.", advice: "Stop PostgreSQL on this host first.")
    }
}

extension PostgresError {
    init(_ attempted: String, _ error: WALError, meaning: String) {
        self.init(
            attempted: attempted, happened: "could not \(error.attempted): \(error.happened).", meaning: meaning,
            advice: error.advice)
    }
}
