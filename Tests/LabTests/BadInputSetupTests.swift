import Foundation
import Glibc
import TandemLab
import TandemSystem
import Testing

extension OnHosts.BadInput {
    /// From two bare hosts to a sound pair, with everything in between interrupted, and every wrong `join` refused.
    @Test func setupsThatAreInterruptedAnywhereAreCompletedByTheNextRun() throws {
        try BadInputLab.hosts { it in
            try it.interrupt(it.a, ["init"], times: 8)
            try it.script.command(on: it.a, ["init"])
            try it.a.startService()
            try it.waitUntilAlone()
            try refusedJoins(it)
            try anotherAuthority(it)
            #expect(try slots(it).isEmpty, "a refused join leaves nothing on the first host")
            try it.interrupt(it.b, ["join"], times: 8)
            try it.script.command(on: it.b, ["join"])
            #expect(try slots(it).count == 1, "interrupted ones neither")
            try wrongInitOnTheSecondHost(it)
            try it.b.startService()
            try it.waitUntilWhole()
            try theOldDirectoryAfterALostLedger(it)
        }
    }

    private func slots(_ it: BadInputLab) throws -> [String] {
        try LabPostgres.query("select slot_name from pg_replication_slots;", on: it.a)
    }

    private func refusedJoins(_ it: BadInputLab) throws {
        let data = BadInputLab.data
        let differing = try it.badly(
            it.b, "timing: { profile: standard }", "timing: { profile: relaxed }\nlimits: { max_staleness: 31s }")
        try it.refuses(it.b, ["join"] + differing, "differ in limits.max_staleness, timing.heartbeat", "make them agree")
        try it.refuses(
            it.b, ["join"] + (try Self.otherVersion(it, it.b)), "PostgreSQL 15 runs on the first host", "99", "bin_directory")
        let programs = try it.badly(it.b, "bin_directory: /usr/lib/postgresql/15/bin", "bin_directory: /usr/lib/postgresql/none")
        try it.refuses(it.b, ["join"] + programs, "/usr/lib/postgresql/none", "bin_directory")
        let address = try it.badly(it.b, it.a.address + "]", "10.77.0.99]")
        try it.refuses(it.b, ["join"] + address, exit: 3, "10.77.0.99:7432", "systemctl start pgtandem")
        let port = try it.badly(it.b, "agent_port: 7432", "agent_port: 7433")
        try it.refuses(it.b, ["join"] + port, exit: 3, "7433", "systemctl start pgtandem")
        let taken = try it.listener(it.b, "::", 5432)
        try it.refuses(it.b, ["join"], "port 5432", "ss -ltnp", "postgresql.port")
        _ = taken.stop()

        let postgres = LabPostgres.plain(it.b)
        try postgres.create()
        try it.refuses(it.b, ["join"], data, "holds an instance", "mv \(data)")
        try postgres.start()
        try it.refuses(it.b, ["join"], data, "PostgreSQL runs in the target", "Stop it")
        try postgres.stop()
        try it.shell(it.b, "rm -rf \(data)")
        for (owner, name) in [("postgres", "thesis.txt"), ("root", ".hidden")] {
            try it.shell(it.b, "install -d -o \(owner) -m 0700 \(data) && echo precious > \(data)/\(name)")
            try it.refuses(it.b, ["join"], name, "never deleted or overwritten", "mv \(data)")
            try it.shell(it.b, "rm -r \(data)")
        }
    }

    /// `tls create` run twice, for the same names: the files of two authorities do not mix.
    private func anotherAuthority(_ it: BadInputLab) throws {
        let before = try it.log(it.a)
        let file = try it.badly(
            it.b, "tls: { directory: /etc/pgtandem/tls }", "tls: { directory: \(try it.otherAuthority(it.b)) }")
        for _ in 1...4 { try it.refuses(it.b, ["join"] + file, "refuses this host", "pgtandem tls create") }
        let lines = try it.log(it.a).dropFirst(before.count).split(separator: "\n").filter {
            $0.contains("a connection was refused")
        }
        #expect(lines.count == 1, "told once: \(lines)")
        #expect(lines.allSatisfy { $0.contains("10.77.0.12") }, "\(lines)")
        let mixed = try it.badly(it.b, "tls: { directory: /etc/pgtandem/tls }", "tls: { directory: /etc/pgtandem/mixed }")
        try it.shell(
            it.b, "cp -a /etc/pgtandem/tls /etc/pgtandem/mixed && cp /etc/pgtandem/other/ca.crt /etc/pgtandem/mixed/ca.crt")
        try it.refuses(it.b, ["join"] + mixed, "did not sign it", "ONE folder")
        try it.shell(
            it.b, "cp -a /etc/pgtandem/tls/ca.crt /etc/pgtandem/mixed && cp -p /etc/pgtandem/other/node.key /etc/pgtandem/mixed/")
        try it.refuses(it.b, ["join"] + mixed, "it is not the key of", "Copy both files again")
        try it.shell(it.b, "rm -r /etc/pgtandem/mixed /etc/pgtandem/other")
    }

    /// After `join`, before its agent has ever run.
    private func wrongInitOnTheSecondHost(_ it: BadInputLab) throws {
        try it.refuses(it.b, ["init"], "standby by its ledger", "first host")
        try it.refuses(it.b, ["join"], exit: 0, "has joined already", "systemctl start pgtandem")
        try it.shell(it.b, "mv /var/lib/pgtandem/ledger /var/lib/pgtandem/ledger.kept")
        try it.refuses(it.b, ["init"], "never started", "pgtandem join")
        try it.shell(it.b, "mv /var/lib/pgtandem/ledger.kept /var/lib/pgtandem/ledger")
    }

    /// A standby that has lost its ledger is no first host.
    private func theOldDirectoryAfterALostLedger(_ it: BadInputLab) throws {
        _ = try it.b.stopService()
        try it.shell(it.b, "mv /var/lib/pgtandem/ledger /var/lib/pgtandem/ledger.kept")
        try it.refuses(it.b, ["init"], "is a standby", "pgtandem join")
        try it.agentOnlyLooks(on: it.b, "no ledger", "pgtandem join")
        try it.script.command(on: it.b, ["join"])
        try it.b.startService()
        try it.waitUntilWhole()
    }
}

extension BadInputLab {
    /// Runs a command and kills it at a random moment, so often; one that was done before is begun anew, on a bare host.
    func interrupt(_ host: LabHost, _ arguments: [String], times: Int) throws {
        var limit: UInt64 = 2500
        var moments: [UInt64] = []
        for _ in 0..<times {
            let moment = Random.word() % limit
            moments.append(moment)
            let output = "\(lab.folder)/interrupted-\(arguments[0]).out"
            let process = try host.spawn([Self.program] + arguments, outputPath: output)
            let began = SystemClock.now()
            if let ending = process.wait(upTo: .milliseconds(Int64(moment))) {
                guard ending == .exited(0) else {
                    throw Told(
                        "\(arguments) after interruptions at \(moments) ms: \(ending) \(try String(contentsOfFile: output, encoding: .utf8))"
                    )
                }
                // One that only had to complete another is short: the next, on a bare host, takes longer again.
                limit = max(limit * 3 / 4, UInt64(SystemClock.now() - began) / 1_000_000)
                // An interrupted `init` may have left the server running, and the next one leaves it so.
                try host.kill(nil)
                try wait("it is stopped") { host.postgresProcesses().isEmpty }
                try shell(host, "rm -rf \(Self.data) && find \(Self.state) /etc/pgtandem/replication.pass -type f -delete")
                continue
            }
            process.signal(SIGKILL)
            try wait("it is gone") { !host.processes().contains { $0.title.hasPrefix("\(Self.program) \(arguments[0])") } }
        }
        print("\(arguments[0]) interrupted at \(moments) ms")
    }

    /// A folder of certificates for the same cluster and node, of an authority of its own.
    func otherAuthority(_ host: LabHost, cluster: String = "orders") throws -> String {
        let folder = "/etc/pgtandem/other"
        let line =
            "rm -rf /tmp/made \(folder) && \(Self.program) tls create --cluster \(cluster) --directory /tmp/made && cp -r /tmp/made/\(host.name) \(folder)"
        try shell(host, "\(line) && chown -R postgres \(folder)")
        return folder
    }
}
