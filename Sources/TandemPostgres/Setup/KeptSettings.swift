import Foundation
import TandemSystem

/// What the installation had before our include file stood last in its configuration: settings that we need at least so high, and
/// must not lower. Found once, by `init` and `join`, before the include file exists; kept in the state directory.
public struct KeptSettings: Codable, Hashable, Sendable {
    public var walLevel: ManagedSettings.WALLevel
    public var walSenders: Int
    public var replicationSlots: Int

    public init(walLevel: ManagedSettings.WALLevel = .replica, walSenders: Int = 10, replicationSlots: Int = 10) {
        self.walLevel = walLevel
        self.walSenders = walSenders
        self.replicationSlots = replicationSlots
    }

    private static func path(_ stateDirectory: String) -> String { stateDirectory + "/kept-settings.json" }

    /// As they were found; our own least if nothing was.
    /// - Throws: if the file is damaged: a `wal_level` that is lowered by mistake breaks logical replication.
    public static func read(stateDirectory: String) throws(PostgresError) -> KeptSettings {
        let path = path(stateDirectory)
        let attempted = "read \(path)"
        let bytes = try SetupTool.perform(attempted) { () throws(SystemError) in try DurableFile.read(path) }
        guard let bytes else { return KeptSettings() }
        do {
            return try JSONDecoder().decode(KeptSettings.self, from: Data(bytes))
        } catch {
            throw PostgresError(
                attempted: attempted, happened: "\(error)", meaning: "Settings of the installation could be lowered by mistake.",
                advice: "Remove the file, take our include line out of postgresql.conf, and run `pgtandem init` or `join` again.")
        }
    }

    /// Looks at the configuration files (`postgres -C`), unless that was done before.
    public static func ensure(_ settings: InstanceSettings) throws(PostgresError) {
        let path = path(settings.stateDirectory)
        let attempted = "note the settings of this installation in \(path)"
        let isThere = try SetupTool.perform(attempted) { () throws(SystemError) in try FileFacts.of(path) != nil }
        guard !isThere else { return }
        var kept = KeptSettings()
        kept.walLevel = try value("wal_level", settings) == "logical" ? .logical : .replica
        kept.walSenders = Int(try value("max_wal_senders", settings)) ?? 10
        kept.replicationSlots = Int(try value("max_replication_slots", settings)) ?? 10
        let bytes: [UInt8]
        do { bytes = [UInt8](try JSONEncoder().encode(kept)) } catch {
            throw PostgresError(
                attempted: attempted, happened: "\(error)", meaning: "Nothing was changed.", advice: "Report this.")
        }
        try SetupTool.perform(attempted) { () throws(SystemError) in try OwnedFiles(user: settings.osUser).write(bytes, to: path)
        }
    }

    private static func value(_ name: String, _ settings: InstanceSettings) throws(PostgresError) -> String {
        var arguments = ["-C", name, "-D", settings.dataDirectory]
        if let file = settings.configFile { arguments += ["-c", "config_file=\(file)"] }
        return try SetupTool.run(
            settings, "postgres", arguments, deadline: .seconds(20), "look up \(name) in \(settings.effectiveConfigFile)",
            meaning: "Nothing was changed.", advice: "Put the configuration file right: PostgreSQL itself cannot read it."
        ).output.trimmed()
    }
}
