import Glibc
import TandemCore
import TandemSystem
import TandemWire

/// The ledger on disk: one line that says what it is, one line of JSON, one line with its checksum. Written beside, fsynced,
/// renamed, the folder fsynced (section 1). A damaged one is reported, never guessed at.
public struct LedgerFile: LedgerPort {
    public let path: String

    public init(stateDirectory: String) { path = stateDirectory + "/ledger" }

    /// What the file holds. All but the first are this node's own notes, no part of the ledger: for the boot rule of 4.3, the end of
    /// WAL that the next start has to know after a handover, and the newest record of the witness that was seen (3.3).
    struct Content: Codable {
        var ledger: LedgerDocument
        var peer_heard_in_boot: String?
        var follow_end: String?
        var witness: Witness?
        var primary_in_boot: String?
        var foreign: Bool?
        var role_kept_in_term: UInt64?

        struct Witness: Codable {
            var generation: UInt64
            var term: UInt64
            var step: UInt64
        }

        init(_ ledger: Ledger, _ notes: Notes) {
            self.ledger = LedgerDocument(ledger)
            peer_heard_in_boot = notes.peerHeardIn?.text
            primary_in_boot = notes.primaryIn?.text
            foreign = notes.isForeign
            role_kept_in_term = notes.roleKeptIn?.number
            follow_end = notes.follows?.description
            witness = notes.witness.map { Witness(generation: $0.generation, term: $0.term.number, step: $0.step) }
        }

        func notes() throws(WireError) -> Notes {
            var notes = Notes(peerHeardIn: peer_heard_in_boot.map { BootID($0) })
            notes.primaryIn = primary_in_boot.map { BootID($0) }
            notes.isForeign = foreign
            if let role_kept_in_term {
                guard role_kept_in_term < WireLimit.count else { throw WireError("`role_kept_in_term` is beyond all bounds") }
                notes.roleKeptIn = Term(role_kept_in_term)
            }
            if let follow_end {
                guard let lsn = LSN(follow_end) else { throw WireError("`follow_end` is no WAL position") }
                notes.follows = lsn
            }
            if let witness {
                guard [witness.generation, witness.term, witness.step].allSatisfy({ $0 < WireLimit.count }) else {
                    throw WireError("`witness` has a number beyond all bounds")
                }
                notes.witness = WitnessSeen(generation: witness.generation, term: Term(witness.term), step: witness.step)
            }
            return notes
        }
    }

    /// What is read back.
    public struct Found: Sendable {
        public var ledger: Ledger
        public var notes: Notes
    }

    private static let heading = "pgtandem ledger, version 1"

    public func write(_ ledger: Ledger, _ notes: Notes) throws {
        let body = String(decoding: try JSON.encode(Content(ledger, notes)), as: UTF8.self)
        let text = CheckedText.bytes(heading: Self.heading, body: body)
        do {
            try DurableFile.write(text, to: path, mode: 0o600)
        } catch {
            var isVisible = false
            do { isVisible = try DurableFile.read(path) == text } catch { isVisible = true }
            guard isVisible else { throw error }
            throw LedgerInDoubt(path: path, reason: "\(error)")
        }
    }

    /// nil: there is none, this node belongs to no pair yet.
    public func read() throws -> Found? {
        guard let bytes = try load() else { return nil }
        do {
            let body = try CheckedText.body(of: bytes, heading: Self.heading)
            let content = try JSON.decode(Content.self, from: Array(body.utf8))
            return Found(ledger: try content.ledger.ledger(), notes: try content.notes())
        } catch {
            throw damaged("\(error)")
        }
    }

    private func load() throws(SystemError) -> [UInt8]? {
        do throws(SystemError) {
            return try DurableFile.read(path)
        } catch {
            guard error.code == EACCES else { throw error }
            let user = Privileges.userName(of: Privileges.ourUserID) ?? "\(Privileges.ourUserID)"
            throw SystemError(attempted: error.attempted, code: error.code, advice: "Run `chown \(user): \(path)` as root.")
        }
    }

    private func damaged(_ what: String) -> LedgerDamaged { LedgerDamaged(path: path, what: what) }
}

/// The new ledger is the file, and whether it would survive a power loss is not known: neither the old nor the new one may be relied
/// on. Who meets this ends the process; the next one reads what there is.
struct LedgerInDoubt: Error, CustomStringConvertible {
    var path: String
    var reason: String
    var description: String { "the ledger \(path) was written, but not durably: \(reason)" }
}

/// The ledger cannot be read for what it is. Nothing may be concluded from it, so this node takes no role.
public struct LedgerDamaged: Error, Sendable, CustomStringConvertible {
    public var path: String
    public var what: String
    public var description: String {
        "the ledger \(path) is damaged: \(what). This node cannot know what it has promised, so it takes no role, and nothing was touched. "
            + "If the other host is primary, move the file away and run `pgtandem join` here; if this host alone has the data, ask for help "
            + "before anything is started."
    }
}
