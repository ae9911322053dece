import Glibc
import TandemSystem

/// Where an instance of PostgreSQL lives and how this host's agent speaks with it.
public struct InstanceSettings: Hashable, Sendable {
    /// Folder of `postgres`, `pg_ctl`, `initdb` and the others.
    public var binDirectory: String
    public var dataDirectory: String
    /// Where it is not `postgresql.conf` in the data directory (Debian).
    public var configFile: String?
    /// Where it is not `pg_hba.conf` in the data directory (Debian).
    public var hbaFile: String?
    public var port: Int
    public var socketDirectory: String
    public var superuser: String
    public var database: String
    /// The owner of the data directory; used only when we are root, to become it for PostgreSQL's programs.
    public var osUser: String?
    /// Ours: the include file and the password file live here, never in the data directory, since base copies and
    /// pg_rewind carry foreign files from host to host.
    public var stateDirectory: String
    /// The server's first words go here, until its own logging takes over.
    public var logFile: String
    /// Added to the environment of PostgreSQL's programs (a library path for binaries outside the system's folders).
    public var environment: [String: String]

    public init(
        binDirectory: String, dataDirectory: String, configFile: String? = nil, hbaFile: String? = nil, port: Int = 5432,
        socketDirectory: String = "/var/run/postgresql", superuser: String = "postgres", database: String = "postgres",
        osUser: String? = nil, stateDirectory: String, logFile: String, environment: [String: String] = [:]
    ) {
        self.binDirectory = binDirectory
        self.dataDirectory = dataDirectory
        self.configFile = configFile
        self.hbaFile = hbaFile
        self.port = port
        self.socketDirectory = socketDirectory
        self.superuser = superuser
        self.database = database
        self.osUser = osUser
        self.stateDirectory = stateDirectory
        self.logFile = logFile
        self.environment = environment
    }

    /// The settings that we own; included by the last line of `postgresql.conf`.
    public var includeFile: String { stateDirectory + "/postgresql.conf.pgtandem" }
    /// The password of the replication role, for libpq.
    public var passFile: String { stateDirectory + "/replication.passfile" }
    public var effectiveConfigFile: String { configFile ?? dataDirectory + "/postgresql.conf" }
    public var effectiveHBAFile: String { hbaFile ?? dataDirectory + "/pg_hba.conf" }

    func inData(_ name: String) -> String { dataDirectory + "/" + name }

    /// One of PostgreSQL's programs, in English, as the owner of the data directory.
    func tool(_ name: String, _ arguments: [String], _ more: [String: String] = [:]) -> Tool {
        var full = environment.merging(more) { _, new in new }
        full["LC_ALL"] = "C"
        full["TZ"] = "UTC"
        return Tool(binDirectory + "/" + name, arguments, environment: full, user: osUser)
    }
}

/// Files that belong to PostgreSQL's user: as root we write them and hand them over; as that user itself nothing is to do.
struct OwnedFiles: Sendable {
    var user: String?

    func write(_ text: String, to path: String, mode: UInt32 = 0o600) throws(SystemError) {
        try write([UInt8](text.utf8), to: path, mode: mode)
    }

    /// Follows a symbolic link to the file itself, so that the link stays.
    func write(_ bytes: [UInt8], to path: String, mode: UInt32 = 0o600) throws(SystemError) {
        let place = ProcessTable.resolved(path) ?? path
        try DurableFile.write(bytes, to: place, mode: mode)
        try handOver(place)
    }

    func handOver(_ path: String) throws(SystemError) {
        guard let user, geteuid() == 0 else { return }
        let userID = try Privileges.userID(of: user)
        let groupID = try Privileges.groupID(of: user)
        guard chown(path, userID, groupID) == 0 else { throw SystemError.last("give \(path) to \(user)") }
    }

    /// Makes a folder (0700) unless it is there.
    func makeFolder(_ path: String, mode: UInt32 = 0o700) throws(SystemError) {
        if mkdir(path, mode) == 0 {
            try handOver(path)
        } else if errno != EEXIST {
            throw SystemError.last("make the folder \(path)")
        }
    }

    /// Permission bits of a file, for writing it again as it was.
    static func mode(of path: String) -> UInt32? {
        var facts = stat()
        return stat(path, &facts) == 0 ? facts.st_mode & 0o7777 : nil
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func sync(_ path: String) throws(SystemError) {
        let number = open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw SystemError.last("open \(path)") }
        let descriptor = Descriptor(number)
        guard fsync(descriptor.number) == 0 else { throw SystemError.last("fsync \(path)") }
    }

    /// Names in a folder, without `.` and `..`, sorted; nil: it cannot be read.
    static func names(in folder: String) -> [String]? {
        guard let handle = opendir(folder) else { return nil }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}

/// One deadline for a chain of steps.
struct Deadline: Sendable {
    let end: Int64

    init(_ patience: Duration) {
        let (seconds, attoseconds) = patience.components
        // A thousand years do not fit; nobody waits so long.
        end = SystemClock.now() + min(seconds, 1_000_000_000) * 1_000_000_000 + attoseconds / 1_000_000_000
    }

    var left: Duration { .nanoseconds(max(0, end - SystemClock.now())) }
    var isOver: Bool { SystemClock.now() >= end }

    /// For poll(2): rounded up, so that a wait never ends just before its deadline and spins.
    var milliseconds: Int32 { Int32(clamping: (max(0, end - SystemClock.now()) + 999_999) / 1_000_000) }

    func atMost(_ patience: Duration) -> Duration { min(left, patience) }
}
