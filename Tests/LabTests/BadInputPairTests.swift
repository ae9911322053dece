import Foundation
import TandemLab
import TandemSystem
import Testing

extension OnHosts.BadInput {
    /// What happens to a pair that runs, from outside and at its second host.
    @Test func aSoundPairGoesOnWhateverKnocksAndSaysWhyItCannotPair() throws {
        try BadInputLab.pair { it in
            try strangers(it)
            try addressesOfOthers(it)
            try differingConfigurations(it)
            try copiesOfOthers(it)
            try anotherDatabase(it)
        }
    }

    // MARK: - on the agents' port

    private func strangers(_ it: BadInputLab) throws {
        let before = try it.log(it.a).count
        let target = "\(it.a.address):7432"
        for words in ["GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n", "\\0\\1\\2 garbage \\377\\376", ""] {
            let perl =
                "use IO::Socket::IP; for (1..20) { my $s = IO::Socket::IP->new('\(target)') or die; print $s \"\(words)\"; \(words.isEmpty ? "" : "<$s>") }"
            // From the gateway: an address that is none of the pair's.
            try it.onGateway(["/usr/bin/perl", "-e", perl])
        }
        // With certificates of another authority for the very same names, and of another cluster, from the other host's address.
        for cluster in ["orders", "others"] {
            let folder = try it.otherAuthority(it.b, cluster: cluster)
            try it.shell(
                it.b,
                "for i in 1 2 3; do openssl s_client -connect \(target) -tls1_3 -cert \(folder)/node.crt -key \(folder)/node.key </dev/null >/dev/null 2>&1; done; true"
            )
        }
        try it.shell(it.b, "rm -r /etc/pgtandem/other")
        try it.wait("they are told") { try it.log(it.a).dropFirst(before).contains("address=10.77.0.12:") }
        let lines = try it.log(it.a).dropFirst(before).split(separator: "\n")
        for address in ["10.77.0.1:", it.b.address + ":"] {
            let refusals = lines.filter { $0.contains("a connection was refused") && $0.contains("address=\(address)") }
            #expect(refusals.count == 1, "told once for \(address): \(refusals)")
        }
        #expect(!lines.contains { $0.contains("path to the other host is down") }, "\(lines)")
        #expect(it.isWhole())
    }

    // MARK: - another machine has our addresses

    private func addressesOfOthers(_ it: BadInputLab) throws {
        for (host, address) in [(it.a, Lab.primaryAddress), (it.b, Lab.standbyAddress)] {
            let before = try it.log(host).count
            try it.onGateway(["ip", "address", "add", "\(address)/32", "dev", "eth0"])
            try host.demand(["ip", "address", "del", "\(address)/32", "dev", "eth0"])
            let isPrimary = address == Lab.primaryAddress
            if isPrimary {
                // With authority it is taken regardless, with an alarm, and announced again.
                try it.wait("the alarm") {
                    try it.log(host).dropFirst(before).contains(
                        "another machine answers for an address of ours; it is announced again")
                }
                try it.wait("it is held") { try it.status(host).addresses == [address] }
                let alarm = try it.log(host).dropFirst(before).split(separator: "\n").first {
                    $0.contains("another machine answers")
                }
                #expect(
                    alarm?.contains("error") == true && alarm?.contains("02:77:00:00:00:01") == true
                        && alarm?.contains(address) == true, "\(alarm ?? "")")
            } else {
                let cause = "could not take the standby address: another machine answers for it (\(address) at 02:77:00:00:00:01)"
                try it.wait("the reason is told") {
                    let text = try it.tellingStatus(host)
                    return try it.log(host).dropFirst(before).contains(cause) && text.contains(cause)
                }
                // As long as somebody answers: some more rounds of asking.
                for _ in 0..<10 { #expect(try it.status(host).addresses.isEmpty) }
                let told = try it.log(host).dropFirst(before).split(separator: "\n").filter { $0.contains(cause) }
                #expect(told.count == 1, "told once: \(told)")
            }
            try it.onGateway(["ip", "address", "del", "\(address)/32", "dev", "eth0"])
            try it.waitUntilWhole()
        }
    }

    // MARK: - the two hosts do not agree

    private func differingConfigurations(_ it: BadInputLab) throws {
        let good = it.script.configuration.yaml(node: it.b, hosts: it.lab.hosts)
        for (file, isDifferent) in [(good + "limits: { max_staleness: 31s, handover: { bytes: 17MB } }\n", true), (good, false)] {
            try it.b.configure(files: [LabConfiguration.path: HostFile(file)])
            try it.b.killService()
            try it.b.startService()
            let words = "the configurations of the hosts differ in limits.handover.bytes, limits.max_staleness"
            for host in [it.a, it.b] {
                try it.wait("\(host.name) knows") {
                    try it.tellingStatus(host).contains(words) == isDifferent && it.tellingStatus(host).contains("standby")
                }
            }
            try it.waitUntilWhole()
        }
    }

    // MARK: - the second host's directory

    private func copiesOfOthers(_ it: BadInputLab) throws {
        let mark = BadInputLab.data + "/pgtandem.copy"
        _ = try it.b.stopService()
        try it.shell(it.b, "cp -a \(mark) /var/lib/postgresql/mark.kept")
        let first = try #require(try DurableFile.read(it.a.diskPath(of: mark)))
        try it.b.configure(files: [mark: HostFile(first, mode: 0o600, owner: "postgres")])
        try it.agentOnlyLooks(on: it.b, "is not the one that the ledger names", "pgtandem join", butState: true)
        try it.shell(it.b, "rm \(mark)")
        try it.agentOnlyLooks(on: it.b, "copy unknown", "is not the one that the ledger names", "pgtandem join", butState: true)
        try it.shell(it.b, "cp -a /var/lib/postgresql/mark.kept \(mark)")
        #expect(try it.status(it.a).role == "primary_standby")
        try it.b.startService()
        try it.waitUntilWhole()
    }

    /// A database of its own in the place of the copy, with the copy's mark: it is never paired.
    private func anotherDatabase(_ it: BadInputLab) throws {
        let data = BadInputLab.data
        _ = try it.b.stopService()
        try it.shell(it.b, "mv \(data) \(data).kept")
        try LabPostgres.plain(it.b).create()
        try it.shell(
            it.b,
            "cp -a \(data).kept/pgtandem.copy \(data)/ && echo \"include_if_exists = '/var/lib/pgtandem/postgresql.conf.pgtandem'\" >> \(data)/postgresql.conf"
        )
        try it.b.startService()
        for host in [it.a, it.b] {
            try it.wait("\(host.name) says why") {
                try it.tellingStatus(host).contains("the hosts hold different databases: system identifier")
            }
            for _ in 0..<10 { #expect(try it.status(host).bond == "sole") }
        }
        let status = try it.status(it.b)
        #expect(status.addresses.isEmpty && !status.failover_ready.ok)
        for command in [["switchover"], ["switchover", "--dry-run"]] {
            let refused = try it.a.run([BadInputLab.program] + command, deadline: .seconds(30))
            #expect(refused.ending == .exited(1), "\(refused.output) \(refused.errors)")
        }
        _ = try it.b.stopService()
        try it.shell(it.b, "rm -rf \(data) && mv \(data).kept \(data)")
        try it.b.startService()
        try it.waitUntilWhole()
    }
}

extension BadInputLab {
    /// Runs a program in the gateway's network, which is no machine of its own.
    @discardableResult
    func onGateway(_ arguments: [String]) throws -> String {
        let name = lab.folder.split(separator: "/").last.map(String.init) ?? ""
        let result = try Tool("/usr/sbin/ip", ["netns", "exec", "\(name)-gateway"] + arguments).run(deadline: .seconds(30))
        guard result.succeeded else { throw Told("\(arguments) on the gateway: \(result.ending) \(result.errors)") }
        return result.output
    }
}
