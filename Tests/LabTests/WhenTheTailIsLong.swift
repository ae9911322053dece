import Foundation
import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// The primary's PostgreSQL is dead while its host lives: the standby gets what it lacks from the dead instance's `pg_wal` by the agents'
    /// link before it is promoted, so that even asynchronous mode loses nothing (protocol.md 6.3).
    ///
    /// 48 MB; `PGTANDEM_TAIL=200 ./test --filter WhenTheTailIsLong` takes 200 (`docs/evidence.md`).
    @Suite struct WhenTheTailIsLong {
        static let megabytes = ProcessInfo.processInfo.environment["PGTANDEM_TAIL"].flatMap { Int($0) } ?? 48
        /// Of the whole link, in kB/s: slower than any disk, so that it is what counts.
        static let link = 60_000

        @Test func nothingIsLostThoughTheStreamWasSlow() throws {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            configuration.mode = "asynchronous"
            configuration.more = "limits: { promote: { bytes: 2GB, age: 600s }, handover: { bytes: 2GB } }"
            try PairOnHosts.story(configuration) { pair in
                _ = try LabPostgres.query("create table tail (words text)", on: pair.a)
                try pair.lab.setRate(kilobytesPerSecond: 500, from: "a", to: "b", tcpPort: 5432)
                try pair.lab.setRate(kilobytesPerSecond: Self.link, from: "a", to: "b")
                let behind = "select pg_current_wal_flush_lsn() - min(flush_lsn) from pg_stat_replication"
                func lacking() throws -> Int { Int(try LabPostgres.query(behind, on: pair.a).first ?? "") ?? 0 }
                while try lacking() < Self.megabytes << 20 {
                    _ = try LabPostgres.query(
                        "insert into tail select md5(random()::text) || md5(random()::text) from generate_series(1, 50000)",
                        on: pair.a)
                }
                let rows = try LabPostgres.query("select count(*) from tail", on: pair.a)
                #expect(try pair.status(pair.a).bond == "paired", "slow is not lost")
                let tail = try lacking()
                let byHand = try copyByHand(pair, bytes: tail)

                let began = SystemClock.now()
                #expect(try pair.a.kill(.postmaster) == 1)
                try pair.wait("b has the role", upTo: .seconds(60)) {
                    pair.statusIfAny(pair.b)?.role.hasPrefix("primary") == true
                }
                try pair.letClientsWrite(20)
                let outage = try pair.outage(since: began).writes.longestGap
                #expect(try LabPostgres.query("select count(*) from tail", on: pair.b) == rows, "every row is there")
                let words = "the rest of the WAL came from the other host's disk"
                let line = try #require(String(contentsOfLog: pair.b).split(separator: "\n").last { $0.contains(words) })
                print(
                    "tail: \(tail >> 20) MiB by a link of \(Self.link) kB/s; by hand \(byHand.text); \(line); writes were out for \(outage.text)"
                )
                try pair.lab.heal()
                try pair.waitUntilWhole(primary: "b", upTo: .seconds(90))
            }
        }

        /// The least that anybody needs: so many bytes of the same files by the same link onto the other host's disk.
        private func copyByHand(_ pair: PairOnHosts, bytes: Int) throws -> Duration {
            let receiver = """
                import socket, os
                s = socket.create_server(("", 7999)); c, _ = s.accept()
                f = os.open("/var/lib/pgtandem/by-hand", os.O_CREAT | os.O_WRONLY); n = 0
                while n < \(bytes):
                    b = c.recv(1 << 20)
                    if not b: break
                    os.write(f, b); n += len(b)
                os.fsync(f); os.unlink("/var/lib/pgtandem/by-hand"); c.send(b"x")
                """
            let sender = """
                import socket, glob
                left = \(bytes)
                s = socket.create_connection(("\(pair.b.address)", 7999))
                for path in sorted(glob.glob("\(LabPostgres.debianDataDirectory)/pg_wal/0*[0-9A-F]"))[::-1]:
                    data = open(path, "rb").read()[:left]; s.sendall(data); left -= len(data)
                    if left <= 0: break
                s.sendall(bytes(left)); s.recv(1)
                """
            _ = try pair.b.spawn(
                ["/usr/bin/python3", "-c", receiver], outputPath: pair.b.diskPath(of: "/var/log/postgresql/by-hand.log"))
            try pair.wait("the receiver listens") { try pair.b.demand(["ss", "-Hltn", "sport = :7999"]).contains("7999") }
            let began = SystemClock.now()
            try pair.a.demand(["/usr/bin/python3", "-c", sender], deadline: .seconds(120))
            return .nanoseconds(SystemClock.now() - began)
        }
    }
}
