import Glibc
import TandemCore
import TandemSystem

/// What stands in the place of the copy, and what may be done with it.
struct BaseCopyTarget {
    enum Standing: Equatable {
        /// Absent or empty.
        case free
        /// Swapped in by an interrupted run; only its mark is missing.
        case ourWholeCopy
        /// It names the other node: an interrupted rewind, or a copy that somebody made and never finished.
        case unfinishedCopy
        /// This node's own instance, which is to make room.
        case replaceable
    }

    let settings: InstanceSettings
    let node: NodeName
    let place: NewDirectory
    let attempted: String
    var mayReplace = false

    /// - Throws: if there is anything else: that stays as it is.
    func judge(_ intent: SetupIntent?) throws(PostgresError) -> Standing {
        let remembered = try DirectoryIdentity.read(stateDirectory: settings.stateDirectory)
        let found = try DirectoryCheck.look(at: place.target, remembered: remembered)
        switch found {
        case .missing, .empty: return .free
        case .unmounted(let mountPoint):
            throw refusal("The file system \(mountPoint) of the target is not mounted.", "Mount \(mountPoint).")
        case .foreign(let names): throw refusal("The target holds \(DirectoryCheck.list(names)).", advice)
        case .instance(let facts):
            guard !facts.isRunning else {
                throw refusal("PostgreSQL runs in the target.", "Stop it, if this host is really to become the standby.")
            }
            if try isOurs(intent) { return .ourWholeCopy }
            if mayReplace { return .replaceable }
            if let mark = try CopyMarkFile.read(place.target), mark.node != node { return .unfinishedCopy }
            throw refusal("The target holds an instance of PostgreSQL \(facts.major).", advice)
        }
    }

    private func isOurs(_ intent: SetupIntent?) throws(PostgresError) -> Bool {
        guard let intent, intent.target == place.target, let number = intent.wholeDirectory else { return false }
        let facts = try SetupTool.perform(attempted) { () throws(SystemError) in try FileFacts.of(place.target) }
        // As we left it: never started by anybody, else `postmaster.opts` were there.
        return facts?.fileNumber == number && OwnedFiles.exists(place.target + "/standby.signal")
            && !OwnedFiles.exists(place.target + "/postmaster.opts")
    }

    private var advice: String {
        "If it is not needed, move it away by hand (`mv \(place.target) \(place.target).old`), and repeat the command."
    }

    private func refusal(_ happened: String, _ advice: String) -> PostgresError {
        PostgresError(
            attempted: attempted, happened: happened,
            meaning: "A data directory is never deleted or overwritten: nothing was changed.", advice: advice)
    }
}

/// Tablespaces lie at absolute paths, the same on both hosts.
struct BaseCopyTablespaces {
    let settings: InstanceSettings
    let attempted: String

    /// Removes what an interrupted run has put into them: they were absent or empty before it.
    func clear(_ locations: [String], major: Int) throws(PostgresError) {
        for location in locations {
            for name in OwnedFiles.names(in: location) ?? [] where name.hasPrefix("PG_\(major)_") {
                try Leftovers.remove("\(location)/\(name)", settings, attempted)
            }
        }
    }

    func requireEmpty(_ locations: [String]) throws(PostgresError) {
        for location in locations {
            guard let names = OwnedFiles.names(in: location), !names.isEmpty else { continue }
            throw PostgresError(
                attempted: attempted,
                happened: "The tablespace \(location) exists here and holds \(DirectoryCheck.list(names)).",
                meaning: "A copy would need that place; nothing was changed.",
                advice: "If it is not needed, move it away by hand (`mv \(location) \(location).old`), and repeat the command.")
        }
    }
}

/// Where the parts of a copy go that lie outside of the data directory.
struct BaseCopyPlan {
    /// Tablespaces whose places are free: pg_basebackup writes there at once.
    var inPlace: [String] = []
    /// Made beside their places, which hold what this node had there before.
    var beside: [Elsewhere] = []

    /// Looks only.
    /// - Throws: if a place is taken by what was not this node's, is not mounted, or cannot be swapped.
    init(
        _ copy: BaseCopy, _ asked: BaseCopySource.Facts, _ place: NewDirectory, _ old: SetupIntent?, _ attempted: String
    ) throws(PostgresError) {
        let known = old?.target == place.target ? old?.tablespaces ?? [] : []
        let own = try BaseCopyPlan.own(copy, place, old)
        beside = own.filter { $0.kind == .wal }
        // A place that the directory leads to is in use, whatever an old note says.
        let used = Set(Elsewhere.links(of: place.target).map(\.text))
        for location in asked.tablespaces {
            if known.contains(location) && !used.contains(location) || OwnedFiles.names(in: location)?.isEmpty != false {
                inPlace.append(location)
            } else if let part = own.first(where: { $0.kind == .tablespace && $0.text == location }) {
                beside.append(part)
            } else {
                try BaseCopyTablespaces(settings: copy.settings, attempted: attempted).requireEmpty([location])
            }
        }
        try Elsewhere.requireApart(beside, [place.target, copy.settings.stateDirectory] + inPlace, attempted)
        for part in beside { try part.requireSwap(attempted, copy.settings, major: asked.major) }
    }

    /// What this node has, or had, elsewhere: told by its directory, by the note of an interrupted run that has moved it aside, or by the
    /// state directory's memory.
    private static func own(_ copy: BaseCopy, _ place: NewDirectory, _ old: SetupIntent?) throws(PostgresError) -> [Elsewhere] {
        // Only who may replace a directory may take its places.
        guard copy.asideName != nil else { return [] }
        let noted = old?.target == place.target ? old?.elsewhere ?? [] : []
        guard OwnedFiles.names(in: place.target)?.isEmpty != false else {
            let here = Elsewhere.of(place.target)
            return here + noted.filter { part in part.kind == .tablespace && !here.contains { $0.text == part.text } }
        }
        return noted
            + copy.remembered.filter { part in
                !noted.contains { $0.text == part.text || part.kind == .wal && $0.kind == .wal }
            }
    }

    /// Whose file systems the copy needs.
    var folders: [String] {
        beside.map { KeptFile.folder(of: $0.place) } + inPlace.map { OwnedFiles.exists($0) ? $0 : KeptFile.folder(of: $0) }
    }
}

/// The instance that is copied.
struct BaseCopySource {
    struct Facts {
        var major: Int
        var tablespaces: [String]
        /// Of the databases that the role may look at.
        var bytes: Int64
    }

    let copy: BaseCopy
    let attempted: String

    /// - Throws: if it does not answer, or is of another version or another database.
    func ask() throws(PostgresError) -> Facts {
        let source = copy.source
        let target = SessionTarget(
            host: source.host, port: source.port, user: source.user, database: source.database, passFile: source.passFile)
        let advice = "Look whether PostgreSQL runs at \(source.host):\(source.port), and whether its pg_hba.conf has our block."
        let session = try SetupTool.perform(asking: attempted, advice: advice) { () throws(SessionError) in
            try Session(to: target, deadline: .seconds(15))
        }
        defer { session.close() }
        let major = try DirectoryCheck.majorOfPrograms(copy.settings)
        guard session.majorVersion == major else {
            throw refusal(
                "It is PostgreSQL \(session.majorVersion), and the programs of this host are of \(major).",
                "Install the same version on both hosts.")
        }
        let rows = try SetupTool.perform(asking: attempted) { () throws(SessionError) in
            (
                try session.query(Self.identity, deadline: .seconds(15)).value,
                try session.query(Self.tablespaces, deadline: .seconds(15)).rows.compactMap { $0.first ?? nil },
                try session.query(Self.size, deadline: .seconds(30)).value
            )
        }
        if let wanted = copy.options.systemIdentifier, rows.0 != String(wanted) {
            throw refusal(
                "Its system identifier is \(rows.0 ?? "unknown"), and the pair's is \(wanted).",
                "Correct the configuration's addresses.")
        }
        return Facts(major: major, tablespaces: rows.1, bytes: rows.2.flatMap { Int64($0) } ?? 0)
    }

    private static let identity = "select system_identifier from pg_catalog.pg_control_system()"
    private static let tablespaces = """
        select pg_catalog.pg_tablespace_location(oid) from pg_catalog.pg_tablespace \
        where pg_catalog.pg_tablespace_location(oid) <> ''
        """
    static let size = """
        select coalesce(sum(pg_catalog.pg_database_size(oid)), 0)::bigint from pg_catalog.pg_database \
        where pg_catalog.has_database_privilege(oid, 'CONNECT')
        """

    private func refusal(_ happened: String, _ advice: String) -> PostgresError {
        PostgresError(attempted: attempted, happened: happened, meaning: "Nothing was changed.", advice: advice)
    }

    /// libpq's connection string; a dead source is noticed within half a minute.
    static func connection(_ source: BaseCopy.Source) -> String {
        let words = [
            (source.host.hasPrefix("/") ? "host" : "hostaddr", source.host), ("port", String(source.port)),
            ("user", source.user), ("passfile", source.passFile), ("application_name", "pgtandem copy"),
            ("connect_timeout", "10"), ("keepalives_idle", "10"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "30000"), ("gssencmode", "disable"),
        ]
        return words.map { "\($0.0)='\(escaped($0.1))'" }.joined(separator: " ")
    }

    private static func escaped(_ value: String) -> String {
        value.map { $0 == "'" || $0 == "\\" ? "\\\($0)" : String($0) }.joined()
    }
}

/// Takes out of a fresh copy what belongs to the source alone (`protocol.md` 9: written anew, never inherited).
struct BaseCopyTidy {
    let settings: InstanceSettings
    let directory: String
    let attempted: String

    /// Settings in `postgresql.auto.conf` that a standby must not have from its source: where it streams from, and a
    /// recovery target left over from a restore, which would end its recovery.
    static let inherited: Set<String> = [
        "synchronous_standby_names", "restart_after_crash",
        "primary_conninfo", "primary_slot_name", "recovery_target", "recovery_target_name", "recovery_target_time",
        "recovery_target_xid", "recovery_target_lsn", "recovery_target_inclusive", "recovery_target_timeline",
        "recovery_target_action", "recovery_end_command", "promote_trigger_file",
    ]

    private static let files: Set<String> = [
        "postmaster.pid", "postmaster.opts", "recovery.signal", "promote", "fallback_promote", "backup_label.old",
        "tablespace_map.old", "current_logfiles",
    ]

    func run() throws(PostgresError) -> [String] {
        // First: whatever starts this directory by mistake gets a standby that streams from nowhere.
        try SetupTool.perform(attempted) { () throws(SystemError) in
            try OwnedFiles(user: settings.osUser).write("", to: directory + "/standby.signal")
            for name in OwnedFiles.names(in: directory) ?? []
            where Self.files.contains(name) || name.hasPrefix("pgtandem.") {
                try DurableFile.remove(directory + "/" + name)
            }
        }
        let file = KeptFile(path: directory + "/postgresql.auto.conf", user: settings.osUser)
        guard let bytes = try file.read(attempted) else { return [] }
        var text = ConfigText(bytes)
        var removed: [String] = []
        text.removeLines { _, setting in
            guard let setting, Self.inherited.contains(setting.name) else { return false }
            removed.append(setting.name)
            return true
        }
        try file.write(text.bytes, newMode: 0o600, attempted)
        let strange = removed.filter { $0 != "primary_conninfo" && $0 != "primary_slot_name" }
        return strange.isEmpty ? [] : ["Left out of the copy's postgresql.auto.conf: \(strange.joined(separator: ", "))."]
    }
}
