import Foundation
import TandemLab
import TandemSystem
import TandemWire
import Testing

/// Two hosts with certificates and configuration and nothing else: what meets bad input. No clients, no checker: what is checked
/// here is that nothing happens, and what is said about it.
final class BadInputLab {
    static let program = LabHost.programPath
    static let state = "/var/lib/pgtandem"
    static let data = LabPostgres.debianDataDirectory
    static let badFile = "/etc/pgtandem/bad.yml"

    let lab: Lab
    let script: LabScript
    let a: LabHost
    let b: LabHost

    private init(_ configuration: LabConfiguration) throws {
        let folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        lab = try Lab(LabOptions(binary: PairOnHosts.binary, directory: folder))
        script = LabScript(lab, configuration: configuration)
        a = lab.hosts[0]
        b = lab.hosts[1]
    }

    /// Hosts that are as `tls create` and a person's editor leave them.
    static func hosts(_ body: (BadInputLab) throws -> Void) throws {
        try story { it in
            try it.script.configure()
            for host in [it.a, it.b] {
                try host.boot()
                try host.demand(["install", "-d", "-o", "postgres", "-g", "postgres", "/var/lib/postgresql/15"])
            }
            try body(it)
        }
    }

    /// A sound pair.
    static func pair(_ body: (BadInputLab) throws -> Void) throws {
        try story { it in
            try it.script.bringUp()
            try it.waitUntilWhole()
            try body(it)
        }
    }

    private static func story(_ body: (BadInputLab) throws -> Void) throws {
        let it = try BadInputLab(LabConfiguration())
        do {
            try it.lab.start()
            try body(it)
        } catch {
            print(it.lastWords())
            try it.lab.stop()
            throw error
        }
        try it.lab.stop()
    }

    // MARK: - what is so

    func status(_ host: LabHost) throws -> StatusDocument {
        try JSON.decode(StatusDocument.self, from: Array(try script.status(of: host).text.utf8))
    }

    /// What a person reads.
    func statusText(_ host: LabHost) throws -> String { try host.demand([Self.program, "status"], deadline: .seconds(10)) }

    func log(_ host: LabHost) throws -> String { try String(contentsOfLog: host) }

    func isWhole() -> Bool {
        do {
            let first = try status(a)
            let second = try status(b)
            return first.role == "primary" && second.role == "standby" && first.bond == "paired" && second.bond == "paired"
                && first.addresses == [Lab.primaryAddress] && second.addresses == [Lab.standbyAddress]
                && first.failover_ready.ok && second.failover_ready.ok
        } catch {
            // An agent that does not answer is not part of a whole pair.
            return false
        }
    }

    /// The first host serves both roles, with both addresses.
    func waitUntilAlone() throws {
        try wait("a serves both roles") {
            do {
                let status = try self.status(self.a)
                return status.role == "primary_standby" && status.addresses == [Lab.primaryAddress, Lab.standbyAddress]
            } catch {
                // It does not answer yet.
                return false
            }
        }
    }

    func waitUntilWhole() throws { try wait("the pair is whole", upTo: .seconds(60)) { self.isWhole() } }

    func wait(_ what: String, upTo patience: Duration = .seconds(20), _ claim: () throws -> Bool) throws {
        guard try SystemClock.wait(upTo: patience, step: .milliseconds(50), until: claim) else {
            let texts = lab.hosts.map { host in
                do { return "\(host.name): \(try statusText(host))" } catch { return "\(host.name): \(error)" }
            }
            throw Told("not within \(patience): \(what)\n\(texts.joined(separator: "\n"))")
        }
    }

    func postmaster(_ host: LabHost) -> Int32? { host.postgresProcesses(.postmaster).first?.innerPID }

    /// Every file and folder that a command could have spoilt, with owner, mode, size and time; the addresses; the postmaster. A
    /// running server writes into its data directory all the time: then that is left out. Lock files are no content.
    func everything(on host: LabHost) throws -> [String] {
        let postmaster = postmaster(host)
        let folders = ["/etc/pgtandem", "/etc/postgresql", Self.state] + (postmaster == nil ? ["/var/lib/postgresql"] : [])
        let script = """
            find \(folders.joined(separator: " ")) -type d -printf '%p %u %m\\n' -o -printf '%p %u:%g %m %s %T@\\n'
            stat -c '%n %U %a' /run /tmp /etc /var/lib /run/pgtandem
            ip -o address show
            """
        let files = try host.demand(["/bin/sh", "-c", script]).split(separator: "\n").map(String.init)
            .filter { line in
                // Locks, and the journal, in which every run of an agent stands.
                !["/lock ", "setup.lock ", Self.state + "/journal"].contains(where: line.contains)
                    && !(postmaster != nil && line.contains("/postgresql-start.log "))
                    // A running agent's note of its server, which is written when there is time.
                    && !(postmaster != nil && line.contains(Self.state + "/postmaster "))
            }
        return files.sorted() + ["postmaster \(postmaster ?? 0)"]
    }

    private func lastWords() -> String {
        lab.hosts.map { host in
            let log =
                FileManager.default.contents(atPath: host.serviceLogPath).map { String(decoding: $0, as: UTF8.self) } ?? "no log"
            return "--- agent on \(host.name):\n" + log.split(separator: "\n").suffix(40).joined(separator: "\n")
        }.joined(separator: "\n")
    }

    // MARK: - checks

    /// The command ends with that status, says all of these words, and nothing is another than before.
    func refuses(
        _ host: LabHost, _ arguments: [String], exit: Int32 = 1, user: String? = nil, _ words: String...,
        at place: SourceLocation = #_sourceLocation
    ) throws {
        let before = try everything(on: host)
        let result = try host.run([Self.program] + arguments, user: user, deadline: .seconds(60))
        let said = result.output + result.errors
        #expect(result.ending == .exited(exit), "\(arguments): \(result.ending) \(said)", sourceLocation: place)
        for word in words {
            #expect(said.contains(word), "\(arguments) does not say `\(word)`: \(said)", sourceLocation: place)
        }
        let after = try everything(on: host)
        let changes = Set(before).symmetricDifference(after).sorted()
        #expect(changes.isEmpty, "\(arguments) touched: \(changes.joined(separator: "; "))", sourceLocation: place)
    }

    /// The agent runs, takes no role, and says why in `status`; it starts, makes and copies nothing.
    /// - Parameter butState: its own files follow what it hears from the other host.
    func agentOnlyLooks(
        on host: LabHost, _ words: String..., butState: Bool = false, at place: SourceLocation = #_sourceLocation
    ) throws {
        let before = try everything(on: host)
        try host.startService()
        do {
            try wait("the reason stands in the status: \(words)") {
                let text = try self.tellingStatus(host)
                return words.allSatisfy(text.contains)
            }
        } catch {
            Issue.record("\(error)", sourceLocation: place)
        }
        // The agent's patience for a start (protocol.md 5.2) is over by then.
        let role = try status(host).role
        #expect(role == "none", sourceLocation: place)
        _ = try host.stopService()
        let changes = Set(before).symmetricDifference(try everything(on: host)).sorted()
            .filter { !butState || !$0.hasPrefix(Self.state) }
        #expect(changes.isEmpty, "the agent touched: \(changes.joined(separator: "; "))", sourceLocation: place)
    }

    /// Empty while the agent is not there yet.
    func tellingStatus(_ host: LabHost) throws -> String {
        let result = try host.run([Self.program, "status"], deadline: .seconds(10))
        return result.succeeded ? result.output : ""
    }

    // MARK: - bad input

    /// The host's configuration with one text replaced by another, in a file of its own: the arguments that name it.
    func badly(_ host: LabHost, _ old: String, _ new: String) throws -> [String] {
        let good = script.configuration.yaml(node: host, hosts: lab.hosts)
        guard good.contains(old) else { throw Told("`\(old)` does not stand in the configuration") }
        return try badly(host, yaml: good.replacingOccurrences(of: old, with: new))
    }

    func badly(_ host: LabHost, yaml: String) throws -> [String] {
        try host.configure(files: [Self.badFile: HostFile(yaml)])
        return ["--config", Self.badFile]
    }

    /// The file in a data directory that says whose copy it is, as the program writes it.
    static func mark(node: String, copy: String) -> HostFile {
        let facts = "pgtandem copy mark 1\ncopy \(copy)\nnode \(node)\n"
        let sum = facts.utf8.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        return HostFile(facts + "sum \(String(sum, radix: 16))\n", mode: 0o600, owner: "postgres")
    }

    func shell(_ host: LabHost, _ line: String) throws { try host.demand(["/bin/sh", "-c", line]) }

    /// Something that listens there, until it is stopped.
    func listener(_ host: LabHost, _ address: String, _ port: Int) throws -> LabProcess {
        let perl =
            "use IO::Socket::IP; my $s = IO::Socket::IP->new(V6Only => 0, LocalAddr => '\(address)', LocalPort => \(port), Listen => 5, ReuseAddr => 1) or die; <STDIN>"
        let process = try host.spawn(["/usr/bin/perl", "-e", perl], outputPath: lab.folder + "/listener.out")
        try wait("somebody listens on \(port)") { try host.demand(["ss", "-Hltn", "sport = :\(port)"]).contains(":\(port)") }
        return process
    }
}
