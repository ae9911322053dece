import CLinux
import Glibc
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

struct SetupScratchError: Error, CustomStringConvertible { var description: String }

/// A folder of PostgreSQL's user with scratch instances in it; all of it goes with the object, also after a failure.
final class SetupScratch {
    /// Another version can be named from outside; its libraries are taken from beside it.
    static let otherBin = getenv("PGTANDEM_TEST_BIN").map { String(cString: $0) }
    static let bin = otherBin ?? "/usr/lib/postgresql/15/bin"
    static let environment = otherBin.map { ["LD_LIBRARY_PATH": $0 + "/../lib"] } ?? [:]
    let root: String
    private var started: [InstanceSettings] = []

    init() throws {
        root = "/tmp/tandem-setup-\(String(Random.word(), radix: 36))"
        try StateDirectory.ensure(root, osUser: SetupScratch.user)
    }

    deinit {
        for settings in started { try? stop(settings) }
        _ = try? Tool("/bin/rm", ["-rf", root]).run(deadline: .seconds(60))
    }

    /// As root the tests hand everything to PostgreSQL's user; as that user there is nobody to become.
    static var user: String? { geteuid() == 0 ? "postgres" : nil }

    func settings(_ name: String, configFile: String? = nil, hbaFile: String? = nil) throws -> InstanceSettings {
        let state = "\(root)/\(name)-state"
        try StateDirectory.ensure(state, osUser: SetupScratch.user)
        return InstanceSettings(
            binDirectory: SetupScratch.bin, dataDirectory: "\(root)/\(name)", configFile: configFile, hbaFile: hbaFile,
            port: try SetupScratch.freePort(), socketDirectory: root, superuser: "postgres", database: "postgres",
            osUser: SetupScratch.user, stateDirectory: state, logFile: "\(root)/\(name).log",
            environment: SetupScratch.environment)
    }

    /// Without fsync: the tests' disk is shared with others.
    static func creation(_ settings: InstanceSettings) -> NewInstance {
        var creation = NewInstance(settings)
        creation.moreOptions = ["--no-sync"]
        return creation
    }

    /// A new instance that tests may enter as any role through the socket.
    func instance(_ name: String) throws -> InstanceSettings {
        let settings = try settings(name)
        _ = try SetupScratch.creation(settings).create()
        let file = KeptFile(path: settings.effectiveHBAFile, user: settings.osUser)
        try file.write([UInt8]("local all all trust\n".utf8), newMode: 0o600, "open the door for tests")
        return settings
    }

    func start(_ settings: InstanceSettings) throws {
        started.append(settings)
        let options = "-c config_file=\(settings.effectiveConfigFile) -c listen_addresses=127.0.0.1 -c fsync=off"
        let tool = settings.tool(
            "pg_ctl", ["-D", settings.dataDirectory, "-o", options, "-l", settings.logFile, "-w", "-t", "60", "start"])
        let result = try tool.run(deadline: .seconds(70))
        guard result.succeeded else {
            let log = try DurableFile.read(settings.logFile).map { String(decoding: $0, as: UTF8.self) } ?? ""
            throw SetupScratchError(description: "start: \(result.errors) \(result.output) \(log)")
        }
    }

    func stop(_ settings: InstanceSettings) throws {
        let tool = settings.tool("pg_ctl", ["-D", settings.dataDirectory, "-w", "-t", "60", "-m", "immediate", "stop"])
        _ = try tool.run(deadline: .seconds(70))
    }

    func session(_ settings: InstanceSettings, user: String? = nil) throws -> Session {
        var target = SessionTarget(settings)
        if let user { target.user = user }
        return try Session(to: target, deadline: .seconds(10))
    }

    func text(_ path: String) throws -> String {
        guard let bytes = try DurableFile.read(path, limit: 16 << 20) else {
            throw SetupScratchError(description: "no file \(path)")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    func put(_ text: String, _ path: String, mode: UInt32 = 0o600) throws {
        try OwnedFiles(user: SetupScratch.user).write(text, to: path, mode: mode)
    }

    static func freePort() throws -> Int {
        let number = socket(AF_INET, cl_sock_stream, 0)
        defer { close(number) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(number, $0, size) + getsockname(number, $0, &size) }
        }
        guard code == 0 else { throw SystemError.last("find a free port") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}

/// The advice-bearing error of a call that must fail.
func setupRefusal<Value>(_ body: () throws -> Value) -> PostgresError? {
    do {
        _ = try body()
        Issue.record("It was not refused.")
        return nil
    } catch let error as PostgresError {
        return error
    } catch {
        Issue.record("Another error: \(error)")
        return nil
    }
}
