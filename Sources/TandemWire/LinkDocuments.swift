import Foundation

/// The kinds of frames on the agents' link; the number is the frame's first byte. From 0x80 on, the link allows bulk.
public enum FrameKind {
    public static let heartbeat: UInt8 = 2
    public static let walRequest: UInt8 = 3
    /// Binary: id (8 bytes, big-endian), position (8), then WAL.
    public static let walData: UInt8 = 0x84
    public static let joinRequest: UInt8 = 5
    public static let joinAnswer: UInt8 = 0x86
    /// `pgtandem history` on the other host. The answer carries bulk.
    public static let historyRequest: UInt8 = 7
    public static let historyAnswer: UInt8 = 0x88
    /// Between a node and the witness.
    public static let witnessRequest: UInt8 = 9
    public static let witnessAnswer: UInt8 = 10
    /// Why the witness does not do what it was asked: a `NoteDocument`. Its last words on a connection whose hello it refused; on one that
    /// stays, of a record that it cannot write.
    public static let witnessRefusal: UInt8 = 11
}

/// The first frame of each connection, both ways. It grants nothing (section 1).
public struct HelloDocument: Codable, Sendable {
    /// Versions of this link that the sender speaks; the greatest common one is used.
    public var versions: [Int]
    public var program: String
    public var cluster: String
    public var node: String
    /// 0: not an agent (`pgtandem join`), which never sends or gets heartbeats.
    public var session: UInt64
    public var boot: String
    public var digest: String
    /// The cluster-wide configuration, so that a difference can be named.
    public var configuration: [String: String]
    /// PostgreSQL's, by which the witness knows the pair; a node that has no data directory yet has none.
    public var system_identifier: UInt64?

    /// 1 had ledgers that do not say how their term began (`term_began`): who drops that takes one branch of WAL for another.
    public static let spoken = [2]

    public init(
        program: String, cluster: String, node: String, session: UInt64, boot: String, digest: String,
        configuration: [String: String], systemIdentifier: UInt64? = nil
    ) {
        versions = Self.spoken
        self.program = program
        self.cluster = cluster
        self.node = node
        self.session = session
        self.boot = boot
        self.digest = digest
        self.configuration = configuration
        system_identifier = systemIdentifier
    }
}

/// Part of a dead instance's WAL is wanted (6.3).
public struct WALRequestDocument: Codable, Sendable {
    public var id: UInt64
    public var timeline: UInt32
    public var position: String
    public var count: Int
    public init(id: UInt64, timeline: UInt32, position: String, count: Int) {
        self.id = id
        self.timeline = timeline
        self.position = position
        self.count = count
    }
}

/// What `pgtandem join` asks of the first host's agent.
public struct JoinRequestDocument: Codable, Sendable {
    /// `facts`: what is needed to copy. `prepare`: WAL is to be kept for this copy. `ledger`: the copy is made; the ledger to begin with (5.5).
    public var step: String
    public var copy: String?
    public init(step: String, copy: String? = nil) {
        self.step = step
        self.copy = copy
    }
}

public struct JoinAnswerDocument: Codable, Sendable {
    public var reasons: [NoteDocument]?
    public var majorVersion: Int?
    public var systemIdentifier: UInt64?
    public var replicationUser: String?
    public var replicationPassword: String?
    public var replicationAddress: String?
    public var port: Int?
    /// Configuration files that live outside the data directory (Debian's layout): name to content.
    public var files: [String: String]?
    /// Where they are there: data directory, postgresql.conf, pg_hba.conf, pg_ident.conf.
    public var places: [String]?
    public var ledger: LedgerDocument?
    public init() {}

    /// The code of a refusal that may pass by itself: the first host's agent has only just started.
    public static let notPrimary = "notPrimary"
}

/// JSON in one place: the same settings everywhere.
public enum JSON {
    public static func encode(_ document: some Encodable, pretty: Bool = false) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting =
            pretty ? [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes] : [.sortedKeys, .withoutEscapingSlashes]
        return [UInt8](try encoder.encode(document))
    }

    public static func decode<D: Decodable>(_ type: D.Type, from bytes: some Sequence<UInt8>) throws(WireError) -> D {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw WireError("not a \(type): \(error)")
        }
    }
}
