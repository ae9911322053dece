import Foundation
import TandemSystem

/// Brings a pair up in a started lab, with the commands and in the order that a person would use.
public struct LabScript: Sendable {
    /// A step that begins, or a line of a running command.
    public enum Progress: Sendable, Equatable {
        case step(String)
        case line(String)
    }

    public let lab: Lab
    public var configuration: LabConfiguration
    /// On both hosts; nil: the lab's own service manager runs agent and guard.
    public var units: LabUnits?
    /// On the witness's machine.
    public var witnessUnits: LabUnits?
    /// Called in the calling thread and in those that read the commands' output.
    public var progress: @Sendable (Progress) -> Void
    /// Of each command; a copy of a big database takes its time.
    public var deadline: Duration = .seconds(120)

    public init(
        _ lab: Lab, configuration: LabConfiguration = LabConfiguration(),
        progress: @escaping @Sendable (Progress) -> Void = { _ in }
    ) {
        self.lab = lab
        self.configuration = configuration
        self.progress = progress
    }

    /// The pair: the first two hosts.
    private var nodes: [LabHost] { Array(lab.hosts.prefix(2)) }

    /// From nothing to a sound pair with a table for the load.
    /// - Parameter preparing: runs on the first host after its boot and before `init`: an instance that is there already.
    /// - Throws: the first command that failed, with its last words.
    public func bringUp(preparing: (LabHost) throws(LabError) -> Void = { _ in }) throws(LabError) {
        guard lab.hosts.count >= 2 else {
            throw LabError(attempted: "bring a pair up", happened: "the lab has \(lab.hosts.count) hosts")
        }
        let (first, second) = (lab.hosts[0], lab.hosts[1])
        try configure()
        if lab.options.hasWitness { try startWitness() }
        progress(.step("\(first.name): boot"))
        try first.boot()
        try makeDataFolder(on: first)
        try preparing(first)
        try command(on: first, ["init"])
        try startAgent(on: first)
        try waitUntil(on: first, "it is primary alone", upTo: .seconds(30)) { $0.role == "primary_standby" }
        try allowClients(on: first)
        progress(.step("\(second.name): boot"))
        try second.boot()
        try makeDataFolder(on: second)
        try command(on: second, ["join"])
        try startAgent(on: second)
        try waitUntil(on: first, "the pair is paired", upTo: deadline) { $0.bond == "paired" }
        try allowClients(on: second)
        progress(.step("\(first.name): table for the load"))
        _ = try LabPostgres.query(LoadSpec.setup, on: first)
    }

    /// What Debian's package has made on a real host: the folder of the major version.
    private func makeDataFolder(on host: LabHost) throws(LabError) {
        let parent = LabPostgres.debianDataDirectory.split(separator: "/").dropLast().joined(separator: "/")
        try host.demand(["install", "-d", "-o", lab.options.osUser, "-g", lab.options.osUser, "/" + parent])
    }

    /// The witness's machine is booted, and the witness listens.
    public func startWitness() throws(LabError) {
        let machine = try lab.witness
        progress(.step("\(machine.name): boot, and until the witness listens"))
        try machine.boot()
        var last = "nothing"
        let listens = SystemClock.wait(upTo: .seconds(15), step: .milliseconds(50)) {
            do throws(LabError) {
                last = try machine.demand(
                    ["ss", "-Hltn", "sport = :\(Lab.witnessPort)"], deadline: .seconds(5))
                return !last.isEmpty
            } catch {
                last = "\(error)"
                return false
            }
        }
        guard listens else {
            let log =
                Text.read(machine.serviceLogPath)?.split(separator: "\n").suffix(3).joined(separator: "; ")
                ?? "nothing"
            throw LabError(
                attempted: "start the witness",
                happened: "it does not listen within 15 s; it said: \(log) \(last)",
                advice: "Look at \(machine.serviceLogPath).")
        }
    }

    /// Certificates and configuration files onto all disks; the agent, where there is one the guard, and the witness become
    /// services.
    public func configure() throws(LabError) {
        let folder = "\(lab.folder)/tls"
        let names = nodes.map(\.name).joined(separator: ",")
        progress(.step("tls create"))
        let tool = Tool(
            lab.options.binary, ["tls", "create", "--cluster", configuration.cluster, "--directory", folder, "--nodes", names])
        let result = try asLabError { () throws(SystemError) in try tool.run(deadline: .seconds(30)) }
        try demand(result, "tls create")
        for host in nodes {
            progress(.step("\(host.name): configuration"))
            let yaml = configuration.yaml(node: host, hosts: nodes)
            var files = [LabConfiguration.path: HostFile(yaml, mode: 0o644)]
            files.merge(
                try certificates(
                    "\(folder)/\(host.name)", to: LabConfiguration.tlsDirectory, owner: lab.options.osUser)
            ) { $1 }
            if let units { files.merge(units.files) { $1 } }
            try host.configure(files: files)
            // Not before `init` or `join`; from then on at each boot.
            setServices(of: host)
        }
        guard lab.options.hasWitness else { return }
        let machine = try lab.witness
        progress(.step("\(machine.name): configuration"))
        let (tls, state) = (
            LabConfiguration.witnessTLSDirectory, LabConfiguration.witnessStateDirectory
        )
        try machine.configure(files: try certificates("\(folder)/witness", to: tls, owner: "root"))
        if let witnessUnits {
            try machine.configure(files: witnessUnits.files)
            return machine.setService(witnessUnits.command, as: .witness, startsAtBoot: true)
        }
        machine.setService(
            [
                LabHost.programPath, "witness", "--listen", "\(Lab.witnessAddress):\(Lab.witnessPort)",
                "--state", state,
                "--tls", tls,
            ], as: .witness, startsAtBoot: true)
    }

    /// As a person does after `tls renew` in the lab's folder `tls`: onto the disk, no program is told.
    public func copyCertificates(to host: LabHost) throws(LabError) {
        let isWitness = !nodes.contains { $0.name == host.name }
        try host.configure(
            files: try certificates(
                "\(lab.folder)/tls/\(isWitness ? "witness" : host.name)",
                to: isWitness ? LabConfiguration.witnessTLSDirectory : LabConfiguration.tlsDirectory,
                owner: isWitness ? "root" : lab.options.osUser))
    }

    /// As the packages' unit files: two services, and the guard's last act after the end of either (`ExecStopPost`).
    private func setServices(of host: LabHost) {
        if let units { return host.setService(units.command, startsAtBoot: false) }
        guard lab.options.hasGuard else {
            return host.setService([LabHost.programPath, "run"], startsAtBoot: false)
        }
        let guardian = [LabHost.programPath, "guard", "--config", LabConfiguration.path]
        let lastAct = [LabHost.programPath, "guard", "--last-act", "--config", LabConfiguration.path]
        host.setService(guardian, as: .guardian, lastAct: lastAct, startsAtBoot: false)
        host.setService([LabHost.programPath, "run"], lastAct: lastAct, startsAtBoot: false)
    }

    private func certificates(
        _ source: String, to target: String, owner: String
    ) throws(LabError) -> [String: HostFile] {
        var files: [String: HostFile] = [:]
        for name in ["ca.crt", "node.crt", "node.key"] {
            guard let content = Text.read("\(source)/\(name)") else {
                throw LabError(
                    attempted: "read \(source)/\(name)", happened: "`tls create` did not make it")
            }
            files["\(target)/\(name)"] = HostFile(
                content, mode: name == "node.key" ? 0o600 : 0o644, owner: owner)
        }
        return files
    }

    /// What `pgtandem status --json` says, as far as the lab needs it.
    public struct Status: Sendable {
        public var bond: String?
        public var role: String?
        /// The whole document.
        public var text: String

        /// Fields are looked for at any depth, the outermost first: the document may be of one node or of both.
        init(_ text: String) throws(LabError) {
            let document: Any
            do {
                document = try JSONSerialization.jsonObject(with: Data(text.utf8))
            } catch {
                throw LabError(attempted: "read the status", happened: "it is no JSON: \(text.prefix(200))")
            }
            self.text = text
            bond = Status.find("bond", in: document)
            role = Status.find("role", in: document)
        }

        private static func find(_ key: String, in value: Any) -> String? {
            if let object = value as? [String: Any] {
                if let found = object[key] as? String { return found }
                return object.sorted { $0.key < $1.key }.lazy.compactMap { find(key, in: $0.value) }.first
            }
            return (value as? [Any])?.lazy.compactMap { find(key, in: $0) }.first
        }
    }

    /// - Throws: also while the agent does not answer.
    public func status(of host: LabHost) throws(LabError) -> Status {
        try Status(try host.demand([LabHost.programPath, "status", "--json"], deadline: .seconds(5)))
    }

    /// Polls the status until the claim holds.
    /// - Throws: at the deadline, with the last status or error.
    public func waitUntil(
        on host: LabHost, _ what: String, upTo patience: Duration, _ claim: (Status) -> Bool
    ) throws(LabError) {
        progress(.step("\(host.name): until \(what)"))
        var last = "nothing"
        let reached = SystemClock.wait(upTo: patience, step: .milliseconds(100)) {
            do throws(LabError) {
                let status = try status(of: host)
                last = status.text
                return claim(status)
            } catch {
                last = "\(error)"
                return false
            }
        }
        guard reached else {
            throw LabError(
                attempted: "wait until \(what)", happened: "not within \(patience); last: \(last.prefix(600))",
                advice: "Look at \(host.serviceLogPath).")
        }
    }

    /// A command of the program on a host, as root, its lines passed on.
    public func command(on host: LabHost, _ arguments: [String]) throws(LabError) {
        let words = arguments.joined(separator: " ")
        progress(.step("\(host.name): pgtandem \(words)"))
        let result = try host.run(
            [LabHost.programPath] + arguments, deadline: deadline, onLine: { [progress] in progress(.line($0)) })
        try demand(result, "\(words) on \(host.name)")
    }

    private func startAgent(on host: LabHost) throws(LabError) {
        progress(.step("\(host.name): start the agent"))
        // As at a boot: the guard first.
        for service in lab.options.hasGuard && units == nil ? [HostService.guardian, .agent] : [.agent] {
            try host.startService(service)
            host.setServiceStartsAtBoot(true, service)
        }
    }

    /// The lab's clients log in from the client's address without a password; the agent owns only its own block.
    private func allowClients(on host: LabHost) throws(LabError) {
        guard let file = try LabPostgres.query("show hba_file;", on: host).first else {
            throw LabError(attempted: "find pg_hba.conf on \(host.name)", happened: "the server named none")
        }
        let script = "grep -q '# pgtandem lab' '\(file)' || cat >> '\(file)'"
        let rules = "# pgtandem lab\nhost all all 10.77.0.0/24 trust\nhost all all fd77::/64 trust\n"
        try host.demand(["/bin/sh", "-c", script], user: lab.options.osUser, input: rules)
        _ = try LabPostgres.query("select pg_reload_conf();", on: host)
    }

    private func demand(_ result: ToolResult, _ words: String) throws(LabError) {
        guard !result.succeeded else { return }
        let last = (result.output + result.errors).split(whereSeparator: \.isNewline).suffix(6).joined(separator: "; ")
        throw LabError(attempted: "run pgtandem \(words)", happened: "\(result.ending) \(last)")
    }
}

extension Lab {
    /// The running host whose network card has the address now; nil: none.
    public func host(holding address: String) throws(LabError) -> LabHost? {
        for host in hosts where host.isRunning {
            let table = try host.demand(["ip", "-o", "address", "show", "dev", "eth0"], deadline: .seconds(5))
            if table.contains(" \(address)/") { return host }
        }
        return nil
    }

    /// A query function for `check`: on the host that has the primary address.
    /// - Throws: if none has it.
    public func queryOnPrimary(_ sql: String) throws(LabError) -> [String] {
        guard let host = try host(holding: Lab.primaryAddress) else {
            throw LabError(attempted: "ask the primary", happened: "no host has \(Lab.primaryAddress)")
        }
        return try LabPostgres.query(sql, on: host, deadline: .seconds(60))
    }
}
