import Glibc
import TandemSystem

/// A new instance where there is none: `init` with an empty data directory.
public struct NewInstance: Sendable {
    public enum Outcome: Hashable, Sendable {
        /// With what a person should know.
        case created(notes: [String])
        /// It was there before: nothing was done.
        case alreadyThere
    }

    public var settings: InstanceSettings
    public var deadline: Duration
    /// Tests leave out fsync here.
    var moreOptions: [String] = []
    /// Tests point it elsewhere.
    var createCluster = "/usr/bin/pg_createcluster"
    /// Called before each step, so that tests can interrupt there.
    var beforeStep: (@Sendable (String) throws(PostgresError) -> Void)?

    public init(_ settings: InstanceSettings, deadline: Duration = .seconds(300)) {
        self.settings = settings
        self.deadline = deadline
    }

    /// The state directory must exist. Only a missing or empty data directory gets anything; it appears there whole.
    public func create() throws(PostgresError) -> Outcome {
        let attempted = "make a new instance at \(settings.dataDirectory)"
        let lock = try SetupLock(settings, attempted)
        defer { lock.release() }
        let place = try NewDirectory(settings, attempted)
        let intent = try SetupIntent.read(settings, .create)
        var notes: [String] = []
        if let intent, intent.target == place.target { notes += try undo(place, attempted) }
        let remembered = try DirectoryIdentity.read(stateDirectory: settings.stateDirectory)
        switch try DirectoryCheck.look(at: settings.dataDirectory, remembered: remembered) {
        case .instance:
            try DirectoryCheck.requireInstance(settings)
            return .alreadyThere
        case .foreign(let names):
            throw refusal(
                attempted, "It holds \(DirectoryCheck.list(names)), and no instance.",
                "Correct `postgresql.data_directory`, or move these files away.")
        case .unmounted(let mountPoint):
            throw refusal(attempted, "Its file system \(mountPoint) is not mounted.", "Mount \(mountPoint).")
        case .missing, .empty: break
        }
        if let cluster = clusterToCreate() {
            try createDebian(cluster, place, attempted)
        } else {
            try createPlain(place, attempted)
        }
        return .created(notes: notes)
    }

    /// Debian's own tool does it where its layout is asked for and nothing of it exists yet.
    private func clusterToCreate() -> DebianCluster? {
        guard let file = settings.configFile, !OwnedFiles.exists(file), access(createCluster, X_OK) == 0 else { return nil }
        return DebianCluster(configFile: file)
    }

    private var initOptions: [String] {
        [
            "--data-checksums", "--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=peer", "--auth-host=scram-sha-256",
            "--username=\(settings.superuser)",
        ] + moreOptions
    }

    private func createPlain(_ place: NewDirectory, _ attempted: String) throws(PostgresError) {
        try beforeStep?("make")
        try place.make()
        try beforeStep?("initdb")
        _ = try SetupTool.run(
            settings, "initdb", ["-D", place.path] + initOptions, deadline: deadline, attempted,
            meaning: "There is no instance yet; the data directory was not touched.",
            advice: "Put right what it says, and repeat the command.")
        try beforeStep?("configure")
        try configure(place, attempted)
        try beforeStep?("swap")
        try place.swap()
    }

    private func configure(_ place: NewDirectory, _ attempted: String) throws(PostgresError) {
        let made = Layout.plain(dataDirectory: place.path)
        let wanted = Layout(settings)
        let file = KeptFile(path: made.configFile, user: settings.osUser)
        guard let bytes = try file.read(attempted) else { return }
        var text = ConfigText(bytes)
        text.set("port", String(settings.port))
        text.set("unix_socket_directories", settings.socketDirectory)
        try file.write(text.bytes, newMode: 0o600, attempted)
        guard !wanted.isConfigInDataDirectory else { return }
        // A configuration that is there already was made for this instance, which has lost its data.
        var files = try ConfigFiles.collect(made, evenInDataDirectory: true)
        for (name, path) in wanted.namedFiles where OwnedFiles.exists(path) { files.contents[name] = nil }
        _ = try files.write(to: wanted, settings)
        for (_, path) in made.namedFiles {
            try SetupTool.perform(attempted) { () throws(SystemError) in try DurableFile.remove(path) }
        }
    }

    private func createDebian(
        _ cluster: DebianCluster, _ place: NewDirectory, _ attempted: String
    ) throws(PostgresError) {
        let major = try DirectoryCheck.majorOfPrograms(settings)
        guard major == cluster.major else {
            throw refusal(
                attempted, "`config_file` is of version \(cluster.major), `bin_directory` of \(major).", "Correct one of them.")
        }
        try beforeStep?("intent")
        try SetupIntent(target: place.target).write(settings, .create)
        try beforeStep?("pg_createcluster")
        let arguments = [
            "-d", place.target, "-s", settings.socketDirectory, "-p", String(settings.port), "--start-conf", "manual",
            String(cluster.major), cluster.name, "--",
        ]
        let user = settings.osUser.map { ["-u", $0] } ?? []
        let environment = settings.environment.merging(["LC_ALL": "C"]) { _, new in new }
        _ = try SetupTool.run(
            Tool(createCluster, user + arguments + initOptions, environment: environment), deadline: deadline, attempted,
            meaning: "There is no instance yet.", advice: "Put right what it says, and repeat the command.")
        try beforeStep?("done")
        try SetupIntent.remove(settings, .create)
    }

    /// An interrupted pg_createcluster leaves halves in two places. The data directory was absent or empty before, but what
    /// a person may have put there since is never deleted.
    private func undo(_ place: NewDirectory, _ attempted: String) throws(PostgresError) -> [String] {
        // A postmaster has written this: it was whole, and somebody has started it since.
        guard !OwnedFiles.exists(place.target + "/postmaster.opts") else {
            try SetupIntent.remove(settings, .create)
            return []
        }
        try Leftovers.end(naming: place.target, attempted)
        var notes: [String] = []
        switch try DirectoryCheck.look(at: place.target) {
        case .instance, .foreign:
            let aside = try place.moveTargetAside()
            notes.append("What an interrupted run had made is now \(aside); remove it when you do not need it.")
        case .missing, .empty, .unmounted: break
        }
        if let file = settings.configFile, let cluster = DebianCluster(configFile: file) {
            let names = [
                "postgresql.conf", "pg_hba.conf", "pg_ident.conf", "start.conf", "pg_ctl.conf", "environment", "log",
            ]
            for name in names {
                try SetupTool.perform(attempted) { () throws(SystemError) in try DurableFile.remove(cluster.folder + "/" + name) }
            }
            // Whatever a person has put there keeps the folder, and pg_createcluster accepts it.
            _ = rmdir(cluster.folder + "/conf.d")
            _ = rmdir(cluster.folder)
        }
        try SetupIntent.remove(settings, .create)
        return notes
    }

    private func refusal(_ attempted: String, _ happened: String, _ advice: String) -> PostgresError {
        PostgresError(attempted: attempted, happened: happened, meaning: "Nothing was changed.", advice: advice)
    }
}
