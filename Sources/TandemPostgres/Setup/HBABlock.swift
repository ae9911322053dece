import Glibc
import TandemSystem

/// Our marked block at the top of `pg_hba.conf` (the first line that matches decides): both hosts and the virtual
/// addresses may connect as the replication role, for streaming and for pg_rewind, and for nothing else.
public struct HBABlock: Hashable, Sendable {
    /// The replication role.
    public var user: String
    /// The database that holds the schema `pgtandem`; pg_rewind connects to it.
    public var database: String
    /// IPv4 and IPv6 in text form, without prefix.
    public var addresses: [String]

    public init(user: String, database: String, addresses: [String]) {
        self.user = user
        self.database = database
        self.addresses = addresses
    }

    static let begin = "# pgtandem begin: written by pgtandem, changes between these marks are lost"
    static let end = "# pgtandem end"

    /// Puts the block there, or replaces the one that is there. The server takes it at its next reload.
    /// - Returns: whether the file was changed.
    @discardableResult
    public func ensure(_ settings: InstanceSettings, hbaFile: String? = nil) throws(PostgresError) -> Bool {
        let path = hbaFile ?? settings.effectiveHBAFile
        let attempted = "write our block into \(path)"
        let lines = try lines(attempted)
        return try HBABlock.change(path, settings, attempted, mustExist: true) { text in
            var changed = HBABlock.without(text)
            changed.insert(contentsOf: lines.map { [UInt8]($0.utf8) }, at: 0)
            return changed
        }
    }

    /// Takes the block away again.
    @discardableResult
    public static func remove(_ settings: InstanceSettings, hbaFile: String? = nil) throws(PostgresError) -> Bool {
        let path = hbaFile ?? settings.effectiveHBAFile
        return try change(path, settings, "remove our block from \(path)", mustExist: false) { without($0) }
    }

    private static func change(
        _ path: String, _ settings: InstanceSettings, _ attempted: String, mustExist: Bool,
        _ body: ([[UInt8]]) -> [[UInt8]]
    ) throws(PostgresError) -> Bool {
        let file = KeptFile(path: path, user: settings.osUser)
        guard let bytes = try file.read(attempted) else {
            if !mustExist { return false }
            throw PostgresError(
                attempted: attempted, happened: "There is no such file.", meaning: "Nothing was changed.",
                advice: "Correct `postgresql.hba_file`.")
        }
        let old = ConfigText(bytes).lines
        let new = body(old)
        guard new != old else { return false }
        try file.backUpOnce(attempted)
        let text = Array(new.map { $0 + [UInt8(ascii: "\n")] }.joined())
        return try file.write(text, newMode: 0o640, attempted)
    }

    func lines(_ attempted: String) throws(PostgresError) -> [String] {
        func refusal(_ happened: String, _ advice: String) -> PostgresError {
            PostgresError(attempted: attempted, happened: happened, meaning: "Nothing was changed.", advice: advice)
        }
        for name in [user, database] {
            // A slash begins a regular expression (PostgreSQL 16 on), also in quotes.
            guard !name.isEmpty, !name.hasPrefix("/"), name.allSatisfy({ !$0.isNewline && $0 != "\0" }) else {
                throw refusal("The name `\(name)` cannot stand in pg_hba.conf.", "Choose another name.")
            }
        }
        var lines = [HBABlock.begin]
        var seen: Set<String> = []
        for address in addresses where seen.insert(address).inserted {
            guard let prefix = HBABlock.prefix(of: address) else {
                throw refusal("`\(address)` is not an IP address.", "Correct the configuration's addresses.")
            }
            for database in ["replication", HBABlock.quoted(database)] {
                lines.append("host \(database) \(HBABlock.quoted(user)) \(address)/\(prefix) scram-sha-256")
            }
        }
        return lines + [HBABlock.end]
    }

    /// A quoted name has no special meaning (`all`, `replication`, `+role`, `@file`).
    private static func quoted(_ name: String) -> String {
        "\"" + name.map { $0 == "\"" ? "\"\"" : String($0) }.joined() + "\""
    }

    private static func prefix(of address: String) -> Int? {
        var four = in_addr()
        if inet_pton(AF_INET, address, &four) == 1 { return 32 }
        var six = in6_addr()
        return inet_pton(AF_INET6, address, &six) == 1 ? 128 : nil
    }

    /// Every block of ours. A mark without its partner is taken away alone: what stands beside it may be somebody's.
    private static func without(_ lines: [[UInt8]]) -> [[UInt8]] {
        let isBegin = lines.map { String(decoding: $0, as: UTF8.self).hasPrefix("# pgtandem begin") }
        let isEnd = lines.map { String(decoding: $0, as: UTF8.self).trimmed() == end }
        var kept: [[UInt8]] = []
        var index = 0
        while index < lines.count {
            if isBegin[index] {
                let later = lines.indices.dropFirst(index + 1)
                let close = later.first { isEnd[$0] || isBegin[$0] }
                index = close.map { isEnd[$0] ? $0 + 1 : index + 1 } ?? index + 1
                continue
            }
            if !isEnd[index] { kept.append(lines[index]) }
            index += 1
        }
        return kept
    }

    /// Lines that the server could not take, as it sees the file now (also before a reload).
    public static func problems(_ session: Session, deadline: Duration = .seconds(10)) throws(PostgresError) -> [String] {
        let sql = "select line_number, error from pg_catalog.pg_hba_file_rules where error is not null order by 1"
        let rows = try SetupTool.perform(asking: "check pg_hba.conf") { () throws(SessionError) in
            try session.query(sql, deadline: deadline).rows
        }
        return rows.map { "line \(($0.first ?? nil) ?? "?") of pg_hba.conf: \(($0.last ?? nil) ?? "?")" }
    }
}
