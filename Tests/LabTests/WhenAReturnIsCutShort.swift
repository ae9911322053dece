import Foundation
import Glibc
import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// The host that comes back loses power at any moment of its rewind or copy, and comes back all the same, without a hand.
    ///
    /// Four moments of each kind; `PGTANDEM_MOMENTS=50 ./test --filter WhenAReturnIsCutShort` takes fifty (`docs/evidence.md`).
    @Suite struct WhenAReturnIsCutShort {
        static let moments = ProcessInfo.processInfo.environment["PGTANDEM_MOMENTS"].flatMap { Int($0) } ?? 4

        /// The primary loses power with WAL that the standby never got, and then again while that branch is rewound.
        @Test func powerIsLostWhileItRewinds() throws {
            try cutShort("rewind", timing: "fast") { pair in
                let lost = try pair.waitUntilWhole()
                let other = pair.other(lost)
                try pair.lab.cut(from: LabPort(lost.name), to: LabPort(other.name), tcpPort: 5432)
                _ = try LabPostgres.query("set synchronous_commit = local; update large set g = g + 1 where g % 7 = 0", on: lost)
                try lost.powerOff()
                try pair.waitUntilAlone(other)
                try pair.lab.heal()
                try lost.boot()
                return lost
            } isBegun: { pair, host in
                pair.words(on: host, in: "rewind-in-progress").hasPrefix("rewinding")
            }
        }

        @Test func powerIsLostWhileItCopies() throws {
            try cutShort("copy", timing: "standard") { pair in
                try pair.ask(pair.b, "rejoin", "--fresh", "--no-wait")
                return pair.b
            } isBegun: { pair, host in
                !pair.words(on: host, in: "rejoin-copy").isEmpty
            }
        }

        /// A copy may take hours, and its next try begins anew anyway.
        @Test func anAgentThatIsToldToStopDoesNotWaitForACopy() throws {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            configuration.more = "rejoin: { bandwidth: 64kB }"
            try PairOnHosts.story(configuration) { pair in
                try pair.ask(pair.b, "rejoin", "--fresh", "--no-wait")
                try pair.wait("it copies") { (try pair.status(pair.b).rejoin?.done_bytes ?? 0) > 0 }
                let began = SystemClock.now()
                let ending = try pair.b.stopService()
                #expect(ending == "exit:0")
                #expect(SystemClock.now() - began < 10_000_000_000, "it took \((SystemClock.now() - began) / 1_000_000) ms")
                #expect(pair.b.postgresProcesses().isEmpty)
                try pair.b.startService()
                // As it was: nobody asks for a copy any more.
                try pair.waitUntilWhole(primary: "a")
                #expect(try !pair.history(pair.b).contains { $0.kind == .rejoin })
            }
        }

        /// Each second time the power goes somewhere in the time that a return takes, else within a moment after its first byte.
        private func cutShort(
            _ kind: String, timing: String, begin: (PairOnHosts) throws -> LabHost,
            isBegun: @escaping (PairOnHosts, LabHost) -> Bool
        ) throws {
            try PairOnHosts.story(arbiter: "witness", timing: timing) { pair in
                // Large enough that there is a middle.
                _ = try LabPostgres.query(
                    "create table large as select g, repeat(md5(g::text), 8) from generate_series(1, 150000) g", on: pair.a)
                let first = try begin(pair)
                let began = SystemClock.now()
                try pair.wait("it came back", upTo: .seconds(60)) { try pair.history(first).contains { $0.kind == .rejoin } }
                try pair.waitUntilWhole()
                let usual = SystemClock.now() - began
                let entry = try #require(try pair.history(first).last { $0.kind == .rejoin })
                #expect(entry.cause == kind, "what is cut short is a \(kind): \(entry)")

                var middle = 0
                var longest = Duration.zero
                for moment in 0..<Self.moments {
                    let host = try begin(pair)
                    if moment % 2 == 1 { try pair.wait("the \(kind) is begun", upTo: .seconds(30)) { isBegun(pair, host) } }
                    pair.letTimePass(.nanoseconds(Int64.random(in: 0...(moment % 2 == 1 ? 400_000_000 : usual))))
                    try host.powerOff()
                    if isBegun(pair, host) { middle += 1 }
                    let booted = SystemClock.now()
                    try host.boot()
                    try pair.waitUntilWhole(upTo: .seconds(90))
                    longest = max(longest, .nanoseconds(SystemClock.now() - booted))
                    #expect(!isBegun(pair, host), "nothing is left of it")
                    let halves = pair.lab.hosts.filter {
                        access($0.diskPath(of: LabPostgres.debianDataDirectory + ".pgtandem-new"), F_OK) == 0
                    }
                    #expect(halves.isEmpty, "half a copy is left")
                }
                print("\(kind): \(Self.moments) moments, \(middle) of them in its middle; whole again after \(longest) at most")
                #expect(middle > 0, "none of the moments was in the middle")
            }
        }
    }
}

extension PairOnHosts {
    /// Of a file in a host's state directory; empty: it is not there.
    fileprivate func words(on host: LabHost, in name: String) -> String {
        let path = host.diskPath(of: "/var/lib/pgtandem/" + name)
        return FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
