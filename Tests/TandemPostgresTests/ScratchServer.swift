import CLinux
import Foundation
import Glibc
import Testing

@testable import TandemCore
@testable import TandemPostgres
@testable import TandemSystem

/// A folder for one test's servers, removed with them at the end, also when the test failed.
final class Scratch {
    /// Short: the path of a Unix socket holds 107 bytes.
    let folder: String
    private var servers: [ScratchServer] = []

    init() throws {
        folder = "/tmp/tpg-\(String(Random.word(), radix: 36))"
        #expect(mkdir(folder, 0o755) == 0)
        try OwnedFiles(user: "postgres").handOver(folder)
    }

    /// PostgreSQL 15 of the system, or other binaries with their libraries beside them: all tests run with each version.
    static var binaries: (bin: String, environment: [String: String]) {
        guard let bin = ProcessInfo.processInfo.environment["TANDEM_TEST_POSTGRES"] else {
            return ("/usr/lib/postgresql/15/bin", [:])
        }
        return (bin, ["LD_LIBRARY_PATH": bin + "/../lib"])
    }

    static func majorVersion() throws -> Int {
        let (bin, environment) = binaries
        let result = try Tool(bin + "/postgres", ["-V"], environment: environment).run(deadline: .seconds(10))
        let digits = result.output.drop { !$0.isNumber }.prefix { $0.isNumber }
        return try #require(Int(digits))
    }

    /// Runs the body, then ends every server of this folder and removes it.
    static func run(_ body: (Scratch) throws -> Void) throws {
        let scratch = try Scratch()
        defer { scratch.remove() }
        try body(scratch)
    }

    func remove() {
        for server in servers { _ = server.instance.endAll(deadline: .seconds(10)) }
        do {
            try FileManager.default.removeItem(atPath: folder)
        } catch {
            Issue.record("\(folder) could not be removed: \(error)")
        }
    }

    func settings(_ name: String) throws -> InstanceSettings {
        let home = folder + "/" + name
        try OwnedFiles(user: "postgres").makeFolder(home)
        try OwnedFiles(user: "postgres").makeFolder(home + "/state")
        let (bin, environment) = Scratch.binaries
        return InstanceSettings(
            binDirectory: bin, dataDirectory: home + "/data", port: try ScratchServer.freePort(),
            socketDirectory: home, osUser: "postgres", stateDirectory: home + "/state", logFile: home + "/log",
            environment: environment)
    }

    /// A new cluster, not started.
    func server(_ name: String, _ configuration: String = "") throws -> ScratchServer {
        let settings = try settings(name)
        try succeed(
            settings.tool(
                "initdb",
                ["-D", settings.dataDirectory, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-k", "-N"]))
        return try adopt(settings, configuration)
    }

    /// A base copy of a running server, not started.
    func standby(of primary: ScratchServer, _ name: String, _ configuration: String = "") throws -> ScratchServer {
        let settings = try settings(name)
        try succeed(
            settings.tool(
                "pg_basebackup",
                [
                    "-D", settings.dataDirectory, "-h", primary.settings.socketDirectory, "-p", "\(primary.settings.port)",
                    "-U", "postgres", "-X", "stream", "-c", "fast", "--no-sync",
                ]))
        return try adopt(settings, configuration)
    }

    private func adopt(_ settings: InstanceSettings, _ configuration: String) throws -> ScratchServer {
        let file = settings.effectiveConfigFile
        let before = String(decoding: try DurableFile.read(file) ?? [], as: UTF8.self)
        let own = before.components(separatedBy: "\n# scratch").first ?? before
        try OwnedFiles(user: "postgres").write(
            own + """

                # scratch
                port = \(settings.port)
                listen_addresses = '127.0.0.1'
                unix_socket_directories = '\(settings.socketDirectory)'
                shared_buffers = 16MB
                max_connections = 20
                wal_keep_size = 64MB
                wal_retrieve_retry_interval = 100ms
                restart_after_crash = off
                # In the data directory, so that a server that is killed leaves nothing on this machine.
                dynamic_shared_memory_type = mmap
                \(configuration)
                include_if_exists = '\(settings.includeFile)'

                """, to: file)
        let server = ScratchServer(settings)
        servers.append(server)
        return server
    }
}

/// One server of a test.
final class ScratchServer: Sendable {
    let settings: InstanceSettings
    let instance: Instance

    init(_ settings: InstanceSettings) {
        self.settings = settings
        instance = Instance(settings)
    }

    /// For `primary_conninfo` of a standby of this server.
    func conninfo(as name: String) -> String {
        "host=\(settings.socketDirectory) port=\(settings.port) user=postgres application_name=\(name)"
    }

    func session() throws -> Session { try Session(to: SessionTarget(settings), deadline: .seconds(5)) }

    @discardableResult
    func sql(_ text: String) throws -> String? { try session().query(text, deadline: .seconds(20)).value }

    /// A port that nobody listens on just now.
    static func freePort() throws -> Int {
        let number = socket(AF_INET, cl_sock_stream, 0)
        defer { close(number) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(number, generic, size) == 0 && getsockname(number, generic, &size) == 0
            }
        }
        try #require(bound)
        return Int(UInt16(bigEndian: address.sin_port))
    }
}

/// Runs a tool that must succeed.
func succeed(_ tool: Tool, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let result = try tool.run(deadline: .seconds(60))
    try #require(result.succeeded, "\(tool.path): \(result.errors)", sourceLocation: sourceLocation)
}

/// Polls a fact with a deadline.
func eventually(
    _ what: String, within: Duration = .seconds(60), sourceLocation: SourceLocation = #_sourceLocation,
    _ fact: () throws -> Bool
) throws {
    let holds = try SystemClock.wait(upTo: within, step: .milliseconds(5), until: fact)
    try #require(holds, "never came true: \(what)", sourceLocation: sourceLocation)
}
