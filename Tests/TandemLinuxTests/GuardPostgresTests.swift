import Glibc
import TandemSystem
import Testing

@testable import TandemLinux

/// A real server under load, and its real clients.
@Suite(
    .serialized,
    .enabled(if: GuardedHost.canRun && PostgresPrograms.found != nil, "needs root, PostgreSQL and the program beside the tests"))
struct GuardPostgresTests {
    private func asPostgres(_ command: String) throws {
        _ = try TwoHosts.run("/usr/sbin/runuser", ["-u", "postgres", "--", "/bin/sh", "-c", "cd /; " + command])
    }

    @Test func aServerUnderLoadIsGoneBeforeTheLeaseEnds() throws {
        let bin = try #require(PostgresPrograms.found)
        let host = try GuardedHost()
        _ = try TwoHosts.run("/bin/chown", ["-R", "postgres", host.folder])
        try host.takeAddresses()
        try asPostgres(
            "\(bin)/initdb -N -A trust -D '\(host.data)' >/dev/null; echo host all all 192.0.2.7/32 trust >> '\(host.data)/pg_hba.conf'"
        )
        let settings =
            "-c listen_addresses='*' -c unix_socket_directories='\(host.folder)' -c max_connections=200 -c shared_buffers=256MB -c dynamic_shared_memory_type=mmap"
        let start = "\(bin)/pg_ctl -D '\(host.data)' -l '\(host.folder)/log' -o \"\(settings)\" -w start"
        _ = try host.namespace.shell(
            "runuser -u postgres -- /bin/sh -c 'cd /; \(start.replacing("'", with: "'\\''"))' >/dev/null")
        try asPostgres("\(bin)/pgbench -h '\(host.folder)' -i -s 5 -q postgres >/dev/null 2>&1")
        let load = "\(bin)/pgbench -h 192.0.2.7 -U postgres -c 100 -j 2 -T 60 postgres >/dev/null 2>&1 & echo"
        _ = try host.namespace.shell("cd /; " + load)
        let isBusy = soon(.seconds(20)) { host.instance().count > 100 }
        #expect(isBusy)
        let client = try host.client()
        let until = GuardDeadline.after(.milliseconds(600))
        try host.arm(client, until)
        // By the board alone: to list processes takes the time that they need to end.
        let isGone = SystemClock.wait(upTo: .seconds(5), step: .milliseconds(10)) { client.status.lastAct?.duration != nil }
        #expect(isGone && host.instance().isEmpty)
        let act = try #require(client.status.lastAct)
        let silent = act.begun + (try #require(act.silenced)).nanoseconds
        #expect(silent <= until.boot, "late by \((silent - until.boot) / 1000) µs")
        print("guard: PostgreSQL with 100 clients: \(act)")
        #expect(act.killed > 100 && act.survivors == 0 && act.removedAddresses == 2 && act.refusal == 0)
        client.close()
    }

    /// The server stands in its directory whatever that is called, and goes on to serve.
    @Test func aServerWhoseDirectoryIsRenamedIsGoneToo() throws {
        let bin = try #require(PostgresPrograms.found)
        let host = try GuardedHost()
        _ = try TwoHosts.run("/bin/chown", ["-R", "postgres", host.folder])
        try asPostgres(
            "\(bin)/initdb -N -A trust -D '\(host.data)' >/dev/null; \(bin)/pg_ctl -D '\(host.data)' -l '\(host.folder)/log' "
                + "-o \"-c listen_addresses= -c unix_socket_directories='\(host.folder)' -c dynamic_shared_memory_type=mmap\" -w start >/dev/null"
        )
        #expect(host.instance().count > 4)
        let client = try host.client()
        try host.arm(client, GuardDeadline.after(.milliseconds(600)))
        let moved = host.data + ".moved"
        #expect(rename(host.data, moved) == 0)
        defer { for pid in ProcessTable.processes(ofDirectory: moved) { ProcessTable.signal(pid, SIGKILL) } }
        #expect(host.instance().isEmpty && ProcessTable.processes(ofDirectory: moved).count > 4)
        #expect(SystemClock.wait(upTo: .seconds(5), step: .milliseconds(10)) { client.status.lastAct?.duration != nil })
        #expect(soon { ProcessTable.processes(ofDirectory: moved).isEmpty })
        client.close()
    }
}

/// The newest server that is installed.
enum PostgresPrograms {
    static let found: String? = {
        (12...20).reversed().map { "/usr/lib/postgresql/\($0)/bin" }.first { access($0 + "/initdb", X_OK) == 0 }
    }()
}
