import TandemCore

extension Rejoin {
    /// What was found, and what follows from it.
    public struct Survey: Hashable, Sendable {
        public var verdict: Verdict
        public var own = Own()
        public var source = Primary()
        /// Where the source's history left the branch that this instance is on; nil: it has not, both are on one timeline.
        public var fork: LSN?
        /// The last checkpoint that both have, from which pg_rewind compares; nil if there is no use for one.
        public var commonCheckpoint: LSN?
        /// Where recovery begins after a rewind.
        public var commonRedo: LSN?

        /// This instance.
        public struct Own: Hashable, Sendable {
            public var systemIdentifier: UInt64?
            /// PostgreSQL's words, from the control file.
            public var state: String?
            public var timeline: Timeline?
            /// The end of the last complete record.
            public var end: LSN?
            public var copy: LocalPostgres.CopyMark?
        }

        /// The instance that is to be followed.
        public struct Primary: Hashable, Sendable {
            public var systemIdentifier: UInt64?
            public var timeline: Timeline?
            /// What it has flushed.
            public var position: LSN?
        }
    }

    public enum Verdict: Hashable, Sendable {
        /// Its history leads to the source: start it as a standby.
        case plain
        /// It holds `lostBytes` of WAL, from `fork` to `end`, that the source never had: they are saved and taken back.
        case rewind(fork: LSN, end: LSN, lostBytes: UInt64)
        /// Only a new base copy helps.
        case copy(CopyReason)
        /// A person must act.
        case refuse(RefusalReason)
    }

    public enum CopyReason: Hashable, Sendable {
        case noDirectory
        case noControlFile(String)
        /// The file in the state directory, and what it says.
        case unfinishedRewind(String)
        /// pg_rewind was tried without a change, and cannot do it.
        case rewindRefused(String)
        case unfinishedCopy
        case markOfOtherNode(NodeName)
        case noMark
        case backupLabel
        case damagedWAL(String)
        case noHintLogging
        /// pg_rewind before version 16 reads the timeline from the last checkpoint.
        case noCheckpoint(Timeline)
        case walMissingHere(String)
        case walMissingAtSource(String)
        /// Both have a timeline of this number that began independently, or their contents differ before the fork.
        case otherBranch(Timeline, String)
        case unknownDescent(String)
        case aheadOfSource(end: LSN, position: LSN)

        /// A clause for logs and the status page.
        public var text: String {
            switch self {
            case .noDirectory: "there is no data directory"
            case .noControlFile(let words): "its control file is missing or damaged: \(words)"
            case .unfinishedRewind(let words): "a rewind was begun and not finished (\(words)); such a directory is never started"
            case .rewindRefused(let words): "pg_rewind cannot do it: \(words)"
            case .unfinishedCopy: "a base copy was begun and not finished"
            case .markOfOtherNode(let node): "it carries the copy mark of \(node): an unfinished copy or rewind"
            case .noMark: "it carries no copy mark: an unfinished copy or rewind"
            case .backupLabel: "it holds a backup_label: a backup that was never started, or a crash during a backup"
            case .damagedWAL(let words): "its own WAL is damaged: \(words)"
            case .noHintLogging: "neither data checksums nor wal_log_hints were on, which pg_rewind needs"
            case .noCheckpoint(let timeline):
                "it ended before the first checkpoint on its timeline \(timeline), which pg_rewind before version 16 needs"
            case .walMissingHere(let words): "WAL that pg_rewind needs is no longer here: \(words)"
            case .walMissingAtSource(let words): "the source no longer has WAL that is needed: \(words)"
            case .otherBranch(let timeline, let words): "timeline \(timeline) here is another branch than at the source: \(words)"
            case .unknownDescent(let words): "that both are of one branch cannot be shown: \(words)"
            case .aheadOfSource(let end, let position):
                "its WAL ends at \(end), and the source, on the same timeline, is only at \(position)"
            }
        }
    }

    public enum RefusalReason: Hashable, Sendable {
        case otherSystem(own: UInt64, source: UInt64)
        case otherMajor(own: Int, source: Int)
        case sourceIsStandby
        /// The functions that the role may not call, and the statements to run.
        case missingRights(role: String, database: String, functions: [String], mayReplicate: Bool)
        case notMounted(String)
        /// What a link of the directory says: `pg_wal`, or a tablespace.
        case missingPart(String)
        /// The same, and where its file system was mounted when PostgreSQL last ran on it.
        case partNotMounted(String, on: String)
        case foreignDirectory([String])

        /// Two sentences: what was found, and what to do.
        public var text: String {
            switch self {
            case .otherSystem(let own, let source):
                "The system identifier here is \(own), and that of the source is \(source): it is another database. Nothing was touched; correct the configuration's addresses or the data directory."
            case .otherMajor(let own, let source):
                "PostgreSQL \(own) is here, and \(source) at the source. Nothing was touched; install the same version on both hosts."
            case .sourceIsStandby:
                "The source is in recovery itself. Nothing was touched; name the primary as the source, or wait until it is promoted."
            case .missingRights(let role, let database, let functions, let mayReplicate):
                "The role \(role) lacks rights that streaming, copies and pg_rewind need. Run at the primary, in the database \(database): "
                    + ((mayReplicate ? [] : ["ALTER ROLE \(SetupSQL.identifier(role)) REPLICATION;"])
                    + functions.map { "GRANT EXECUTE ON FUNCTION pg_catalog.\($0) TO \(SetupSQL.identifier(role));" })
                    .joined(separator: " ")
            case .notMounted(let place): "The file system \(place) of the data directory is not mounted. Mount it."
            case .missingPart(let place):
                "\(place), to which a link of the data directory leads, is not there. Mount its disk; nothing was touched."
            case .partNotMounted(let place, let mountPoint):
                "\(mountPoint) is not mounted, on which \(place), to which a link of the data directory leads, was when PostgreSQL last ran here. What is found there now is older, or somebody else's. Nothing was touched. Mount its disk; if the part was moved on purpose, remove the file `data-directory` in the state directory, and it is remembered anew."
            case .foreignDirectory(let names):
                "The data directory holds \(DirectoryCheck.list(names)) and no instance. Nothing was touched; move that away, or correct `postgresql.data_directory`."
            }
        }
    }
}
