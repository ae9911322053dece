import Foundation
import TandemSystem

/// PostgreSQL on a host of the lab, without the agent: for what begins "from a running primary", and for tests of the lab.
public struct LabPostgres: Sendable {
    /// Another major version than Debian's, and the folder with its `bin`, from `PGTANDEM_LAB_POSTGRES=18:/folder`. Each host sees it where
    /// Debian would have put it.
    static let other: (version: String, folder: String)? = {
        let parts = (ProcessInfo.processInfo.environment["PGTANDEM_LAB_POSTGRES"] ?? "").split(separator: ":", maxSplits: 1)
        return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
    }()
    public static let version = other?.version ?? "15"
    static let programs = "/usr/lib/postgresql/\(version)"
    public static let debianDataDirectory = "/var/lib/postgresql/\(version)/main"
    /// Inside a host.
    public static let binaries = "\(programs)/bin"
    /// The same on the machine that we run on.
    static let binariesHere = other.map { $0.folder + "/bin" } ?? binaries

    public let host: LabHost
    public let dataDirectory: String
    /// Where postgresql.conf and pg_hba.conf are.
    public let configurationDirectory: String

    /// Debian's layout: configuration in /etc/postgresql/VERSION/main, data in /var/lib/postgresql/VERSION/main.
    public static func debian(_ host: LabHost) -> LabPostgres {
        LabPostgres(
            host: host, dataDirectory: debianDataDirectory,
            configurationDirectory: "/etc/postgresql/\(version)/main")
    }

    /// As initdb leaves it: configuration in the data directory, at the same place as Debian's data.
    public static func plain(_ host: LabHost) -> LabPostgres {
        LabPostgres(host: host, dataDirectory: debianDataDirectory, configurationDirectory: debianDataDirectory)
    }

    private var isDebian: Bool { dataDirectory != configurationDirectory }

    /// Makes the instance on its running host, not started. Clients of the lab's network may connect without a password.
    public func create() throws(LabError) {
        if isDebian {
            try host.demand(
                ["/usr/bin/pg_createcluster", LabPostgres.version, "main", "--", "--auth=trust", "--no-sync"],
                deadline: .seconds(60))
        } else {
            try host.demand(
                [
                    "\(LabPostgres.binaries)/initdb", "-D", dataDirectory, "--auth=trust", "-U", "postgres", "-E", "UTF8",
                    "--no-sync",
                ],
                user: "postgres", deadline: .seconds(60))
        }
        let rules = ["all", "replication"].flatMap { database in
            ["10.77.0.0/16", "fd77::/16"].map { "host \(database) all \($0) trust" }
        }
        try append(rules, to: "pg_hba.conf")
        try append(
            [
                "listen_addresses = '*'", "unix_socket_directories = '/var/run/postgresql'", "wal_keep_size = '64MB'",
                "wal_log_hints = on", "ssl = off",
            ], to: "postgresql.conf")
    }

    /// A copy of another host's running server, ready to start as its standby.
    public func copy(from primary: LabHost, slot: String? = nil) throws(LabError) {
        var arguments = [
            "\(LabPostgres.binaries)/pg_basebackup", "-D", dataDirectory, "-h", primary.address, "-U", "postgres", "-R", "-X",
            "stream", "-c", "fast", "--no-sync",
        ]
        if let slot { arguments += ["-C", "-S", slot] }
        try host.demand(arguments, user: "postgres", deadline: .seconds(120))
    }

    /// More lines at the end of a configuration file.
    public func append(_ lines: [String], to file: String) throws(LabError) {
        try host.demand(
            ["/bin/sh", "-c", "cat >> '\(configurationDirectory)/\(file)'"], user: "postgres",
            input: lines.joined(separator: "\n") + "\n")
    }

    public func start() throws(LabError) {
        var options: [String] = []
        if isDebian { options = ["-o", "-c config_file=\(configurationDirectory)/postgresql.conf"] }
        try control(["start", "-w", "-t", "60", "-l", "/var/log/postgresql/lab.log"] + options)
    }

    /// - Parameter mode: smart, fast or immediate.
    public func stop(mode: String = "fast") throws(LabError) { try control(["stop", "-w", "-t", "60", "-m", mode]) }

    /// - Parameter waiting: until it accepts writes; with an agent beside it, it may be stopped before that.
    public func promote(waiting: Bool = true) throws(LabError) { try control(["promote", waiting ? "-w" : "-W", "-t", "60"]) }

    public func reload() throws(LabError) { try control(["reload"]) }

    private func control(_ arguments: [String]) throws(LabError) {
        try host.demand(
            ["\(LabPostgres.binaries)/pg_ctl", "-D", dataDirectory] + arguments, user: "postgres", deadline: .seconds(90))
    }

    /// Runs a statement over the socket as superuser; columns of a row are separated by "|".
    public func query(_ sql: String, deadline: Duration = .seconds(30)) throws(LabError) -> [String] {
        try LabPostgres.query(sql, on: host, deadline: deadline)
    }

    /// As `query` on whatever server the host runs at the usual socket.
    public static func query(_ sql: String, on host: LabHost, deadline: Duration = .seconds(30)) throws(LabError) -> [String] {
        try host.demand(
            [
                "\(binaries)/psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "/var/run/postgresql", "-U",
                "postgres", "-d", "postgres",
            ], user: "postgres", input: sql, deadline: deadline
        ).split(separator: "\n").map(String.init)
    }
}
