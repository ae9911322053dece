import Glibc
import TandemSystem

/// Where the files of one instance are.
public struct Layout: Hashable, Sendable {
    public var dataDirectory: String
    public var configFile: String
    public var hbaFile: String
    public var identFile: String

    public init(dataDirectory: String, configFile: String, hbaFile: String, identFile: String) {
        self.dataDirectory = dataDirectory
        self.configFile = configFile
        self.hbaFile = hbaFile
        self.identFile = identFile
    }

    /// All in the data directory.
    public static func plain(dataDirectory: String) -> Layout {
        Layout(
            dataDirectory: dataDirectory, configFile: dataDirectory + "/postgresql.conf",
            hbaFile: dataDirectory + "/pg_hba.conf", identFile: dataDirectory + "/pg_ident.conf")
    }

    /// What the configuration says; `pg_ident.conf` is taken to be beside `pg_hba.conf`.
    public init(_ settings: InstanceSettings) {
        self.init(
            dataDirectory: settings.dataDirectory, configFile: settings.effectiveConfigFile,
            hbaFile: settings.effectiveHBAFile,
            identFile: KeptFile.folder(of: settings.effectiveHBAFile) + "/pg_ident.conf")
    }

    /// The folder of `postgresql.conf`, against which its relative paths count.
    public var configFolder: String { KeptFile.folder(of: configFile) }

    /// False: the configuration does not come along with a base copy and must be sent on its own.
    public var isConfigInDataDirectory: Bool { configFolder == dataDirectory }

    /// The names by which Debian's tools know the instance; nil: it is not in their layout.
    public var debianCluster: DebianCluster? { DebianCluster(configFile: configFile) }

    /// Asks the running server.
    public static func running(_ session: Session, deadline: Duration = .seconds(10)) throws(PostgresError) -> Layout {
        let sql = """
            select pg_catalog.current_setting('data_directory'), pg_catalog.current_setting('config_file'), \
            pg_catalog.current_setting('hba_file'), pg_catalog.current_setting('ident_file')
            """
        let attempted = "ask the running server for its files"
        let row: [String?]
        do throws(SessionError) {
            row = try session.query(sql, deadline: deadline).rows.first ?? []
        } catch {
            throw PostgresError(attempted, error, meaning: "Nothing was changed.")
        }
        let texts = row.compactMap { $0 }
        guard texts.count == 4, texts.allSatisfy({ !$0.isEmpty }) else {
            throw PostgresError(
                attempted: attempted, happened: "It named only \(texts).", meaning: "Nothing was changed.",
                advice: "Connect as a superuser.")
        }
        return Layout(dataDirectory: texts[0], configFile: texts[1], hbaFile: texts[2], identFile: texts[3])
    }

    /// Finds the files of an instance that does not run: `config_file` of the configuration, else `postgresql.conf` in the
    /// data directory, else Debian's folders. The paths inside are asked from PostgreSQL's own program, which knows
    /// includes, relative paths and defaults.
    /// - Parameter debianRoot: Debian's folder of configurations.
    /// - Throws: if no configuration is found, or it is of another data directory.
    public static func stopped(
        _ settings: InstanceSettings, debianRoot: String = "/etc/postgresql"
    ) throws(PostgresError) -> Layout {
        let attempted = "find the configuration of \(settings.dataDirectory)"
        let candidates = [settings.configFile, settings.dataDirectory + "/postgresql.conf"].compactMap { $0 }
        let named = candidates.first { OwnedFiles.exists($0) }
        guard let file = named ?? DebianCluster.configFile(ofDataDirectory: settings.dataDirectory, root: debianRoot) else {
            throw PostgresError(
                attempted: attempted,
                happened: "There is no \(candidates.joined(separator: " or ")), and none below \(debianRoot) names it.",
                meaning: "Nothing was changed.", advice: "Name the file in `postgresql.config_file`.")
        }
        func ask(_ name: String) throws(PostgresError) -> String {
            // `config_file` as an option: -D may be the data directory or, as Debian has it, the folder of the file.
            let arguments = ["-C", name, "-D", settings.dataDirectory, "-c", "config_file=\(file)"]
            return try SetupTool.run(
                settings, "postgres", arguments, deadline: .seconds(20), attempted, meaning: "Nothing was changed.",
                advice: "Put right what \(file) says, until `postgres -C \(name)` accepts it."
            ).output.trimmed()
        }
        let layout = Layout(
            dataDirectory: try ask("data_directory"), configFile: file, hbaFile: try ask("hba_file"),
            identFile: try ask("ident_file"))
        let real = ProcessTable.resolved(settings.dataDirectory) ?? settings.dataDirectory
        guard (ProcessTable.resolved(layout.dataDirectory) ?? layout.dataDirectory) == real else {
            throw PostgresError(
                attempted: attempted, happened: "\(file) says data_directory = \(layout.dataDirectory).",
                meaning: "It is the configuration of another instance; nothing was changed.",
                advice: "Correct `postgresql.data_directory` or `postgresql.config_file`.")
        }
        return layout
    }
}

/// An instance in the layout of Debian's postgresql-common: `/etc/postgresql/15/main`.
public struct DebianCluster: Hashable, Sendable {
    public var major: Int
    public var name: String
    /// Its folder of configuration.
    public var folder: String

    /// nil: the path does not have the form `…/postgresql/<major>/<name>/postgresql.conf`.
    public init?(configFile: String) {
        let parts = configFile.split(separator: "/")
        guard parts.count >= 4, parts[parts.count - 1] == "postgresql.conf", parts[parts.count - 4] == "postgresql",
            let major = Int(parts[parts.count - 3])
        else { return nil }
        self.major = major
        name = String(parts[parts.count - 2])
        folder = KeptFile.folder(of: configFile)
    }

    /// The unit of systemd that starts it.
    public var unit: String { "postgresql@\(major)-\(name).service" }

    static func configFile(ofDataDirectory directory: String, root: String) -> String? {
        let wanted = ProcessTable.resolved(directory) ?? directory
        for major in OwnedFiles.names(in: root) ?? [] {
            for name in OwnedFiles.names(in: "\(root)/\(major)") ?? [] {
                let file = "\(root)/\(major)/\(name)/postgresql.conf"
                // One that cannot be read is not the one: an instance of another user.
                guard let bytes = readQuietly(file), let found = ConfigText(bytes).value(of: "data_directory") else { continue }
                if (ProcessTable.resolved(found) ?? found) == wanted { return file }
            }
        }
        return nil
    }

    private static func readQuietly(_ path: String) -> [UInt8]? {
        do throws(SystemError) {
            return try DurableFile.read(path)
        } catch {
            return nil
        }
    }
}
