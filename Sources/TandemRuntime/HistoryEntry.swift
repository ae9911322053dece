/// One change of this node's role, or one return of its data: what `pgtandem history` shows, one line of JSON each. Names stay as they are:
/// scripts and dashboards read them.
public struct HistoryEntry: Codable, Hashable, Sendable {
    /// When it began, by this host's wall clock: `2026-11-26T05:57:31.042Z`.
    public var at: String
    public var node: String
    public var kind: Kind
    /// The roles before and after.
    public var from: String
    public var to: String
    public var term: UInt64?
    public var step: UInt64?
    public var bond: String?
    /// A stable word, and the sentence for it.
    public var cause: String
    public var why: String
    /// What it rested on, in the agent's own words.
    public var evidence: [String]
    public var took_ms: Int64
    /// In their order; a phase that did not happen is left out.
    public var phases: [Phase]
    /// How long no client can have written, as far as this node can know; nil: it did not become primary.
    public var writes_out_ms: Int64?
    public var wal: WAL?
    public var lost: Lost?

    public init(
        at: String, node: String, kind: Kind, from: String, to: String, cause: String, why: String, evidence: [String],
        took_ms: Int64
    ) {
        self.at = at
        self.node = node
        self.kind = kind
        self.from = from
        self.to = to
        self.cause = cause
        self.why = why
        self.evidence = evidence
        self.took_ms = took_ms
        phases = []
    }

    public enum Kind: String, Codable, Hashable, Sendable { case role, rejoin }

    public struct Phase: Codable, Hashable, Sendable {
        public var name: String
        public var ms: Int64
        public init(_ name: String, _ ms: Int64) {
            self.name = name
            self.ms = ms
        }
    }

    public struct WAL: Codable, Hashable, Sendable {
        public var timeline: UInt32?
        /// Of a promotion: where the new timeline leaves the old one.
        public var fork: String?
        /// The last position that was heard of the primary before.
        public var heard: String?
        /// What was received here by then.
        public var received: String?
        public init(timeline: UInt32? = nil, fork: String? = nil, heard: String? = nil, received: String? = nil) {
            self.timeline = timeline
            self.fork = fork
            self.heard = heard
            self.received = received
        }
    }

    public struct Lost: Codable, Hashable, Sendable {
        /// Whether a commit that was acknowledged can be missing.
        public var acknowledged: Answer
        /// The whole of it in a sentence.
        public var text: String
        public var bytes: UInt64?
        public var commits: Int?
        /// The folder with that WAL and its report.
        public var kept_in: String?
        public enum Answer: String, Codable, Hashable, Sendable { case no, possible, unknown }
        public init(_ acknowledged: Answer, _ text: String, bytes: UInt64? = nil, commits: Int? = nil, keptIn: String? = nil) {
            self.acknowledged = acknowledged
            self.text = text
            self.bytes = bytes
            self.commits = commits
            kept_in = keptIn
        }
    }
}
