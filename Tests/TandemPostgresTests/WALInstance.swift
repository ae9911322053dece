import Foundation
import Synchronization
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

/// A real PostgreSQL in a folder of its own, reached by a socket in that folder; ended and removed with the object.
final class WALInstance: Sendable {
    static let programs = ProcessInfo.processInfo.environment["PGTANDEM_POSTGRES_BIN"] ?? "/usr/lib/postgresql/15/bin"
    static let user = "postgres"

    let folder: String
    var data: String { folder + "/data" }
    var wal: String { data + "/pg_wal" }
    var log: String { folder + "/log" }
    var reader: WALReader { WALReader(directory: wal, segmentSize: 16 << 20) }

    private init() throws {
        folder = "/tmp/pgtandem-wal-\(String(Random.word(), radix: 36))"
        try run("/usr/bin/install", ["-d", "-o", Self.user, "-m", "700", folder], user: nil)
    }

    deinit {
        killAll()
        do {
            try FileManager.default.removeItem(atPath: folder)
        } catch {
            Issue.record("\(folder) is left over: \(error)")
        }
    }

    /// A new, running primary.
    static func primary(_ settings: [String] = []) throws -> WALInstance {
        let instance = try WALInstance()
        try instance.run("\(programs)/initdb", ["-D", instance.data, "-A", "trust", "-N", "-E", "UTF8", "--locale=C"])
        try instance.append(
            [
                "listen_addresses = ''", "restart_after_crash = off", "fsync = off", "wal_keep_size = '1GB'",
                "max_wal_size = '4GB'", "shared_buffers = '64MB'", "wal_retrieve_retry_interval = '100ms'",
                "log_checkpoints = off", "checkpoint_timeout = '1h'",
            ] + settings)
        try instance.start()
        return instance
    }

    /// A running standby of the primary.
    static func standby(of primary: WALInstance, name: String = "standby") throws -> WALInstance {
        let instance = try WALInstance()
        try instance.run(
            "\(programs)/pg_basebackup",
            ["-h", primary.folder, "-U", user, "-D", instance.data, "-R", "-X", "stream", "-c", "fast"])
        try instance.follow(primary, name: name)
        try instance.start()
        return instance
    }

    /// A plain start will make it a standby of the other one.
    func follow(_ primary: WALInstance, name: String) throws {
        try append(["primary_conninfo = 'host=\(primary.folder) user=\(Self.user) application_name=\(name)'"])
        try run("/usr/bin/install", ["-m", "600", "/dev/null", data + "/standby.signal"])
    }

    func append(_ settings: [String]) throws {
        let path = data + "/postgresql.conf"
        let before = try String(contentsOfFile: path, encoding: .utf8)
        let text =
            before + settings.joined(separator: "\n") + "\nunix_socket_directories = '\(folder)'\n"
            // In the data directory, so that a server that is killed leaves nothing on this machine.
            + "dynamic_shared_memory_type = mmap\n"
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.truncate(atOffset: 0)
        try handle.write(contentsOf: Data(text.utf8))
        try handle.close()
        // pg_basebackup -R writes its primary_conninfo there, and it would win.
        try Data().write(to: URL(fileURLWithPath: data + "/postgresql.auto.conf"))
    }

    func start() throws {
        try run("\(Self.programs)/pg_ctl", ["-D", data, "-l", log, "-w", "-t", "60", "start"])
    }

    func stop() throws { try run("\(Self.programs)/pg_ctl", ["-D", data, "-m", "fast", "-w", "-t", "60", "stop"]) }

    func promote() throws { try run("\(Self.programs)/pg_ctl", ["-D", data, "-w", "-t", "60", "promote"]) }

    /// Kills every process of the instance, as a crash does, and returns when all are gone.
    func killAll() {
        let isGone = SystemClock.wait(upTo: .seconds(20)) {
            let all = ProcessTable.processes(ofDirectory: data)
            for process in all { _ = ProcessTable.signal(process, SIGKILL) }
            return all.isEmpty
        }
        if !isGone { Issue.record("processes of \(data) are left over") }
        // Where process 1 reaps no orphans the postmaster stays a zombie, and its lock files make it look alive.
        for file in [data + "/postmaster.pid", folder + "/.s.PGSQL.5432.lock"] { _ = unlink(file) }
    }

    var postmaster: Int32 {
        get throws {
            let text = try String(contentsOfFile: data + "/postmaster.pid", encoding: .utf8)
            return try #require(Int32(text.split(separator: "\n")[0]))
        }
    }

    @discardableResult
    func sql(_ statements: String) throws -> String {
        let result = try run(
            "\(Self.programs)/psql",
            ["-h", folder, "-U", Self.user, "-AtXq", "-v", "ON_ERROR_STOP=1", "-c", statements])
        return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func position(_ function: String) throws -> LSN { try #require(LSN(try sql("select coalesce(\(function)(), '0/0')"))) }

    /// What `pg_controldata` says on the line that begins so.
    func control(_ line: String) throws -> String {
        let output = try run("\(Self.programs)/pg_controldata", [data], user: Self.user).output
        let found = try #require(output.split(separator: "\n").first { $0.hasPrefix(line + ":") })
        return found.drop { $0 != ":" }.dropFirst().trimmingCharacters(in: .whitespaces)
    }

    /// Where pg_waldump ends: the beginning of the last record, and the position its complaint names; nil: it names none, as
    /// the log goes on in a segment that was not made before the crash.
    func waldumpEnd(from start: LSN, timeline: Timeline = 1) throws -> (lastRecord: LSN, complaint: LSN?, text: String)? {
        let tool = Tool(
            "\(Self.programs)/pg_waldump", ["-q", "-p", wal, "-t", String(timeline), "-s", start.description], user: Self.user)
        let result = try tool.run(deadline: .seconds(60))
        if result.errors.contains("could not find file") { return nil }
        let positions = result.errors.split { !($0.isHexDigit || $0 == "/") }.compactMap { LSN($0) }
        let last = try #require(positions.first, "pg_waldump said: \(result.errors)")
        return (last, positions.dropFirst().first, result.errors)
    }

    /// The last text of the server's log that follows these words.
    func logged(_ words: String) throws -> String? {
        let text = try String(contentsOfFile: log, encoding: .utf8)
        guard let range = text.range(of: words, options: .backwards) else { return nil }
        return String(text[range.upperBound...].prefix { $0 != "\n" })
    }

    /// The end of the server's log, for messages of failed tests.
    var lastLines: String {
        do {
            return String(try String(contentsOfFile: log, encoding: .utf8).suffix(1500))
        } catch {
            return "no log: \(error)"
        }
    }

    @discardableResult
    func run(_ program: String, _ arguments: [String], user: String? = WALInstance.user) throws -> ToolResult {
        let result = try Tool(program, arguments, user: user).run(deadline: .seconds(90))
        try #require(result.succeeded, "\(program) \(arguments): \(result.ending) \(result.errors)")
        return result
    }
}

/// Clients that insert numbered rows, each after the one before was acknowledged, until their server is gone.
final class WALLoad: Sendable {
    private let lanes: [Lane]
    /// What each client printed.
    private let outputs = Mutex<[Int: String]>([:])

    /// Makes the table and starts the clients.
    init(on instance: WALInstance, clients: Int = 4) throws {
        try instance.sql("create table if not exists acknowledged (client int, n int, filler text); checkpoint")
        lanes = (0..<clients).map { Lane(name: "load\($0)") }
        // Rows of very different lengths, so that records cross pages in every way.
        let rows = (1...20_000).map { n in
            "insert into acknowledged values (:client, \(n), repeat('x', \(n * 7919 % 3000))) returning n;\n"
        }
        let input = Array(rows.joined().utf8)
        for (client, lane) in lanes.enumerated() {
            lane.submit { [self] in
                var tool = Tool(
                    "\(WALInstance.programs)/psql",
                    ["-h", instance.folder, "-U", WALInstance.user, "-AtXq", "-v", "ON_ERROR_STOP=1", "-v", "client=\(client)"],
                    user: WALInstance.user)
                tool.input = input
                do {
                    let result = try tool.run(deadline: .seconds(120))
                    outputs.withLock { $0[client] = result.output }
                } catch {
                    outputs.withLock { $0[client] = "" }
                    Issue.record("load: \(error)")
                }
            }
        }
    }

    /// Waits for the clients' ends. Of each client the last row that was acknowledged to it.
    func lastAcknowledged() -> [Int: Int] {
        for lane in lanes { lane.stop() }
        return outputs.withLock { $0 }.mapValues { $0.split(separator: "\n").compactMap { Int($0) }.last ?? 0 }
    }
}

extension LSN {
    /// A complaint names the place after a page's header; the end of the log before it is the page's beginning.
    func isSameEnd(as end: LSN) -> Bool {
        let header: UInt64 = end.bytes % (16 << 20) == 0 ? 40 : 24
        return self == end || (end.bytes % 8192 == 0 && bytes == end.bytes + header)
    }
}
