import Glibc
import TandemSystem

extension Layout {
    /// The three files by the names under which they travel.
    var namedFiles: [(name: String, path: String)] {
        [("postgresql.conf", configFile), ("pg_hba.conf", hbaFile), ("pg_ident.conf", identFile)]
    }
}

/// The configuration files that lie outside the data directory, which a base copy does not bring: sent to the second host.
public struct ConfigFiles: Hashable, Sendable {
    /// Where they were.
    public var source: Layout
    /// `postgresql.conf`, `pg_hba.conf`, `pg_ident.conf`, `conf.d/….conf`.
    public var contents: [String: [UInt8]]

    public init(source: Layout, contents: [String: [UInt8]]) {
        self.source = source
        self.contents = contents
    }

    /// Empty if all lies in the data directory.
    public static func collect(_ layout: Layout) throws(PostgresError) -> ConfigFiles {
        try collect(layout, evenInDataDirectory: false)
    }

    static func collect(_ layout: Layout, evenInDataDirectory: Bool) throws(PostgresError) -> ConfigFiles {
        var contents: [String: [UInt8]] = [:]
        for (name, path) in layout.namedFiles {
            if KeptFile.folder(of: path) == layout.dataDirectory && !evenInDataDirectory { continue }
            contents[name] = try KeptFile(path: path, user: nil).read("read \(path)")
        }
        if !layout.isConfigInDataDirectory {
            let folder = layout.configFolder + "/conf.d"
            for name in OwnedFiles.names(in: folder) ?? [] where isSound("conf.d/" + name) {
                contents["conf.d/" + name] = try KeptFile(path: "\(folder)/\(name)", user: nil).read("read \(folder)/\(name)")
            }
        }
        return ConfigFiles(source: layout, contents: contents)
    }

    /// What `include_dir` would read, and no way out of the folder: the names come from another host.
    static func isSound(_ name: String) -> Bool {
        if ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"].contains(name) { return true }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0] == "conf.d", parts[1].hasSuffix(".conf"), !parts[1].hasPrefix(".") else { return false }
        return parts[1].utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f }
    }

    /// Writes them where this host has them, with its own paths. A file that was there and differs is kept once as
    /// `.before-pgtandem`; one that is the same is not touched.
    /// - Returns: what a person should look at, in sentences.
    public func write(to layout: Layout, _ settings: InstanceSettings) throws(PostgresError) -> [String] {
        guard let bad = contents.keys.sorted().first(where: { !ConfigFiles.isSound($0) }) else {
            return try writeAll(to: layout, settings)
        }
        throw PostgresError(
            attempted: "write the configuration files to \(layout.configFolder)",
            happened: "The other host sent the name `\(bad)`.", meaning: "Nothing was changed.",
            advice: "Look at the other host's configuration folder.")
    }

    private func writeAll(to layout: Layout, _ settings: InstanceSettings) throws(PostgresError) -> [String] {
        let attempted = "write the configuration files to \(layout.configFolder)"
        var notes: [String] = []
        for (name, path) in layout.namedFiles {
            guard var bytes = contents[name] else { continue }
            if name == "postgresql.conf" {
                let text = adapted(ConfigText(bytes), layout, settings)
                notes += missingFiles(text)
                bytes = text.bytes
            }
            try put(bytes, at: path, mode: name == "postgresql.conf" ? 0o644 : 0o640, settings, attempted)
        }
        if source.debianCluster != nil, !layout.isConfigInDataDirectory {
            // Debian's file includes this folder, and a server whose `include_dir` is missing does not start.
            try SetupTool.perform(attempted) { () throws(SystemError) in
                try OwnedFiles(user: settings.osUser).makeFolder(layout.configFolder + "/conf.d", mode: 0o755)
            }
        }
        for name in contents.keys.sorted() where name.hasPrefix("conf.d/") {
            guard let bytes = contents[name] else { continue }
            try put(bytes, at: layout.configFolder + "/" + name, mode: 0o644, settings, attempted)
        }
        return notes
    }

    private func put(
        _ bytes: [UInt8], at path: String, mode: UInt32, _ settings: InstanceSettings, _ attempted: String
    ) throws(PostgresError) {
        let owned = OwnedFiles(user: settings.osUser)
        try SetupTool.perform(attempted) { () throws(SystemError) in
            var missing: [String] = []
            var folder = KeptFile.folder(of: path)
            while folder != "/", folder != ".", !OwnedFiles.exists(folder) {
                missing.append(folder)
                folder = KeptFile.folder(of: folder)
            }
            for folder in missing.reversed() { try owned.makeFolder(folder, mode: 0o755) }
        }
        let file = KeptFile(path: path, user: settings.osUser)
        if try file.read(attempted) != bytes { try file.backUpOnce(attempted) }
        try file.write(bytes, newMode: mode, attempted)
    }

    func adapted(_ original: ConfigText, _ layout: Layout, _ settings: InstanceSettings) -> ConfigText {
        var text = original
        // Said explicitly wherever it is not what PostgreSQL would find by itself.
        func place(_ name: String, _ path: String, isDefault: Bool) {
            if text.value(of: name) != nil || !isDefault { text.set(name, path) }
        }
        place("data_directory", layout.dataDirectory, isDefault: layout.isConfigInDataDirectory)
        place("hba_file", layout.hbaFile, isDefault: KeptFile.folder(of: layout.hbaFile) == layout.dataDirectory)
        place("ident_file", layout.identFile, isDefault: KeptFile.folder(of: layout.identFile) == layout.dataDirectory)
        if text.value(of: "external_pid_file") != nil, source.debianCluster != layout.debianCluster {
            let name = layout.debianCluster.map { "\($0.major)-\($0.name)" } ?? "postgresql-\(settings.port)"
            text.set("external_pid_file", "\(settings.socketDirectory)/\(name).pid")
        }
        if let sockets = text.value(of: "unix_socket_directories") {
            let folders = sockets.split(separator: ",").map { $0.trimmed() }
            if !folders.contains(settings.socketDirectory) { text.set("unix_socket_directories", settings.socketDirectory) }
        }
        let port = text.value(of: "port") ?? "5432"
        if port != String(settings.port) { text.set("port", String(settings.port)) }
        // Ours, of the other host's state directory; it is added anew, as the last line.
        return ConfigText(ConfigInclude.with(text.bytes, includeFile: settings.includeFile))
    }

    /// A server does not start without these.
    private func missingFiles(_ text: ConfigText) -> [String] {
        guard let ssl = text.value(of: "ssl")?.lowercased(), ["on", "true", "yes", "1"].contains(ssl) else { return [] }
        return ["ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file"].compactMap { name in
            guard let path = text.value(of: name), path.hasPrefix("/"), !OwnedFiles.exists(path) else { return nil }
            return "\(name) = \(path) does not exist on this host: PostgreSQL will not start until you put it there."
        }
    }
}
