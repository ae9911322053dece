import Glibc
import TandemLab
import TandemSystem
import TandemWire
import Testing

extension OnHosts {
    /// The gates by which readers and promotions are kept from old data, on real PostgreSQL.
    @Suite struct WhenDataIsOld {
        private static let limits = "limits: { max_staleness: 4s, return_standby_address: { bytes: 4MB, age: 2s } }"

        private func story(_ body: (PairOnHosts) throws -> Void) throws {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            configuration.more = Self.limits
            try PairOnHosts.story(configuration) { pair in try body(pair) }
        }

        /// `limits.max_staleness` is passed, readers are served by the primary, and both hosts say why.
        private func expectOld(_ pair: PairOnHosts, _ code: String) throws {
            try pair.wait("both say that it could not take over") {
                try [pair.a, pair.b].allSatisfy {
                    try pair.status($0).failover_ready.reasons?.contains { $0.code == code } == true
                }
            }
            try pair.wait("the primary has both addresses") {
                try pair.status(pair.a).addresses == [Lab.primaryAddress, Lab.standbyAddress]
                    && pair.status(pair.b).addresses.isEmpty
            }
            for host in [pair.a, pair.b] {
                let notes = try pair.status(host).notes
                #expect(
                    notes.contains { $0.contains("the standby address is with the primary") && $0.contains("the limit is 2s") },
                    "\(notes)")
            }
            #expect(try (pair.status(pair.b).lag_seconds ?? 0) > 3)
            #expect(try pair.refused(pair.a, "switchover").contains("[\(code)]"))
        }

        private func expectFresh(_ pair: PairOnHosts) throws {
            try pair.waitUntilWhole(primary: "a")
            #expect(try (pair.status(pair.b).lag_seconds ?? .infinity) < 2)
            let notes = try pair.status(pair.b).notes
            #expect(notes.isEmpty, "\(notes)")
        }

        @Test func aDelayedStandbyServesNobodyAndIsNotPromoted() throws {
            try story { pair in
                try sql("alter system set recovery_min_apply_delay = '10min'", on: pair.b)
                try sql("select pg_reload_conf()", on: pair.b)
                try expectOld(pair, "delayed")
                // Its primary is lost, and it is not promoted: what it has is not what was acknowledged to be seen.
                try pair.a.powerOff()
                try pair.wait("the standby notices") { try pair.status(pair.b).peer.reachable == false }
                let outlasted = SystemClock.after(.seconds(5))
                try pair.wait("longer than a lease") {
                    let role = try pair.status(pair.b).role
                    #expect(role == "standby")
                    return SystemClock.now() > outlasted
                }
                #expect(try pair.status(pair.b).failover_ready.reasons?.contains { $0.code == "delayed" } == true)
                try pair.a.boot()
                try pair.wait("the old primary serves") { pair.statusIfAny(pair.a)?.role.hasPrefix("primary") == true }
                try sql("alter system reset recovery_min_apply_delay", on: pair.b)
                try sql("select pg_reload_conf()", on: pair.b)
                try expectFresh(pair)
            }
        }

        @Test func pausedReplayIsToldAndTheAddressComesBackWithIt() throws {
            try story { pair in
                try sql("select pg_wal_replay_pause()", on: pair.b)
                try expectOld(pair, "replayPaused")
                try pair.letClientsWrite(100)
                #expect(try pair.status(pair.a).bond == "paired", "commits go on, as it receives all WAL")
                try sql("select pg_wal_replay_resume()", on: pair.b)
                try expectFresh(pair)
            }
        }

        /// H63: a backup tool, a person at psql. The standby meets the lock too, by WAL.
        @Test func aLongLockOnTheHeartbeatTableDisturbsNobody() throws {
            try story { pair in
                let beat = try sql("select beat from pgtandem.heartbeat", on: pair.b)
                #expect(!beat.isEmpty, "the standby has the row")
                try pair.undisturbed {
                    let psql = try pair.a.spawn(
                        [
                            "/bin/sh", "-c",
                            "(echo 'begin; lock table pgtandem.heartbeat;'; sleep 60) | psql -X -h /var/run/postgresql -U postgres postgres",
                        ], user: "postgres", outputPath: "\(pair.lab.folder)/lock")
                    for (host, word) in [(pair.a, "written"), (pair.b, "read")] {
                        try pair.wait("\(host.name) says so") {
                            try pair.status(host).notes.contains {
                                $0.contains("the heartbeat row has not been \(word)") && $0.contains("somebody holds a lock")
                            }
                        }
                        #expect(try pair.status(host).heartbeat_row?.problem?.contains("somebody holds a lock") == true)
                    }
                    try pair.letClientsWrite(200)
                    #expect(pair.isWhole(primary: "a"), "ready for a failover all the same")
                    psql.stop()
                    try sql(
                        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%lock table pgtandem%' and pid <> pg_backend_pid()",
                        on: pair.a)
                    try pair.wait("it beats again") {
                        try [pair.a, pair.b].allSatisfy {
                            try pair.status($0).notes.isEmpty && pair.status($0).heartbeat_row?.beat != nil
                        }
                    }
                }
            }
        }

        @discardableResult
        private func sql(_ text: String, on host: LabHost) throws -> [String] { try LabPostgres.query(text, on: host) }
    }
}
