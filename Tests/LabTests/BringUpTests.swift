import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    @Suite struct BringUp {
        @Test func fromARunningPrimaryInDebiansLayoutWithIPv6() throws {
            var configuration = LabConfiguration()
            configuration.layout = .debian
            configuration.hasIPv6 = true
            try PairOnHosts.story(
                configuration,
                preparing: { host throws(LabError) in
                    let postgres = LabPostgres.debian(host)
                    try postgres.create()
                    try postgres.start()
                    _ = try postgres.query("create table before_us as select 42 as answer")
                }
            ) { pair in
                #expect(
                    try LabPostgres.query("select answer from before_us", on: pair.b) == ["42"],
                    "what was there is on the standby")
                #expect(try pair.status(pair.a).addresses.contains(Lab.primaryAddress6))
                #expect(try pair.status(pair.b).addresses.contains(Lab.standbyAddress6))
                try pair.script.command(on: pair.a, ["switchover"])
                try pair.waitUntilWhole(primary: "b")
                #expect(try pair.status(pair.b).addresses.contains(Lab.primaryAddress6))
            }
        }

        @Test func initAndJoinTwiceAndWithTheAgentRunning() throws {
            try PairOnHosts.story { pair in
                let program = PairOnHosts.binaryInside
                let again = try pair.a.run([program, "init"], deadline: .seconds(30))
                #expect(again.ending == .exited(1))
                #expect(again.errors.contains("runs on this host already"), "\(again.errors)")
                let joined = try pair.b.run([program, "join"], deadline: .seconds(30))
                #expect(joined.ending == .exited(1))
                #expect(joined.errors.contains("runs on this host already"), "\(joined.errors)")
                _ = try pair.b.stopService()
                let twice = try pair.b.run([program, "join"], deadline: .seconds(30))
                #expect(twice.succeeded, "\(twice.errors)")
                #expect(twice.output.contains("has joined already"))
                try pair.b.startService()
                try pair.waitUntilWhole(primary: "a")
            }
        }

        @Test func theAgentRunsAsPostgresWithFourCapabilitiesAndPostgresInheritsNone() throws {
            try PairOnHosts.story { pair in
                for process in pair.a.processes() where process.title.contains("postgres") || process.title.hasSuffix(" run") {
                    let status = String(decoding: try DurableFile.read("/proc/\(process.pid)/status") ?? [], as: UTF8.self)
                    let effective =
                        status.split(separator: "\n").first { $0.hasPrefix("CapEff") }?.split(separator: "\t").last ?? ""
                    // CAP_NET_ADMIN is bit 12, CAP_NET_RAW 13, CAP_IPC_LOCK 14, CAP_SYS_NICE 23.
                    let expected: UInt64 = process.title.hasSuffix(" run") ? 0x80_7000 : 0
                    #expect(UInt64(effective, radix: 16) == expected, "\(process.title): \(effective)")
                    #expect(!status.contains("Uid:\t0\t"), "\(process.title) runs as root")
                }
            }
        }
    }
}

extension PairOnHosts {
    static var binaryInside: String { LabHost.programPath }
}
