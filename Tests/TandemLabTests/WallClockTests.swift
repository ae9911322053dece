import Foundation
import TandemSystem
import Testing

@testable import TandemLab

extension LabTests {
    @Suite("The wall clock of one host") struct WallClocks {
        @Test("is moved at run time, for services, programs and PostgreSQL, on that host alone; other clocks stay") func moves()
            throws
        {
            try LabFixture.withLab(movableWallClocks: ["b"]) { lab in
                let (a, b) = (try lab.host("a"), try lab.host("b"))
                for host in [a, b] {
                    host.setService(["/bin/sh", "-c", "while :; do date +%s; sleep 0.01; done"], startsAtBoot: true)
                    try host.boot()
                }
                func hours(_ text: String?) -> Int? {
                    text.flatMap { Double($0.trimmingCharacters(in: .whitespacesAndNewlines)) }.map {
                        Int((($0 - Date().timeIntervalSince1970) / 3600).rounded())
                    }
                }
                func ofService(_ host: LabHost) -> Int? {
                    // A last line without its end is being written.
                    hours(host.log().split(separator: "\n", omittingEmptySubsequences: false).dropLast().last.map { "\($0)" })
                }
                func ofProgram(_ host: LabHost, user: String? = nil) throws -> Int? {
                    hours(try host.demand(["/bin/date", "+%s"], user: user))
                }
                let server = LabPostgres.plain(b)
                try server.create()
                try server.start()
                func ofServer() throws -> Int? { hours(try server.query("select extract(epoch from clock_timestamp());").first) }
                #expect(SystemClock.wait(upTo: .seconds(5)) { ofService(b) == 0 })
                #expect(try ofServer() == 0)
                for offset in [3, -50] {
                    try b.moveWallClock(hours: Double(offset))
                    #expect(SystemClock.wait(upTo: .seconds(5)) { ofService(b) == offset })
                    #expect(try ofProgram(b) == offset)
                    #expect(try ofProgram(b, user: "postgres") == offset)
                    #expect(try SystemClock.wait(upTo: .seconds(5)) { try ofServer() == offset })
                    #expect(SystemClock.wait(upTo: .seconds(5)) { ofService(a) == 0 })
                    #expect(try ofProgram(a) == 0)
                }
                let clocks = "import time; print(time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic())"
                let told = try b.demand(["/usr/bin/python3", "-c", clocks]).split(separator: " ").compactMap {
                    Double("\($0)".filter { $0 != "\n" })
                }
                let uptime = try #require(Double(try b.demand(["/bin/cat", "/proc/uptime"]).split(separator: " ")[0]))
                #expect(told.count == 2 && told.allSatisfy { abs($0 - uptime) < 3 }, "\(told), \(uptime)")
                // A wrong clock is still wrong after a power-off.
                try b.powerOff()
                try b.boot()
                #expect(try ofProgram(b) == -50)
                try b.moveWallClock(hours: 0)
                #expect(try ofProgram(b) == 0)
                #expect(throws: LabError.self) { try a.moveWallClock(hours: 1) }
            }
        }

        @Test("does not disturb a program of ours that waits: the clients of the lab run under it as fast as without")
        func ourProgramsWait() throws {
            try LabFixture.withLab(movableWallClocks: ["a"]) { lab in
                let host = try lab.host("a")
                try host.boot()
                let server = LabPostgres.plain(host)
                try server.create()
                try server.start()
                _ = try server.query(LoadSpec.setup)
                var spec = LoadSpec()
                spec.primaryAddresses = ["127.0.0.1"]
                spec.standbyAddresses = ["127.0.0.1"]
                spec.logPath = "/tmp/load.log"
                spec.livePath = "/tmp/load.live"
                try spec.write(to: "\(lab.folder)/load.json")
                try host.demand(
                    ["/bin/sh", "-c", "cat > /tmp/load.json"], input: try #require(Text.read("\(lab.folder)/load.json")))
                let script =
                    "mkfifo /tmp/orders; exec 0<>/tmp/orders; exec \(LabHost.programPath) lab-client --spec /tmp/load.json"
                let client = try host.spawn(["/bin/sh", "-c", script], outputPath: "\(lab.folder)/client.out")
                func acknowledged() throws -> Int {
                    let log = try host.run(["/bin/cat", "/tmp/load.log"])
                    return log.output.split(separator: "\n").count { $0.hasPrefix("A ") }
                }
                for hours in [0.0, 5, -5] {
                    try host.moveWallClock(hours: hours)
                    let before = try acknowledged()
                    let began = SystemClock.now()
                    #expect(
                        try SystemClock.wait(upTo: .seconds(20)) { try acknowledged() >= before + 200 },
                        "\(Text.read("\(lab.folder)/client.out") ?? "")")
                    // 200 in a second is what is ordered; a clock that had to come round would take hours.
                    #expect(SystemClock.now() - began < 10_000_000_000)
                }
                client.signal(SIGTERM)
            }
        }

        @Test("cannot be moved where there is no compiler, and the error says what to install") func noCompiler() throws {
            let folder = "\(LabFixture.directory)/pgtandem-no-compiler-\(getpid())"
            let error = #expect(throws: LabError.self) { try WallClock(folder: folder).prepare(compiler: "no-such-compiler") }
            #expect("\(try #require(error))".contains("Install the packages gcc and libc6-dev"))
            #expect(Text.names(in: folder).isEmpty)
        }
    }
}
