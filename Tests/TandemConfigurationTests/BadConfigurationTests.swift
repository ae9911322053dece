import Testing

@testable import TandemConfiguration

/// One mistake, and what must be said about it.
struct Mistake: CustomTestStringConvertible, Sendable {
    var name: String
    var text: String
    /// The key, where the mistake has one.
    var key: String?
    /// Line and column; nil: not looked at.
    var line: Int?
    var column: Int?
    /// Parts of the message and of the advice.
    var says: [String]
    var severity = ConfigurationProblem.Severity.error

    var testDescription: String { name }

    /// The minimal configuration with lines added at its end (line 13 is the first of them).
    static func adding(
        _ lines: String, _ key: String?, line: Int? = 13, column: Int? = nil, says: [String],
        severity: ConfigurationProblem.Severity = .error
    ) -> Mistake {
        Mistake(
            name: lines, text: Fixture.minimal + lines + "\n", key: key, line: line, column: column, says: says,
            severity: severity)
    }

    static func replacing(
        _ old: String, by new: String, _ key: String?, line: Int? = nil, column: Int? = nil, says: [String],
        severity: ConfigurationProblem.Severity = .error
    ) -> Mistake {
        Mistake(
            name: "\(old) → \(new)", text: Fixture.replacing(old, new), key: key, line: line, column: column, says: says,
            severity: severity)
    }
}

@Suite struct BadConfigurationTests {
    static let keys: [Mistake] = [
        .adding("agentport: 1", "agentport", column: 1, says: ["unknown key", "Did you mean `agent_port`?"]),
        .adding("agent-port: 1", "agent-port", says: ["Did you mean `agent_port`?"]),
        .adding("Gateway: none", "Gateway", says: ["Did you mean `gateway`?"]),
        .adding("port: 5432", "port", says: ["unknown key here", "`port` belongs to `postgresql`"]),
        .adding("completely_else: 5432", "completely_else", says: ["unknown key", "keys at the top level are cluster, node"]),
        .adding("replication: { mdoe: synchronous }", "replication.mdoe", column: 16, says: ["Did you mean `mode`?"]),
        .adding("replication: { level: info }", "replication.level", says: ["`level` belongs to `log`"]),
        .adding("  agent_port: 7433", "postgresql.agent_port", says: ["stands at the top level"]),
        .adding("limits:\n  promote: { bites: 1MB }", "limits.promote.bites", line: 14, says: ["Did you mean `bytes`?"]),
        .adding("limits:\n  frobnicate: 1", "limits.frobnicate", line: 14, says: ["The keys of `limits` are promote, handover"]),
        .adding("<<: { node: b }", "<<", says: ["unknown key"]),
        .adding("[1, 2]: x", nil, says: ["a key must be a plain word"]),
        .adding(
            "agent_port: 7433\nagent_port: 7434", nil, line: 14, column: 1, says: ["`agent_port`", "second time", "line 13"]),
        .adding("log: { level: info, \"level\": debug }", nil, line: 13, column: 22, says: ["`level` is given a second time"]),
        .adding(
            "log: {\n  level: info,\n  format: text, # level: x\n  level: debug\n }", nil, line: 16, column: 3,
            says: ["`level` is given a second time; the first is in line 14"]),
        .adding("cluster: again", nil, says: ["`cluster` is given a second time; the first is in line 1"]),
        .adding("? agent_port\n: 7433\n? agent_port\n: 7434", nil, line: nil, says: ["`agent_port` is given more than once"]),
    ]

    static let later: [Mistake] = [
        .adding(
            "archive: { directory: none }", "archive", column: 1, says: ["known, but not in this version", "Remove it"]),
        .adding("failback: { windo: always }", "failback.windo", says: ["Did you mean `window`?"]),
        .adding("failback: { window: never }", "failback.window", says: ["`never` is no window", "\"01:00-05:00\""]),
        .adding("failback: { window: \"25:00-26:00\" }", "failback.window", says: ["is no window"]),
        .adding("failback: { notice: 0s }", "failback.notice", says: ["out of range", "usual is 30s"]),
        .adding("rejoin: { window: \"02:00-02:00\" }", "rejoin.window", says: ["is never open"]),
        .adding("rejoin: { bandwidth: 1kB }", "rejoin.bandwidth", says: ["out of range", "32kB to 1GB a second"]),
        .adding("rejoin: { bandwidth: fast }", "rejoin.bandwidth", says: ["is not a size"]),
        .adding(
            "rejoin: { diverged: { age: 1s } }", "rejoin.diverged.age", says: ["what was lost would be gone", "at least 1h"]),
        .adding("preferred_primary: c", "preferred_primary", says: ["`c` is none of the nodes", "`a`, `b` or `none`"]),
        .adding("barred_primary: c", "barred_primary", says: ["`c` is none of the nodes"]),
        .adding("preferred_primary: a\nbarred_primary: a", "barred_primary", line: 14, says: ["cannot be preferred and barred"]),
        .adding("archive: { keep: 7d }", "archive", says: ["known, but not in this version"]),
        .adding("http: { listen: \"0.0.0.0:8008\" }", "http", says: ["known, but not in this version"]),
        .adding("hooks: { on_alarm: none }", "hooks", says: ["known, but not in this version"]),
        .adding("watchdgo: x", "watchdgo", says: ["Did you mean `watchdog`?"]),
        .replacing("{ kind: manual }", by: "{ kind: manual, fencing: {} }", "arbiter.fencing", says: ["not in this version"]),
        .replacing(
            "kind: manual", by: "kind: etcd", "arbiter.kind", line: 10, column: 18,
            says: ["does not have the arbiter `etcd`", "`witness`", "`manual`", "--peer-is-down"]),
        .replacing("kind: manual", by: "kind: fencing", "arbiter.kind", says: ["does not have the arbiter `fencing`"]),
        .replacing("kind: manual", by: "kind: manuel", "arbiter.kind", says: ["Did you mean `manual`?"]),
    ]

    static let missing: [Mistake] = [
        .replacing(
            "{ kind: manual }", by: "{ kind: witness, witness: { address: 10.77.0.12 } }", "arbiter.witness.address", line: 10,
            says: ["10.77.0.12 is used already, by `nodes.b.addresses`", "third machine"]),
        .replacing(
            "  data_directory:", by: "  hang_patience: 1s\n  data_directory:", "postgresql.hang_patience", line: 12,
            says: ["a patience of 1s", "2s to 1h"]),
        .replacing("cluster: orders\n", by: "", "cluster", says: ["is missing", "Add the line `cluster: orders`"]),
        .replacing("node: a\n", by: "", "node", says: ["is missing", "`node: a`"]),
        .replacing(
            "arbiter: { kind: manual }\n", by: "", "arbiter",
            says: ["is missing", "nobody makes for you", "arbiter: { kind: witness, witness: { address: 10.77.0.13 } }"]),
        .replacing(
            "{ kind: manual }", by: "{}", "arbiter.kind", line: 10, says: ["is missing", "nobody makes for you", "kind: witness"]),
        .replacing(
            "kind: manual", by: "kind: witness", "arbiter.witness", line: 10,
            says: ["is missing", "on neither of the two hosts", "witness: { address: 10.77.0.13 }"]),
        .replacing(
            "{ kind: manual }", by: "{ kind: witness, witness: {} }", "arbiter.witness.address", line: 10,
            says: ["is missing", "address: 10.77.0.13"]),
        .replacing(
            "postgresql:\n  data_directory: /var/lib/postgresql/15/main\n", by: "", "postgresql.data_directory",
            says: ["is missing", "Add the section `postgresql:`", "data_directory: /var/lib"]),
        .replacing(
            "  data_directory: /var/lib/postgresql/15/main", by: "  port: 5433", "postgresql.data_directory", line: 11,
            says: ["is missing", "Add to the section `postgresql` the line `data_directory:"]),
        .replacing(
            "  interface: eth0\n", by: "", "virtual_addresses.interface", line: 6, says: ["is missing", "`interface: eth0`"]),
        .replacing(
            "  standby: [10.77.0.101]\n", by: "", "virtual_addresses.standby", line: 6,
            says: ["is missing", "standby: [10.77.0.101]"]),
        .replacing(
            "a: { addresses: [10.77.0.11] }", by: "a: {}", "nodes.a.addresses", line: 4, says: ["is missing", "addresses:"]),
        .replacing("  b: { addresses: [10.77.0.12] }\n", by: "", "nodes", line: 3, says: ["exactly two", "is one"]),
        .replacing(
            "  b: {", by: "  c: { addresses: [10.77.0.13] }\n  b: {", "nodes", line: 3,
            says: ["exactly two", "3 given: a, c, b"]),
        .replacing("node: a", by: "node:", "node", line: 2, says: ["has no value"]),
        .replacing("node: a", by: "node: ~", "node", line: 2, says: ["has no value"]),
    ]

    static let types: [Mistake] = [
        .adding("agent_port: many", "agent_port", column: 13, says: ["`many` is not a whole number"]),
        .adding("agent_port: \"7432\"", "agent_port", says: ["is a text", "Remove the quotes: `7432`"]),
        .adding("agent_port: 010", "agent_port", says: ["octal", "`10`"]),
        .adding("agent_port: 0o17", "agent_port", says: ["not a whole number"]),
        .adding("agent_port: 0x1F", "agent_port", says: ["not a whole number"]),
        .adding("agent_port: 7_432", "agent_port", says: ["not a whole number"]),
        .adding("agent_port: 12:30", "agent_port", says: ["not a whole number"]),
        .adding("agent_port: 7432.0", "agent_port", says: ["not a whole number"]),
        .adding("agent_port: 0", "agent_port", says: ["`0` is no port", "1 to 65535"]),
        .adding("agent_port: 65536", "agent_port", says: ["no port"]),
        .adding("agent_port: -1", "agent_port", says: ["no port"]),
        .adding("agent_port: 99999999999999999999", "agent_port", says: ["too large"]),
        .adding("agent_port: [7432]", "agent_port", says: ["a list stands here", "one value is wanted"]),
        .adding("agent_port: { a: 1 }", "agent_port", says: ["a section stands here"]),
        .adding("agent_port: 5432", "agent_port", says: ["PostgreSQL's port too", "7432"]),
        .adding("agent_port: 443", "agent_port", says: ["below 1024"], severity: .warning),
        .adding("log: text", "log", column: 6, says: ["a single value stands here, and a section is wanted"]),
        .adding("log: [text]", "log", says: ["a list stands here, and a section is wanted"]),
        .adding("log: { level: warn }", "log.level", says: ["`warn`", "`debug`, `info`, `warning`, `error`"]),
        .adding("log: { level: worning }", "log.level", says: ["Did you mean `warning`?"]),
        .adding("log: { format: xml }", "log.format", says: ["Write `text` or `json`"]),
        .adding("replication: { mode: sync }", "replication.mode", says: ["`sync`", "`synchronous` or `asynchronous`"]),
        .adding("timing: { profile: quick }", "timing.profile", says: ["`standard`, `fast`, `relaxed`"]),
        .adding("timing: { profile: fast, heartbeat: 40ms }", "timing.heartbeat", says: ["say the same thing"]),
        .adding("timing: { heartbeat: 5ms }", "timing.heartbeat", says: ["5ms", "out of range"]),
        .adding("timing: { heartbeat: 1min }", "timing.heartbeat", says: ["1min", "out of range"]),
        .adding("timing: { lease: 2s }", "timing.lease", column: 11, says: ["needs the heartbeat", "Add `heartbeat`"]),
        .adding(
            "timing: { profile: fast, lease: 2s }", "timing.lease", column: 26,
            says: ["the profile sets the lease", "`heartbeat` and `lease` instead of `profile`"]),
        .adding("timing: { heartbeat: 200ms, lease: 2 }", "timing.lease", says: ["has no unit", "`2s`"]),
        .adding(
            "timing: { heartbeat: 200ms, lease: 11min }", "timing.lease", column: 36, says: ["11min", "out of range", "10min"]),
        .adding(
            "timing: { heartbeat: 200ms, lease: 900ms }", "timing.lease", column: 36,
            says: [
                "too short: lease 900ms < 4 × heartbeat 200ms + margin 100ms + slowest usual answer 100ms = 1000ms",
                "at least 1200ms",
                "a shorter heartbeat",
            ]),
        .adding(
            "timing: { heartbeat: 200ms, lease: 1199ms }", "timing.lease",
            says: ["4 × heartbeat 200ms + margin 300ms + slowest usual answer 100ms = 1200ms", "at least 1200ms"]),
        .adding("timing: { heartbeat: 200ms, lease: 0s }", "timing.lease", says: ["lease 0ms <", "at least 1200ms"]),
        .adding(
            "timing: { heartbeat: 20ms }", "timing.heartbeat", column: 22,
            says: [
                "ten heartbeats unless `lease` is given",
                "lease 200ms < 4 × heartbeat 20ms + margin 100ms + slowest usual answer 40ms = 220ms", "a longer heartbeat",
                "`lease: 220ms`",
            ]),
        .replacing(
            "primary: [10.77.0.100]", by: "primary: 10.77.0.100", "virtual_addresses.primary", line: 8,
            says: ["a list is wanted", "`primary: [10.77.0.100]`"]),
        .replacing("primary: [10.77.0.100]", by: "primary: []", "virtual_addresses.primary", says: ["list is empty"]),
        .replacing(
            "a: { addresses: [10.77.0.11] }", by: "a: 10.77.0.11", "nodes.a", line: 4,
            says: ["under `addresses`", "a: { addresses:"]),
    ]

    static let quantities: [Mistake] = [
        .adding("limits: { max_staleness: 30 }", "limits.max_staleness", column: 26, says: ["has no unit", "`30s`"]),
        .adding("limits: { max_staleness: 30sec }", "limits.max_staleness", says: ["no unit of time", "`30s`"]),
        .adding("limits: { max_staleness: 1m }", "limits.max_staleness", says: ["no unit of time", "`1min`"]),
        .adding("limits: { max_staleness: 30S }", "limits.max_staleness", says: ["no unit of time", "`30s`"]),
        .adding("limits: { max_staleness: 3w }", "limits.max_staleness", says: ["ms, s, min, h and d"]),
        .adding("limits: { max_staleness: 1.5s }", "limits.max_staleness", says: ["fraction", "smaller unit"]),
        .adding("limits: { max_staleness: -5s }", "limits.max_staleness", says: ["not a duration"]),
        .adding("limits: { max_staleness: soon }", "limits.max_staleness", says: ["`soon` is not a duration", "200ms, 2s"]),
        .adding("limits: { max_staleness: 030s }", "limits.max_staleness", says: ["octal", "`30s`"]),
        .adding("limits: { max_staleness: 0s }", "limits.max_staleness", says: ["above zero"]),
        .adding("limits: { max_staleness: 999999999999d }", "limits.max_staleness", says: ["too large"]),
        .adding("limits: { max_staleness: 2s }", "limits.return_standby_address.age", says: ["5s", "2s", "at most 2s"]),
        .adding(
            "limits: { return_standby_address: { age: 1min } }", "limits.return_standby_address.age", column: 42,
            says: ["1min", "30s"]),
        .adding("limits: { handover: { bytes: 16Mb } }", "limits.handover.bytes", says: ["`Mb` is no unit", "Write `16MB`"]),
        .adding("limits: { handover: { bytes: 16KB } }", "limits.handover.bytes", says: ["Write `16kB`"]),
        .adding("limits: { handover: { bytes: 16G } }", "limits.handover.bytes", says: ["Write `16GB`"]),
        .adding("limits: { handover: { bytes: 16MiB } }", "limits.handover.bytes", says: ["Write `16MB`"]),
        .adding("limits: { handover: { bytes: 16XB } }", "limits.handover.bytes", says: ["B, kB, MB, GB and TB"]),
        .adding("limits: { handover: { bytes: lots } }", "limits.handover.bytes", says: ["not a size"]),
        .adding("limits: { handover: { bytes: 0 } }", "limits.handover.bytes", says: ["above zero"]),
        .adding("limits: { handover: { bytes: 99999999TB } }", "limits.handover.bytes", says: ["too large"]),
    ]

    static let namesAndPaths: [Mistake] = [
        .replacing(
            "cluster: orders", by: "cluster: Orders", "cluster", line: 1, column: 10, says: ["`Orders` is no name", "a-z"]),
        .replacing("cluster: orders", by: "cluster: -orders", "cluster", says: ["beginning with a letter or a digit"]),
        .replacing("cluster: orders", by: "cluster: \(String(repeating: "o", count: 64))", "cluster", says: ["1 to 63"]),
        .replacing("cluster: orders", by: "cluster: ordërs", "cluster", says: ["is no name"]),
        .replacing("node: a\n", by: "node: c\n", "node", line: 2, column: 7, says: ["`c` is none of the nodes", "`a` or `b`"]),
        .replacing("  b: {", by: "  witness: {", "nodes.witness", line: 5, says: ["no node may be called `witness`"]),
        .replacing("interface: eth0", by: "interface: eth0/1", "virtual_addresses.interface", says: ["no network interface"]),
        .replacing(
            "interface: eth0", by: "interface: averyveryverylongname", "virtual_addresses.interface",
            says: ["no network interface"]),
        .replacing(
            "/var/lib/postgresql/15/main", by: "pgdata", "postgresql.data_directory", line: 12, column: 19,
            says: ["not an absolute path"]),
        .replacing("/var/lib/postgresql/15/main", by: "~/data", "postgresql.data_directory", says: ["`~` is not expanded"]),
        .replacing("/var/lib/postgresql/15/main", by: "\"/data\\nmain\"", "postgresql.data_directory", says: ["line break"]),
        .adding("control_socket: /\(String(repeating: "x", count: 107))", "control_socket", says: ["108 bytes", "107"]),
        .adding("  socket_directory: /\(String(repeating: "x", count: 100))", "postgresql.socket_directory", says: ["115 bytes"]),
        .adding("  os_user: root", "postgresql.os_user", says: ["refuses to run as root"]),
        .adding("  os_user: \"a b\"", "postgresql.os_user", says: ["no user name"]),
        .adding("  database: template0", "postgresql.database", says: ["accepts no connections"]),
        .adding("  database: \(String(repeating: "d", count: 64))", "postgresql.database", says: ["63 bytes", "64"]),
        .adding("replication: { user: pg_replication }", "replication.user", says: ["reserved"]),
        .adding("replication: { user: postgres }", "replication.user", says: ["is the superuser"]),
        .adding("tls: { directory: tls }", "tls.directory", says: ["not an absolute path"]),
    ]

    static let addresses: [Mistake] = [
        .replacing(
            "[10.77.0.11]", by: "[host-a]", "nodes.a.addresses", line: 4, column: 20,
            says: ["not a numeric", "Names are not looked up"]),
        .replacing("[10.77.0.11]", by: "[10.77.0.256]", "nodes.a.addresses", says: ["not a numeric", "0 to 255"]),
        .replacing("[10.77.0.11]", by: "[10.77.0.011]", "nodes.a.addresses", says: ["without leading zeros"]),
        .replacing("[10.77.0.11]", by: "[10.77.11]", "nodes.a.addresses", says: ["not a numeric"]),
        .replacing("[10.77.0.11]", by: "[10.77.0.11/24]", "nodes.a.addresses", says: ["Leave the prefix out"]),
        .replacing("[10.77.0.11]", by: "[0.0.0.0]", "nodes.a.addresses", says: ["unspecified"]),
        .replacing("[10.77.0.11]", by: "[224.0.0.1]", "nodes.a.addresses", says: ["multicast"]),
        .replacing("[10.77.0.11]", by: "[255.255.255.255]", "nodes.a.addresses", says: ["broadcast"]),
        .replacing("[10.77.0.11]", by: "[\"fe80::1\"]", "nodes.a.addresses", says: ["link-local"]),
        .replacing("[10.77.0.11]", by: "[\"fe80::1%eth0\"]", "nodes.a.addresses", says: ["Leave the interface out"]),
        .replacing("[10.77.0.11]", by: "[\"::ffff:10.77.0.11\"]", "nodes.a.addresses", says: ["IPv4 address in IPv6"]),
        .replacing("[10.77.0.11]", by: "[\"fd00::11\"]", "nodes.b.addresses", line: 5, says: ["make one path", "same order"]),
        .replacing(
            "[10.77.0.11]", by: "[10.77.0.11, 10.78.0.11]", "nodes.a.addresses", says: ["without a partner"], severity: .warning),
        .replacing("[10.77.0.11]", by: "[127.0.0.1]", "nodes.a.addresses", says: ["loopback"], severity: .warning),
        .replacing(
            "[10.77.0.12]", by: "[10.77.0.11]", "nodes.b.addresses", line: 5,
            says: ["used already", "`nodes.a.addresses` in line 4"]),
        .replacing(
            "standby: [10.77.0.101]", by: "standby: [10.77.0.100]", "virtual_addresses.standby", line: 9,
            says: ["used already, by `virtual_addresses.primary` in line 8"]),
        .replacing(
            "standby: [10.77.0.101]", by: "standby: [10.77.0.12/24]", "virtual_addresses.standby",
            says: ["used already, by `nodes.b.addresses`"]),
        .adding("gateway: 10.77.0.100", "gateway", says: ["used already, by `virtual_addresses.primary`"]),
        .adding("gateway: router", "gateway", says: ["not a numeric"]),
        .replacing(
            "primary: [10.77.0.100]", by: "primary: [10.77.0.100/33]", "virtual_addresses.primary",
            says: ["`/33` is no prefix", "1 to 32"]),
        .replacing("primary: [10.77.0.100]", by: "primary: [10.77.0.100/0]", "virtual_addresses.primary", says: ["no prefix"]),
        .replacing(
            "primary: [10.77.0.100]", by: "primary: [10.77.0.100/8]", "virtual_addresses.primary", says: ["unusual", "/32"],
            severity: .warning),
        .replacing(
            "primary: [10.77.0.100]", by: "primary: [10.77.0.100/31]", "virtual_addresses.primary", says: ["unusual"],
            severity: .warning),
        .replacing(
            "primary: [10.77.0.100]", by: "primary: [\"fd00::1/96\"]", "virtual_addresses.primary", says: ["unusual", "/128"],
            severity: .warning),
    ]

    static let syntax: [Mistake] = [
        Mistake(name: "empty", text: "", says: ["is empty", "example"]),
        Mistake(name: "comments only", text: "# nothing\n\n", says: ["is empty"]),
        Mistake(name: "document mark only", text: "---\n", says: ["is empty"]),
        Mistake(name: "one word", text: "hello\n", line: 1, column: 1, says: ["keys with values"]),
        Mistake(name: "a list", text: "- a\n- b\n", line: 1, says: ["keys with values"]),
        .adding("log: { level: info", nil, line: nil, says: ["not YAML"]),
        .adding("log:\n\tlevel: info", nil, line: 14, says: ["not YAML", "no tabs"]),
        .adding("gateway: a: b", nil, line: 13, says: ["not YAML", "line break"]),
        .adding("gateway: @home", nil, line: 13, says: ["not YAML", "quotes"]),
        .adding("gateway: \"none", nil, line: nil, says: ["not YAML"]),
        .adding("---\ncluster: two", nil, line: 13, says: ["another document", "---"]),
        .adding("gateway: *nothing", nil, line: 13, says: ["not YAML", "alias"]),
        .adding("gateway: no\u{7}ne", nil, line: 13, says: ["not YAML", "control characters", "Remove the character"]),
    ]

    @Test(arguments: keys + later + missing) func aWrongKeyIsShownWithTheRightOne(mistake: Mistake) { check(mistake) }
    @Test(arguments: types + quantities) func aWrongValueIsShownWithARightOne(mistake: Mistake) { check(mistake) }
    @Test(arguments: namesAndPaths + addresses) func whatNoHostCanUseIsRefused(mistake: Mistake) { check(mistake) }
    @Test(arguments: syntax) func whatIsNotYAMLIsShownWithItsPlace(mistake: Mistake) { check(mistake) }

    /// Exactly one problem, at the right place, in the right words.
    private func check(_ mistake: Mistake) {
        let problems = Fixture.problems(mistake.text)
        #expect(problems.count == 1, "\(problems.map(\.description).joined(separator: "\n"))")
        guard let problem = problems.first else { return }
        let text = problem.description
        #expect(problem.severity == mistake.severity, "\(text)")
        #expect(problem.key == mistake.key, "\(text)")
        if let line = mistake.line { #expect(problem.line == line, "\(text)") }
        if let column = mistake.column { #expect(problem.column == column, "\(text)") }
        for part in mistake.says { #expect(text.contains(part), "\(text)") }
    }
}
