import TandemCore
import TandemSystem

/// The new primary, asked by the replication role.
final class RejoinSource {
    struct Facts {
        var systemIdentifier: UInt64
        var isInRecovery: Bool
        /// Of its latest checkpoint: behind `timeline` until the first one after a promotion (`hazards.md` 0.1, 3).
        var controlTimeline: Timeline
        /// nil in recovery.
        var timeline: Timeline?
        /// What it has flushed; nil in recovery.
        var position: LSN?
        var missingFunctions: [String]
        /// The role may stream and copy: the attribute REPLICATION.
        var mayReplicate: Bool
    }

    private let session: Session
    private let attempted: String
    private let end: Deadline
    /// Names in its `pg_wal`, once asked.
    private var names: Set<String>?

    init(_ source: Rejoin.Source, _ attempted: String, deadline: Duration) throws(PostgresError) {
        self.attempted = attempted
        end = Deadline(deadline)
        let target = SessionTarget(
            host: source.host, port: source.port, user: source.user, database: source.database, passFile: source.passFile,
            statementTimeout: deadline)
        let end = self.end
        session = try SetupTool.perform(
            asking: attempted, meaning: "Nothing was changed; it can be tried again.",
            advice: "Look whether PostgreSQL runs at \(source.host):\(source.port), and whether its pg_hba.conf has our block."
        ) { () throws(SessionError) in try Session(to: target, deadline: end.atMost(.seconds(15))) }
    }

    func close() { session.close() }

    var majorVersion: Int { session.majorVersion }

    func ask(_ sql: String, _ parameters: [String?] = []) throws(PostgresError) -> Rows {
        try SetupTool.perform(asking: attempted, meaning: "Nothing was changed; it can be tried again.") {
            () throws(SessionError) in try session.query(sql, parameters, deadline: end.left)
        }
    }

    func facts() throws(PostgresError) -> Facts {
        let row = try ask(Self.question).rows.first ?? []
        guard row.count == 5, let system = row[0].flatMap({ UInt64($0) }), let control = row[2].flatMap({ Timeline($0) }) else {
            throw PostgresError(
                attempted: attempted, happened: "The source answered \(row).", meaning: "Nothing was changed.",
                advice: "Report this.")
        }
        let list = Instance.arrayText(ReplicationRole.functions.map { "pg_catalog." + $0 })
        let missing = try ask(Self.rights, [list]).rows.compactMap { $0[0]?.dropFirst("pg_catalog.".count) }.map(String.init)
        return Facts(
            systemIdentifier: system, isInRecovery: row[1] == "t", controlTimeline: control,
            timeline: row[3].flatMap { Timeline($0.prefix(8), radix: 16) }, position: row[4].flatMap { LSN($0) },
            missingFunctions: missing, mayReplicate: try ask(Self.attribute).isTrue)
    }

    private static let question = """
        select s.system_identifier, r.recovers, c.timeline_id, \
        case when r.recovers then null else pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) end, \
        case when r.recovers then null else pg_catalog.pg_current_wal_flush_lsn() end \
        from pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c, \
        (select pg_catalog.pg_is_in_recovery() as recovers) r
        """
    private static let attribute =
        "select rolreplication or rolsuper from pg_catalog.pg_roles where rolname = current_user"
    private static let rights = """
        select f from pg_catalog.unnest($1::text[]) f where not pg_catalog.has_function_privilege(f, 'execute')
        """

    /// - Returns: nil if its history file is missing or damaged.
    func chain(_ timeline: Timeline) throws(PostgresError) -> TimelineChain? {
        if timeline == 1 { return TimelineChain(timeline: 1, history: nil) }
        guard try has(TimelineChain.fileName(timeline)) else { return nil }
        let sql = "select pg_catalog.encode(pg_catalog.pg_read_binary_file($1), 'hex')"
        let text = try ask(sql, ["pg_wal/" + TimelineChain.fileName(timeline)]).value ?? ""
        return TimelineChain(timeline: timeline, history: String(decoding: Self.bytes(hex: text), as: UTF8.self))
    }

    func has(_ name: String) throws(PostgresError) -> Bool {
        if let names { return names.contains(name) }
        let sql = "select pg_catalog.pg_ls_dir('pg_wal', true, false)"
        let found = Set(try ask(sql).rows.compactMap { $0[0] })
        names = found
        return found.contains(name)
    }

    /// The file there that holds the segment; nil: none does.
    func file(ofSegmentAt start: LSN, _ chain: TimelineChain, size: Int) throws(PostgresError) -> String? {
        for timeline in chain.timelines(ofSegmentAt: start, size: size) {
            let name = WALFile.name(timeline: timeline, position: start, segmentSize: size)
            if try has(name) { return name }
            // So it is renamed at a promotion if there is an archive; up to the fork it is whole.
            if try has(name + ".partial") { return name + ".partial" }
        }
        return nil
    }

    /// nil: it was removed meanwhile, or is shorter.
    func read(_ name: String, at offset: Int, count: Int) throws(PostgresError) -> [UInt8]? {
        let sql = "select pg_catalog.encode(pg_catalog.pg_read_binary_file($1, $2::bigint, $3::bigint, true), 'hex')"
        guard let text = try ask(sql, ["pg_wal/" + name, String(offset), String(count)]).value else { return nil }
        let bytes = Self.bytes(hex: text)
        return bytes.count == count ? bytes : nil
    }

    /// nil: the role may not read it, or nothing was ever recorded.
    func lineage() throws(PostgresError) -> [Instance.LineageEntry]? {
        do throws(SessionError) {
            let rows = try session.query(Instance.lineageQuestion, deadline: end.left)
            return Instance.lineageEntries(rows)
        } catch {
            // 42501: no right; 42P01, 3F000: no table, no schema.
            if ["42501", "42P01", "3F000"].contains(error.sqlstate ?? "") { return nil }
            throw PostgresError(attempted, error, meaning: "Nothing was changed; it can be tried again.")
        }
    }

    static func bytes(hex text: String) -> [UInt8] {
        func digit(_ byte: UInt8) -> UInt8 { byte >= 97 ? byte &- 87 : byte &- 48 }
        let digits = Array(text.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).map { digit(digits[$0]) << 4 | digit(digits[$0 + 1]) }
    }
}
