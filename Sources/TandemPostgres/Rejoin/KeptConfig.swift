import TandemSystem

/// This node's own small files in the top folder of its data directory (configuration, certificates), kept in the state directory
/// while the directory is rewound or copied: both bring those of the source (`hazards.md` H110).
struct KeptConfig {
    let rejoin: Rejoin
    let attempted: String

    private var folder: String { rejoin.settings.stateDirectory + "/rejoin-files" }

    /// What PostgreSQL or we write there ourselves.
    private static let foreign: Set<String> = [
        "PG_VERSION", "postmaster.pid", "postmaster.opts", "backup_label", "backup_label.old", "tablespace_map",
        "tablespace_map.old", "backup_manifest", "standby.signal", "recovery.signal", "promote", "fallback_promote",
        "current_logfiles", "logfile", "postgresql.auto.conf.tmp",
    ]

    private static let limit = 1 << 20

    var isKept: Bool { OwnedFiles.exists(folder) }

    /// Of the directory as it is now; without its `postgresql.conf` nothing: what an earlier run has kept stays then.
    func save(_ directory: String) throws(PostgresError) {
        let layout = Layout(rejoin.settings)
        guard OwnedFiles.exists(directory + "/postgresql.conf") || !layout.isConfigInDataDirectory else { return }
        try remove()
        let folder = folder
        try SetupTool.perform(attempted) { () throws(SystemError) in
            try rejoin.owned.makeFolder(folder)
            for name in OwnedFiles.names(in: directory) ?? [] where isOurs(name) {
                let path = "\(directory)/\(name)"
                guard let facts = try FileFacts.of(path, followingLinks: false), facts.kind == .file,
                    facts.sizeBytes <= Self.limit, let bytes = try DurableFile.read(path, limit: Self.limit)
                else { continue }
                try rejoin.owned.write(bytes, to: "\(folder)/\(name)", mode: facts.mode)
            }
            try OwnedFiles.sync(rejoin.settings.stateDirectory)
        }
    }

    private func isOurs(_ name: String) -> Bool {
        !Self.foreign.contains(name) && !name.hasPrefix("pgtandem.") && !name.hasPrefix("core") && !name.hasSuffix(".log")
            && !name.contains(".pgtandem-new") && !name.contains(".new-")
    }

    /// - Returns: what a person should know.
    func restore(to directory: String) throws(PostgresError) -> [String] {
        let folder = folder
        let replaced = try SetupTool.perform(attempted) { () throws(SystemError) in
            var replaced: [String: [UInt8]] = [:]
            for name in OwnedFiles.names(in: folder) ?? [] where isOurs(name) {
                guard let bytes = try DurableFile.read("\(folder)/\(name)", limit: Self.limit) else { continue }
                let path = "\(directory)/\(name)"
                let there = try DurableFile.read(path, limit: 16 << 20)
                if there == bytes { continue }
                replaced[name] = there
                try rejoin.owned.write(bytes, to: path, mode: OwnedFiles.mode(of: "\(folder)/\(name)") ?? 0o600)
            }
            return replaced
        }
        guard Layout(rejoin.settings).isConfigInDataDirectory, let words = try complaint(directory) else { return [] }
        // A crash may have damaged ours: then those of the source are better than none.
        let names = ["postgresql.conf", "postgresql.auto.conf"]
        try SetupTool.perform(attempted) { () throws(SystemError) in
            for name in names {
                if let bytes = replaced[name] { try rejoin.owned.write(bytes, to: "\(directory)/\(name)") }
            }
        }
        return ["The configuration of this node cannot be read (\(words)); that of the source stands in its place."]
    }

    /// PostgreSQL's own opinion of the configuration; nil: it can read it.
    private func complaint(_ directory: String) throws(PostgresError) -> String? {
        let result = try SetupTool.perform(attempted) { () throws(SystemError) in
            try rejoin.settings.tool("postgres", ["-C", "data_directory", "-D", directory]).run(deadline: .seconds(20))
        }
        return result.succeeded ? nil : result.errors.lastLines(2)
    }

    func remove() throws(PostgresError) {
        guard isKept else { return }
        try Leftovers.remove(folder, rejoin.settings, attempted)
    }
}
