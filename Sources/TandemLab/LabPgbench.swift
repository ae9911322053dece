import Glibc
import TandemSystem

/// `pgbench`, PostgreSQL's own load, from the client's network through the primary address. Its sessions end with their server: it is begun
/// again until it finds the next one.
public final class LabPgbench: Sendable {
    public static let name = "pgbench"
    private let process: LabProcess

    fileprivate init(_ process: LabProcess) { self.process = process }

    /// Its sessions end in the middle of what they do.
    public func stop() { process.stop() }

    /// Its tables, about 15 MB for each client, on the primary.
    public static func prepare(_ primary: LabHost, clients: Int) throws(LabError) {
        try primary.demand(
            [
                "\(LabPostgres.binaries)/pgbench", "--initialize", "--quiet", "--scale=\(clients)", "-h", "/var/run/postgresql",
                "-U", "postgres", "postgres",
            ], user: "postgres", deadline: .seconds(300))
    }

    /// How many of its sessions a host has.
    public static func sessions(on host: LabHost) throws(LabError) -> Int {
        let sql = "select count(*) from pg_stat_activity where application_name = '\(name)';"
        return try LabPostgres.query(sql, on: host).first.flatMap { Int($0) } ?? 0
    }
}

extension Lab {
    /// Returns at once. Ended by `stop()` of it, or of the lab; also when this process dies.
    public func startPgbench(clients: Int) throws(LabError) -> LabPgbench {
        let place = "\(folder)/client"
        try Text.makeFolder(place)
        // Its standard input ends with this process. The pause keeps a refused one from taking the processor.
        let script = """
            while :; do "$@"; sleep 0.05; done & read line; kill 0
            """
        let process = try LabProcess(
            [
                try Command.path("nsenter", package: "util-linux"), "--net=\(client.namespace.path)", "/bin/sh", "-c", script,
                LabPgbench.name,
                "\(LabPostgres.binariesHere)/pgbench", "--no-vacuum", "--client=\(clients)", "--jobs=2", "--time=86400",
                "-h", Lab.primaryAddress, "-U", "postgres", "postgres",
            ], environment: Machine.environment.merging(["PGCONNECT_TIMEOUT": "2", "PGSSLMODE": "disable"]) { $1 },
            outputPath: "\(place)/pgbench.out")
        keep(process)
        return LabPgbench(process)
    }
}
