import Foundation
import TandemCore
import TandemNetwork
import TandemSystem
import TandemWire

/// What is durable of one pair: by what it is known, the names of its nodes, and its record. One file, so that no power loss tears them
/// apart.
struct PairFile: Hashable, Sendable {
    var cluster: String
    var pin: Pin
    var record: Ledger?
    /// The how manieth of this pair it is (`PairCounts`); given by the folder when it is written.
    var written: UInt64 = 0

    /// A pair is known by its authority and its PostgreSQL; the first one that came under a name keeps it.
    struct Pin: Hashable, Sendable {
        /// SHA-256 of the authority's certificate.
        var authority: String
        var systemIdentifier: UInt64
        /// One, or both, in the order in which they came.
        var nodes: [String]
    }

    static let heading = "pgtandem witness pair, version 1"

    private struct Content: Codable {
        var cluster: String
        var authority: String
        var system_identifier: UInt64
        var nodes: [String]
        var record: LedgerDocument?
        /// Missing in a file of before it was counted.
        var written: UInt64?
    }

    func bytes() throws -> [UInt8] {
        let content = Content(
            cluster: cluster, authority: pin.authority, system_identifier: pin.systemIdentifier, nodes: pin.nodes,
            record: record.map(LedgerDocument.init), written: written)
        return CheckedText.bytes(heading: Self.heading, body: String(decoding: try JSON.encode(content), as: UTF8.self))
    }

    init(cluster: String, pin: Pin, record: Ledger?) {
        self.cluster = cluster
        self.pin = pin
        self.record = record
    }

    /// Nothing is guessed: what the witness cannot have written is an error.
    init(_ bytes: [UInt8], cluster: String) throws {
        let body = try CheckedText.body(of: bytes, heading: Self.heading)
        let content = try JSON.decode(Content.self, from: Array(body.utf8))
        guard content.cluster == cluster else { throw WireError("it is of the cluster `\(content.cluster)`") }
        guard (1...2).contains(content.nodes.count), Set(content.nodes).count == content.nodes.count,
            content.nodes.allSatisfy({ TLSName.problem(with: $0) == nil })
        else { throw WireError("its names of nodes are none") }
        self.cluster = cluster
        pin = Pin(authority: content.authority, systemIdentifier: content.system_identifier, nodes: content.nodes)
        record = nil
        written = content.written ?? 0
        guard written < UInt64.max - 2 else { throw WireError("its number `\(written)` is none") }
        if let document = content.record {
            let ledger = try document.ledger()
            guard ledger.cluster == cluster else { throw WireError("its record is of the cluster `\(ledger.cluster)`") }
            guard content.nodes.contains(ledger.primary.text) else { throw WireError("its record names a node of another pair") }
            record = ledger
        }
    }
}
