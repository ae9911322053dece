import Foundation
import TandemSystem
import Testing

@testable import TandemLab

extension LabTests {
    @Suite("Clients and sniffer, against PostgreSQL servers that are moved by hand")
    struct Loads {
        @Test("A primary address that is away for a while is an outage of that length, truly recorded")
        func outageIsTrue() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                let server = try pair(lab).primary
                let load = try lab.startLoad()
                #expect(SystemClock.wait(upTo: .seconds(10)) { (load.counters()?.acknowledged ?? 0) > 100 })
                let began = SystemClock.now()
                try address("delete", Lab.primaryAddress, on: host)
                let before = try #require(load.counters())
                #expect(
                    !SystemClock.wait(upTo: .milliseconds(1500)) {
                        (load.counters()?.lastAcknowledgement ?? 0) > began + 200_000_000
                    })
                let back = SystemClock.now()
                try address("add", Lab.primaryAddress, on: host)
                #expect(SystemClock.wait(upTo: .seconds(10)) { (load.counters()?.acknowledged ?? 0) > before.acknowledged + 100 })
                let log = try load.stop()
                let outage = log.writeOutage(from: began, to: SystemClock.now())
                // The client may need one more attempt to connect (300 ms) after the address is back.
                #expect(outage.longestGap > .nanoseconds(back - began) - .milliseconds(50))
                #expect(outage.longestGap < .nanoseconds(back - began) + .milliseconds(700))
                #expect(outage.hasEnded && outage.usualGap < .milliseconds(50))
                #expect(!log.errors.isEmpty && log.reads.count > 50)
                let report = try lab.check(logs: [log], sightings: []) { sql throws(LabError) in try server.query(sql) }
                #expect(report.violations == [])
                #expect(report.acknowledged == log.acknowledged.count && report.lost == 0)
            }
        }

        @Test("A failover by hand: the power goes, the standby takes over; nothing is lost, and the checker agrees")
        func failoverByHand() throws {
            try LabFixture.withLab { lab in
                let (primary, standby) = try pair(lab)
                let sniffer = try lab.startSniffer()
                let load = try lab.startLoad()
                #expect(SystemClock.wait(upTo: .seconds(10)) { (load.counters()?.acknowledged ?? 0) > 200 })
                #expect(sniffer.owners()[Lab.primaryAddress]?.hardware == primary.host.hardwareAddress)
                #expect(primary.host.postgresProcesses(.postmaster).count == 1)
                #expect(primary.host.postgresProcesses(.walsender).count == 1)
                #expect(primary.host.postgresProcesses(.backend).count >= 4)
                #expect(standby.host.postgresProcesses(.walreceiver).count == 1)
                let began = SystemClock.now()
                #expect(try primary.host.powerOff() < .seconds(1))
                try standby.append(["synchronous_standby_names = ''"], to: "postgresql.conf")
                try standby.promote()
                try address("add", Lab.primaryAddress, on: standby.host)
                try announce(Lab.primaryAddress, on: standby.host)
                let before = load.counters()?.acknowledged ?? 0
                #expect(SystemClock.wait(upTo: .seconds(10)) { (load.counters()?.acknowledged ?? 0) > before + 100 })
                #expect(load.counters()?.writeNode == "b")
                let log = try load.stop()
                let outage = log.writeOutage(from: began, to: SystemClock.now())
                #expect(outage.longestGap > .milliseconds(50) && outage.longestGap < .seconds(8))
                #expect(Set(log.acknowledged.map(\.timeline)) == [1, 2])
                let sightings = try sniffer.stop()
                #expect(Set(sightings.filter { $0.address == Lab.primaryAddress }.map(\.hardware)).count == 2)
                let report = try lab.check(logs: [log], sightings: sightings) { sql throws(LabError) in try standby.query(sql) }
                #expect(report.violations == [], "\(report.summary)")
                #expect(report.lost == 0)
            }
        }

        @Test("An acknowledgement with the warning of a cancelled wait for the standby does not count")
        func cancelledWait() throws {
            try LabFixture.withLab { lab in
                let (primary, standby) = try pair(lab)
                var spec = LoadSpec()
                spec.writers = 1
                spec.readers = 0
                let load = try lab.startLoad(spec)
                #expect(SystemClock.wait(upTo: .seconds(10)) { (load.counters()?.acknowledged ?? 0) > 20 })
                // Who dies of the postmaster's end before its turn is not counted.
                #expect(try standby.host.kill(nil) > 0)
                #expect(SystemClock.wait(upTo: .seconds(3)) { standby.host.postgresProcesses() == [] })
                let waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep';"
                #expect(try SystemClock.wait(upTo: .seconds(5)) { try primary.query(waits) == ["1"] })
                _ = try primary.query("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep';")
                #expect(SystemClock.wait(upTo: .seconds(5)) { (load.counters()?.uncertain ?? 0) > 0 })
                _ = try primary.query("alter system set synchronous_standby_names = '';")
                try primary.reload()
                let log = try load.stop()
                #expect(log.uncertain.first?.reason == "warning")
                let report = try lab.check(logs: [log], sightings: []) { sql throws(LabError) in try primary.query(sql) }
                #expect(report.violations == [])
                #expect(try #require(report.uncertainPresent) >= 1)
            }
        }

        @Test("The sniffer sees an address that two hosts answer for, in both families, and the checker calls it")
        func duplicateAddress() throws {
            try LabFixture.withLab { lab in
                for host in lab.hosts { try host.boot() }
                let (a, b) = (try lab.host("a"), try lab.host("b"))
                try address("add", Lab.primaryAddress, on: a)
                try address("add", Lab.standbyAddress6, on: b)
                let sniffer = try lab.startSniffer([Lab.primaryAddress, Lab.standbyAddress6])
                #expect(SystemClock.wait(upTo: .seconds(3)) { sniffer.owners().count == 2 })
                #expect(sniffer.owners()[Lab.standbyAddress6]?.hardware == b.hardwareAddress)
                #expect(try lab.check(logs: [], sightings: sniffer.sightings(), query: nil).holds)
                try address("add", Lab.primaryAddress, on: b)
                try announce(Lab.primaryAddress, on: b)
                func both() -> Bool {
                    let recent = sniffer.sightings().filter { $0.address == Lab.primaryAddress }
                    return recent.contains { $0.source == .claimed(port: "b") }
                        && recent.count { $0.hardware == b.hardwareAddress } > 16
                }
                #expect(SystemClock.wait(upTo: .seconds(3), until: both))
                let report = try lab.check(logs: [], sightings: try sniffer.stop(), query: nil)
                #expect(report.violations.map(\.promise) == [.oneHostPerAddress])
                #expect(
                    try #require(report.violations.first).evidence.contains(
                        "a (\(a.hardwareAddress)) and b (\(b.hardwareAddress))"))
            }
        }

        /// a is a synchronous primary with both addresses, b its standby.
        private func pair(_ lab: Lab) throws -> (primary: LabPostgres, standby: LabPostgres) {
            for host in lab.hosts { try host.boot() }
            let (a, b) = (try lab.host("a"), try lab.host("b"))
            let primary = LabPostgres.debian(a)
            try primary.create()
            try primary.append(["cluster_name = 'orders/a'"], to: "postgresql.conf")
            try primary.start()
            let standby = LabPostgres.plain(b)
            try standby.copy(from: a)
            // The copy brought none of Debian's configuration.
            let configuration = """
                cluster_name = 'orders/b'
                listen_addresses = '*'
                unix_socket_directories = '/var/run/postgresql'
                """
            try b.configure(files: [
                "\(standby.dataDirectory)/postgresql.conf": HostFile(configuration + "\n", mode: 0o600, owner: "postgres"),
                "\(standby.dataDirectory)/pg_hba.conf": HostFile(
                    "local all all trust\nhost all all all trust\nhost replication all all trust\n", mode: 0o600,
                    owner: "postgres"),
            ])
            try standby.start()
            _ = try primary.query("alter system set synchronous_standby_names = '*'; ")
            try primary.reload()
            #expect(
                try SystemClock.wait(upTo: .seconds(10)) {
                    try primary.query("select sync_state from pg_stat_replication;") == ["sync"]
                })
            _ = try primary.query(LoadSpec.setup)
            for one in [Lab.primaryAddress, Lab.standbyAddress] { try address("add", one, on: a) }
            return (primary, standby)
        }

        private func address(_ verb: String, _ address: String, on host: LabHost) throws {
            let long = address.contains(":") ? ["\(address)/128", "dev", "eth0", "nodad"] : ["\(address)/32", "dev", "eth0"]
            try host.demand(["ip", "address", verb] + (verb == "add" ? long : Array(long.prefix(3))))
        }

        /// A gratuitous ARP, as whoever takes an address must send one.
        private func announce(_ address: String, on host: LabHost) throws {
            let script = """
                import socket
                card = bytes.fromhex("\(host.hardwareAddress.replacing(":", with: ""))")
                own = socket.inet_aton("\(address)")
                s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
                s.bind(("eth0", 0))
                s.send(b"\\xff" * 6 + card + bytes.fromhex("08060001080006040001") + card + own + bytes(6) + own)
                """
            try host.demand(["/usr/bin/python3", "-c", script])
        }
    }
}
