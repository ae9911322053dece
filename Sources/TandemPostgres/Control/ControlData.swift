import TandemCore
import TandemSystem

/// What `pg_controldata` says of a data directory, running or not.
public struct ControlData: Hashable, Sendable {
    public var systemIdentifier: UInt64
    /// PostgreSQL's words: `in production` (also after a crash), `shut down`, `shut down in recovery`, … `shut down` does
    /// NOT say that the standby has everything (`hazards.md` 0.1, 2).
    public var state: String
    /// The position of the latest checkpoint record.
    public var checkpoint: LSN
    public var redo: LSN
    /// Of the latest checkpoint: stale after a promotion until the first checkpoint.
    public var timeline: Timeline
    /// nil: 0/0, it has not been a standby since its last start as primary.
    public var minimumRecoveryEnd: LSN?
    public var minimumRecoveryTimeline: Timeline
    public var hasChecksums: Bool
    public var hasHintLogging: Bool
    /// Bytes.
    public var segmentSize: Int

    /// It recovers, or was recovering when it ended.
    public var isStandby: Bool { state == "in archive recovery" || state == "shut down in recovery" }

    public var wasShutDown: Bool { state == "shut down" || state == "shut down in recovery" }

    /// Which timeline pg_rewind takes for this instance's: of the last checkpoint, and from version 16 on also of the end of recovery (its
    /// `main`, PostgreSQL 14 to 18).
    func timelineOfRewind(major: Int) -> Timeline { major < 16 ? timeline : max(timeline, minimumRecoveryTimeline) }

    init?(_ output: String) {
        var facts: [String: String] = [:]
        for line in output.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            facts[String(line[..<colon])] = line[line.index(after: colon)...].trimmed()
        }
        guard let identifier = facts["Database system identifier"].flatMap({ UInt64($0) }),
            let state = facts["Database cluster state"],
            let checkpoint = facts["Latest checkpoint location"].flatMap({ LSN($0) }),
            let redo = facts["Latest checkpoint's REDO location"].flatMap({ LSN($0) }),
            let timeline = facts["Latest checkpoint's TimeLineID"].flatMap({ Timeline($0) }),
            let segmentSize = facts["Bytes per WAL segment"].flatMap({ Int($0) })
        else { return nil }
        systemIdentifier = identifier
        self.state = state
        self.checkpoint = checkpoint
        self.redo = redo
        self.timeline = timeline
        let end = facts["Minimum recovery ending location"].flatMap { LSN($0) }
        minimumRecoveryEnd = end?.bytes == 0 ? nil : end
        minimumRecoveryTimeline = facts["Min recovery ending loc's timeline"].flatMap { Timeline($0) } ?? 0
        hasChecksums = (facts["Data page checksum version"] ?? "0") != "0"
        hasHintLogging = facts["wal_log_hints setting"] == "on"
        self.segmentSize = segmentSize
    }

    /// - Throws: if the folder is no data directory, or its control file is damaged.
    public static func read(_ settings: InstanceSettings, directory: String? = nil) throws(PostgresError) -> ControlData {
        let place = directory ?? settings.dataDirectory
        let attempted = "read the control data of \(place)"
        let meaning = "The state of this data directory is unknown."
        let result: ToolResult
        do throws(SystemError) {
            result = try settings.tool("pg_controldata", ["-D", place]).run(deadline: .seconds(10))
        } catch {
            throw PostgresError(attempted, error, meaning: meaning)
        }
        guard result.succeeded, let data = ControlData(result.output) else {
            throw PostgresError(
                attempted, result, meaning: meaning, advice: "Look at the data directory, and make a new copy if it is damaged.")
        }
        // A wrong checksum is a warning on standard error, and nonsense on standard output.
        guard !result.errors.contains("CRC") && !result.output.contains("WARNING: ") else {
            throw PostgresError(attempted, result, meaning: meaning, advice: "Make a new copy of this data directory.")
        }
        return data
    }
}
