import TandemCore
import TandemWire

/// What `pgtandem witness list --json` prints.
public struct WitnessList: Codable, Sendable {
    /// Whether a witness serves this state directory; else only what is on disk is known.
    public var running: Bool
    public var generation: UInt64?
    public var pairs: [Pair]

    public struct Pair: Codable, Sendable {
        public var cluster: String
        /// SHA-256 of the authority's certificate.
        public var authority: String?
        public var system_identifier: UInt64?
        public var nodes: [Node]
        public var record: LedgerDocument?
        /// For so long no other primary is supported.
        public var promise_ms: Int64?
        /// Why this pair gets no answers.
        public var problem: String?
    }

    public struct Node: Codable, Sendable {
        public var name: String
        public var connected: Bool
        public var address: String?
        public var last_heard_ms: Int64?
    }
}

/// One line to the witness on its control socket, and one line back.
struct WitnessOrder: Codable, Sendable {
    var command: String
    var cluster: String?
}

struct WitnessReply: Codable, Sendable {
    var done: String?
    var refused: String?
    var list: WitnessList?
}

extension WitnessList.Pair {
    init(_ file: PairFile) {
        cluster = file.cluster
        authority = file.pin.authority
        system_identifier = file.pin.systemIdentifier
        nodes = file.pin.nodes.map { .init(name: $0, connected: false) }
        record = file.record.map(LedgerDocument.init)
    }

    init(cluster: String, problem: String) {
        self.cluster = cluster
        nodes = []
        self.problem = problem
    }
}
