import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// What is wrong gets a clear error that names the remedy, and nothing is touched.
    @Suite struct BadInput {
        /// Before any agent runs: one lab, many wrong things.
        @Test func onAFreshHostEveryMistakeIsToldAndNothingIsTouched() throws {
            try BadInputLab.hosts { it in
                try wrongConfigurations(it)
                try wrongUsage(it)
                try wrongFilesAndPermissions(it)
                try wrongUsers(it)
                try wrongNetwork(it)
                try wrongDataDirectories(it)
                try dryRuns(it)
                try aRunningOrStoppedStandby(it)
                try anotherServer(it)
            }
        }

        private func wrongConfigurations(_ it: BadInputLab) throws {
            for command in [["config", "check"], ["init"], ["join"], ["run"], ["status"]] {
                let file = try it.badly(it.a, "agent_port: 7432", "agent_prot: 7432")
                try it.refuses(
                    it.a, command + file, "\(BadInputLab.badFile):6", "agent_prot", "unknown key", "Did you mean `agent_port`?")
                try it.refuses(
                    it.a, command + ["--config", "/etc/pgtandem/none.yml"], "/etc/pgtandem/none.yml", "no such file", "--config")
            }
            for command in [["config", "check"], ["run"]] {
                var file = try it.badly(it.a, "agent_port: 7432", "agent_port: many")
                try it.refuses(it.a, command + file, "\(BadInputLab.badFile):6", "agent_port", "many")
                file = try it.badly(it.a, "arbiter: { kind: manual }\n", "")
                try it.refuses(it.a, command + file, "arbiter")
                file = try it.badly(
                    it.a, "arbiter: { kind: manual }\ntiming: { profile: standard }",
                    "arbiter: { kind: witness, witness: { address: 10.77.0.13 } }\ntiming: { heartbeat: 200ms, lease: 1s }")
                try it.refuses(
                    it.a, command + file, "timing.lease", "1000ms < 4 × heartbeat 200ms + margin 300ms", "at least 1200ms")
                try it.refuses(it.a, command + ["--config", "/etc/pgtandem"], "is a directory", "/etc/pgtandem/pgtandem.yml")
            }
            // Several at once: all are told.
            let both = try it.badly(it.a, yaml: "cluster: orders\nnodd: a\nhooks: { on_alarm: none }\n")
            try it.refuses(it.a, ["config", "check"] + both, "Did you mean `node`?", "hooks", "virtual_addresses", "errors")
            let open = try it.badly(it.a, "agent_port: 7432", "agent_port: 7432 # open to all")
            try it.shell(it.a, "chmod 0666 \(BadInputLab.badFile)")
            try it.refuses(it.a, ["config", "check"] + open, exit: 0, "every user of this host may change it", "chmod o-w")
            // Another node's certificate; the other node's configuration.
            let other = try it.badly(it.a, "node: a", "node: b")
            for command in [["init"], ["join"]] { try it.refuses(it.a, command + other, "node.crt", "THIS node") }
            let cluster = try it.badly(it.a, "cluster: orders", "cluster: others")
            for command in [["init"], ["join"]] { try it.refuses(it.a, command + cluster, "node.crt", "`cluster`") }
        }

        private func wrongUsage(_ it: BadInputLab) throws {
            try it.refuses(it.a, ["innit"], exit: 2, "innit")
            try it.refuses(it.a, ["run", "--confg", "x"], exit: 2, "--confg", "--config")
            try it.refuses(it.a, ["init", "--config"], exit: 2, "--config")
            try it.refuses(it.a, ["failover"], exit: 2, "--peer-is-down", "switchover")
            try it.refuses(it.a, ["switchover", "--to", "c"], exit: 2, "`c`", "a, b")
            try it.refuses(it.a, ["init", "--help"], exit: 0, "Example")
            for command in [["status"], ["switchover"], ["failover", "--peer-is-down"]] {
                try it.refuses(it.a, command, exit: 3, "no agent answers on /run/pgtandem/pgtandem.sock", "pgtandem run")
            }
        }

        private func wrongFilesAndPermissions(_ it: BadInputLab) throws {
            let key = "/etc/pgtandem/tls/node.key"
            let password = "/etc/pgtandem/replication.pass"
            let all = [["init"], ["join"], ["run"], ["config", "check"]]
            try it.a.configure(files: [password: HostFile("secret\n", mode: 0o600, owner: "postgres")])
            for (file, repair) in [(key, "chown postgres: \(key)"), (password, "chown postgres: \(password)")] {
                for (owner, mode, remedy) in [
                    ("postgres", "0644", "chmod 0600 \(file)"), ("postgres", "0640", "chmod 0600 \(file)"),
                    ("root", "0600", repair),
                    ("nobody", "0600", repair),
                ] {
                    try it.shell(it.a, "chown \(owner):\(owner == "nobody" ? "nogroup" : owner) \(file) && chmod \(mode) \(file)")
                    for command in all { try it.refuses(it.a, command, file, remedy) }
                }
                try it.shell(it.a, "chown postgres:postgres \(file) && chmod 0600 \(file)")
            }
            try it.shell(it.a, "rm \(password)")
            try it.refuses(it.a, ["run"], password, "pgtandem init")
            try it.shell(it.a, "mv \(key) \(key).kept")
            for command in all { try it.refuses(it.a, command, key, "pgtandem tls create") }
            try it.shell(it.a, "mv \(key).kept \(key)")
        }

        private func wrongUsers(_ it: BadInputLab) throws {
            for command in [["init"], ["join"]] { try it.refuses(it.a, command, user: "postgres", "run it as root") }
            try it.refuses(it.a, ["run"], user: "postgres", "CAP_NET_ADMIN", "CAP_NET_RAW", "Start it as root", "unit file")
            try it.refuses(it.a, ["run"], user: "daemon", "cannot run as postgres", "Start it as root")
            let nobody = try it.badly(it.a, "postgresql:\n", "postgresql:\n  os_user: pstgres\n")
            for command in [["init"], ["join"], ["run"]] {
                try it.refuses(it.a, command + nobody, "pstgres", "postgresql.os_user")
            }
            // Folders that are somebody else's are not taken over, also when root could.
            let state = try it.badly(it.a, "state_directory: /var/lib/pgtandem", "state_directory: /etc/pgtandem")
            for command in [["init"], ["join"], ["run"]] {
                try it.refuses(it.a, command + state, "/etc/pgtandem", "belongs to root", "state_directory")
            }
        }

        private func wrongNetwork(_ it: BadInputLab) throws {
            let interface = try it.badly(it.a, "interface: eth0", "interface: eth7")
            for command in [["init"], ["join"]] {
                try it.refuses(it.a, command + interface, "eth7", "eth0", "virtual_addresses.interface")
            }
            try it.refuses(it.a, ["config", "check"] + interface, exit: 0, "eth7", "virtual_addresses.interface")
            try it.refuses(
                it.a, ["join"], exit: 3, "the agent on b cannot be reached", "systemctl start pgtandem", "10.77.0.12:7432")

            // `run` looks at the password file first, which `init` would have made.
            let password = "/etc/pgtandem/replication.pass"
            try it.a.configure(files: [password: HostFile("secret\n", mode: 0o600, owner: "postgres")])
            let other = try it.badly(it.a, "node: a", "node: b")
            try it.refuses(it.a, ["run"] + other, "node.crt", "THIS node")
            let taken = try it.listener(it.a, it.a.address, 7432)
            try it.refuses(it.a, ["run"], "listen on 10.77.0.11:7432", "ss -ltnp", "agent_port")
            _ = taken.stop()
            try it.shell(it.a, "install -o postgres /dev/null /run/pgtandem/precious")
            for (socket, cause) in [
                ("/etc/pgtandem/agent.sock", "Permission denied"), ("/run/pgtandem.sock", "Permission denied"),
                ("/run/pgtandem/precious", "is no socket"),
            ] {
                let file = try it.badly(it.a, "control_socket: /run/pgtandem/pgtandem.sock", "control_socket: \(socket)")
                try it.refuses(it.a, ["run"] + file, socket, cause, "control_socket")
            }
            try it.shell(it.a, "rm \(password)")
        }

        private func wrongDataDirectories(_ it: BadInputLab) throws {
            let data = BadInputLab.data
            for command in [["init"], ["join"]] {
                try it.shell(it.a, "install -d -o postgres -m 0700 \(data) && echo precious > \(data)/thesis.txt")
                try it.refuses(it.a, command, data, "thesis.txt", command == ["init"] ? "data_directory" : "mv \(data)")
                try it.shell(it.a, "rm -r \(data) && echo > \(data)")
                try it.refuses(it.a, command, data, "not a directory", "data_directory")
                try it.shell(it.a, "rm \(data)")
                let nowhere = try it.badly(it.a, "data_directory: \(data)", "data_directory: /var/lib/postgresql/nowhere/main")
                try it.refuses(it.a, command + nowhere, "/var/lib/postgresql/nowhere", "install -d")
            }
            let postgres = LabPostgres.plain(it.a)
            try postgres.create()
            try it.refuses(it.a, ["join"], data, "holds an instance", "mv \(data)")
            try it.shell(it.a, "chown nobody \(data)")
            try it.refuses(it.a, ["init"], "belongs to nobody", "chown -R postgres", "postgresql.os_user")
            try it.refuses(it.a, ["join"], data, "mv \(data)")
            try it.shell(it.a, "chown postgres \(data) && chmod 0755 \(data)")
            try it.refuses(it.a, ["init"], "mode", "chmod 0700 \(data)")
            try it.shell(it.a, "chmod 0700 \(data)")
            let programs = try it.badly(
                it.a, "bin_directory: /usr/lib/postgresql/15/bin", "bin_directory: /usr/lib/postgresql/99/bin")
            try it.refuses(it.a, ["init"] + programs, "/usr/lib/postgresql/99/bin", "bin_directory")
            try it.refuses(it.a, ["init"] + (try Self.otherVersion(it, it.a)), "of PostgreSQL 15", "99", "bin_directory")
            try it.shell(it.a, "mv \(data)/global/pg_control \(data)/global/kept")
            try it.refuses(it.a, ["init"], "no control file", "pgtandem join")
            try it.shell(it.a, "mv \(data)/global/kept \(data)/global/pg_control")
        }

        /// Programs that say that they are of another version.
        static func otherVersion(_ it: BadInputLab, _ host: LabHost) throws -> [String] {
            let folder = "/var/lib/postgresql/99"
            try it.shell(
                host,
                "mkdir -p \(folder) && printf '#!/bin/sh\necho \"postgres (PostgreSQL) 99.1\"\n' > \(folder)/postgres && chmod 755 \(folder)/postgres"
            )
            return try it.badly(host, "bin_directory: /usr/lib/postgresql/15/bin", "bin_directory: \(folder)")
        }

        /// `init --dry-run` only looks, at an empty place and at an instance.
        private func dryRuns(_ it: BadInputLab) throws {
            try it.refuses(it.a, ["init", "--dry-run"], exit: 0, "take the instance in \(BadInputLab.data)", "pg_hba.conf")
            let empty = try it.badly(
                it.a, "data_directory: \(BadInputLab.data)", "data_directory: /var/lib/postgresql/15/none")
            try it.refuses(it.a, ["init", "--dry-run"] + empty, exit: 0, "make a new instance in /var/lib/postgresql/15/none")
        }

        private func aRunningOrStoppedStandby(_ it: BadInputLab) throws {
            let postgres = LabPostgres.plain(it.a)
            try it.shell(it.a, "install -o postgres -m 0600 /dev/null \(BadInputLab.data)/standby.signal")
            try postgres.start()
            try it.refuses(it.a, ["init"], "standby", "on its primary", "pgtandem join")
            try postgres.stop()
            try it.refuses(it.a, ["init"], "standby", "on its primary", "pgtandem join")
            // Promoted, it is no standby any more; this one goes on as an ordinary instance.
            try it.shell(it.a, "rm \(BadInputLab.data)/standby.signal")
            try postgres.start()
            try postgres.stop()
        }

        private func anotherServer(_ it: BadInputLab) throws {
            let taken = try it.listener(it.a, "0.0.0.0", 5432)
            try it.refuses(it.a, ["init"], "5432", "ss -ltnp", "postgresql.port")
            _ = taken.stop()
            let postgres = LabPostgres.plain(it.a)
            try postgres.start()
            // The same port and sockets, another data directory: an empty one, and one with an instance.
            try it.shell(
                it.a, "cp -a \(BadInputLab.data) /var/lib/postgresql/15/other && rm /var/lib/postgresql/15/other/postmaster.pid")
            for name in ["other", "none"] {
                let file = try it.badly(
                    it.a, "data_directory: \(BadInputLab.data)", "data_directory: /var/lib/postgresql/15/\(name)")
                try it.refuses(it.a, ["init"] + file, "5432", BadInputLab.data, "port")
            }
            try postgres.stop()
        }
    }
}
