import Foundation
import TandemLab
import TandemSystem
import Testing

extension OnHosts.BadInput {
    /// A host whose database has an agent already: what it finds at its next start, and a second one beside it.
    @Test func anAgentThatCannotKnowTakesNoRoleAndTouchesNothing() throws {
        try BadInputLab.hosts { it in
            try it.script.command(on: it.a, ["init"])
            try it.a.startService()
            try it.waitUntilAlone()
            try aSecondAgent(it)
            try damagedLedgers(it)
            _ = try it.a.stopService()
            try foreignDirectories(it)
            try missingDirectories(it)
            try portInUse(it)
            try missingInterface(it)
            try it.a.startService()
            try it.waitUntilAlone()
        }
    }

    private func aSecondAgent(_ it: BadInputLab) throws {
        let cause = "runs on this host already"
        try it.refuses(it.a, ["run"], cause, "systemctl stop pgtandem")
        try it.refuses(it.a, ["init"], cause, "systemctl stop pgtandem")
        try it.refuses(it.a, ["join"], cause, "systemctl stop pgtandem")
        // With a state directory of its own it is refused too, and the first one's socket stays.
        try it.shell(it.a, "install -d -o postgres -m 0700 /var/lib/pgtandem/second")
        let second = try it.badly(it.a, "state_directory: /var/lib/pgtandem", "state_directory: /var/lib/pgtandem/second")
        try it.refuses(it.a, ["run"] + second, "another agent answers", "control_socket")
        try it.shell(it.a, "rm -r /var/lib/pgtandem/second")
        #expect(try it.status(it.a).role == "primary_standby")
    }

    /// PostgreSQL runs, its agent is dead.
    private func damagedLedgers(_ it: BadInputLab) throws {
        try it.a.killService()
        let postmaster = it.postmaster(it.a)
        #expect(postmaster != nil)
        let ledger = BadInputLab.state + "/ledger"
        try it.shell(it.a, "cp -a \(ledger) \(ledger).kept")
        for (damage, cause) in [
            (": > \(ledger)", "it is empty"), ("truncate -s 100 \(ledger)", "lines instead of 3"),
            ("sed -i '2s/orders/ordess/' \(ledger)", "checksum"),
            ("sed -i '3s/./x/' \(ledger)", "checksum"), ("printf '\\377\\376' > \(ledger)", "it is not text"),
            ("sed -i '1s/1/2/' \(ledger)", "first line"),
        ] {
            try it.shell(it.a, damage)
            for command in [["run"], ["init"], ["join"]] {
                try it.refuses(it.a, command, ledger, "is damaged", cause, "nothing was touched", "pgtandem join")
            }
            try it.shell(it.a, "cp -a \(ledger).kept \(ledger)")
        }
        try it.shell(it.a, "chown root:root \(ledger)")
        try it.refuses(it.a, ["run"], ledger, "Permission denied", "chown postgres")
        try it.shell(it.a, "mv \(ledger).kept \(ledger)")
        #expect(it.postmaster(it.a) == postmaster)
        try it.a.startService()
        try it.waitUntilAlone()
        #expect(it.postmaster(it.a) == postmaster, "nobody noticed")
    }

    private func foreignDirectories(_ it: BadInputLab) throws {
        let mark = BadInputLab.data + "/pgtandem.copy"
        try it.shell(it.a, "cp -a \(mark) /var/lib/postgresql/mark.kept")
        let another = "0123456789abcdef0123456789abcdef"
        for (file, words) in [
            (BadInputLab.mark(node: "b", copy: another), ["is an unfinished copy of b's", "pgtandem join"]),
            (BadInputLab.mark(node: "a", copy: another), ["names another directory", "person must decide"]),
        ] {
            try it.a.configure(files: [mark: file])
            try it.agentOnlyLooks(
                on: it.a, "copy 01234567", "not the one that the ledger names", "put that one back", "pgtandem join")
            try it.refuses(it.a, ["init"], words[0], words[1])
        }
        try it.shell(it.a, "rm \(mark)")
        try it.agentOnlyLooks(on: it.a, "copy unknown", "not the one that the ledger names", "put that one back")
        try it.refuses(it.a, ["init"], "carries no mark of ours", "move /var/lib/pgtandem/ledger away")
        try it.shell(it.a, "echo nonsense > \(mark) && chown postgres \(mark)")
        try it.agentOnlyLooks(on: it.a, "does not fit its checksum", "pgtandem join")
        for command in [["init"], ["join"]] { try it.refuses(it.a, command, mark, "checksum", "pgtandem join") }
        try it.shell(it.a, "cp -a /var/lib/postgresql/mark.kept \(mark)")
    }

    private func missingDirectories(_ it: BadInputLab) throws {
        let data = BadInputLab.data
        try it.shell(it.a, "mv \(data) \(data).kept")
        try it.agentOnlyLooks(on: it.a, "\(data) does not exist", "mount its file system", "data_directory")
        try it.refuses(it.a, ["init"], "is a disk missing?", "remove /var/lib/pgtandem/ledger")
        try it.shell(it.a, "install -d -o postgres -m 0700 \(data)")
        try it.agentOnlyLooks(on: it.a, "\(data) is empty", "mount its file system", "pgtandem join")
        try it.refuses(it.a, ["init"], "is empty", "is a disk missing?", "remove /var/lib/pgtandem/ledger")
        // Remembered as a file system of its own: it is called by its name.
        let memory = "/var/lib/pgtandem/data-directory"
        try it.shell(it.a, "cp -a \(memory) \(memory).kept && sed -i 's#^mount .*#mount \(data)#' \(memory)")
        for command in [["init"], ["join"]] { try it.refuses(it.a, command, "\(data) is not mounted", "mount it first") }
        try it.shell(it.a, "mv \(memory).kept \(memory)")
        try it.shell(it.a, "echo precious > \(data)/thesis.txt")
        try it.agentOnlyLooks(on: it.a, "no data directory", "data_directory")
        try it.refuses(it.a, ["init"], "thesis.txt", "data_directory")
        try it.refuses(it.a, ["join"], "thesis.txt", "mv \(data)")
        try it.shell(it.a, "rm -r \(data) && mv \(data).kept \(data) && chown nobody \(data) \(data)/PG_VERSION")
        try it.agentOnlyLooks(on: it.a, "belongs to nobody", "chown -R postgres: \(data)", "os_user")
        try it.refuses(it.a, ["init"], "belongs to nobody", "chown -R postgres: \(data)")
        try it.shell(it.a, "chown postgres \(data) \(data)/PG_VERSION && mv \(data)/global \(data)/elsewhere")
        try it.agentOnlyLooks(on: it.a, "unfinished copy", "pgtandem join")
        try it.shell(it.a, "mv \(data)/elsewhere \(data)/global")

        // Its disk comes late: the agent that waits goes on by itself.
        try it.shell(it.a, "mv \(data) \(data).kept && install -d -o postgres -m 0700 \(data)")
        try it.a.startService()
        try it.wait("it waits for the disk") { try it.tellingStatus(it.a).contains("is empty") }
        try it.shell(it.a, "mount --bind \(data).kept \(data)")
        try it.waitUntilAlone()
        _ = try it.a.stopService()
        try it.shell(it.a, "umount \(data) && rmdir \(data) && mv \(data).kept \(data)")
    }

    /// The server cannot start: said, tried again, and taken up when the port is free.
    private func portInUse(_ it: BadInputLab) throws {
        let taken = try it.listener(it.a, "::", 5432)
        try it.a.startService()
        try it.wait("the reason stands in the status") {
            let text = try it.tellingStatus(it.a)
            return text.contains("could not start PostgreSQL") && text.contains("5432") && text.contains("in use")
        }
        let status = try it.status(it.a)
        #expect(status.role == "none")
        #expect(status.addresses.isEmpty)
        _ = taken.stop()
        try it.waitUntilAlone()
        _ = try it.a.stopService()
    }

    private func missingInterface(_ it: BadInputLab) throws {
        let good = it.script.configuration.yaml(node: it.a, hosts: it.lab.hosts)
        try it.a.configure(files: [
            LabConfiguration.path: HostFile(good.replacingOccurrences(of: "interface: eth0", with: "interface: eth7"))
        ])
        try it.a.startService()
        try it.wait("the reason stands in the status") {
            let text = try it.tellingStatus(it.a)
            return text.contains("eth7 failed: No such device") && text.contains("Name an existing interface")
        }
        #expect(try it.status(it.a).addresses.isEmpty)
        #expect(try it.log(it.a).contains("eth7"))
        _ = try it.a.stopService()
        try it.a.configure(files: [LabConfiguration.path: HostFile(good)])
    }
}
