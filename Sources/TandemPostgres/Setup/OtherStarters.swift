import Glibc
import TandemSystem

/// Whatever else would start the instance at boot, before the agent has decided as what (`hazards.md` H41).
public struct OtherStarters: Sendable {
    public var settings: InstanceSettings
    /// Tests point these elsewhere.
    var systemctl = "/usr/bin/systemctl"
    var firstProcessName = "/proc/1/comm"

    public init(_ settings: InstanceSettings) {
        self.settings = settings
    }

    /// Takes their starts away; stops nothing that runs.
    /// - Returns: what was done, and what a person should know, in sentences. Empty: nothing had to be done.
    public func disable() throws(PostgresError) -> [String] {
        var done: [String] = []
        if let cluster = DebianCluster(configFile: settings.effectiveConfigFile), OwnedFiles.exists(cluster.folder) {
            done += try disableStartFile(cluster)
        }
        return done + (try disableUnits(changed: !done.isEmpty))
    }

    private func disableStartFile(_ cluster: DebianCluster) throws(PostgresError) -> [String] {
        let path = cluster.folder + "/start.conf"
        let attempted = "set \(path) to manual"
        let file = KeptFile(path: path, user: settings.osUser)
        // An absent file means `auto` to Debian's tools.
        let old = try file.read(attempted)
        var lines = ConfigText(old ?? []).lines
        let word = lines.firstIndex { line in
            let text = String(decoding: line, as: UTF8.self).trimmed()
            return !text.isEmpty && !text.hasPrefix("#")
        }
        let current = word.map { index in
            String(decoding: lines[index], as: UTF8.self).split(separator: "#")[0].trimmed()
        }
        guard current != "manual", current != "disabled" else { return [] }
        let replacement = [OtherStarters.comment, "manual"].map { [UInt8]($0.utf8) }
        if let word { lines.replaceSubrange(word...word, with: replacement) } else { lines += replacement }
        try file.backUpOnce(attempted)
        try file.write(Array(lines.map { $0 + [UInt8(ascii: "\n")] }.joined()), newMode: 0o644, attempted)
        return ["Set \(path) from \(current ?? "absent") to manual: Debian's service no longer starts the instance at boot."]
    }

    static let comment = "# Set by pgtandem: its agent starts this instance, and knows whether as primary or standby."

    private func disableUnits(changed: Bool) throws(PostgresError) -> [String] {
        guard access(systemctl, X_OK) == 0, isSystemdRunning() else { return [] }
        var done: [String] = []
        if changed { _ = try run(["daemon-reload"], "reload systemd") }
        for unit in units() {
            guard try isEnabled(unit), try startsOurs(unit) else { continue }
            let result = try run(["disable", unit], "disable \(unit)")
            guard result.succeeded else {
                throw PostgresError(
                    "disable \(unit)", result, meaning: "It would start the instance at boot, before the agent has decided.",
                    advice: "Run `systemctl disable \(unit)` as root.")
            }
            done.append("Disabled \(unit): the agent starts the instance.")
        }
        return done
    }

    private func units() -> [String] {
        if let cluster = DebianCluster(configFile: settings.effectiveConfigFile) { return [cluster.unit] }
        let major = settings.binDirectory.split(separator: "/").reversed().lazy
            .compactMap { Int($0.drop { !$0.isNumber }) }.first
        return ["postgresql.service"] + (major.map { ["postgresql-\($0).service"] } ?? [])
    }

    private func isEnabled(_ unit: String) throws(PostgresError) -> Bool {
        try run(["is-enabled", unit], "ask systemd about \(unit)").output.trimmed().hasPrefix("enabled")
    }

    /// A unit of another instance stays as it is: it must name our data directory, or be ours by name.
    private func startsOurs(_ unit: String) throws(PostgresError) -> Bool {
        if unit == DebianCluster(configFile: settings.effectiveConfigFile)?.unit { return true }
        let shown = try run(["show", "-p", "Environment,ExecStart", unit], "ask systemd about \(unit)")
        return shown.output.split { " =;\n{}".contains($0) }.contains(Substring(settings.dataDirectory))
    }

    private func run(_ arguments: [String], _ attempted: String) throws(PostgresError) -> ToolResult {
        try SetupTool.perform(attempted) { () throws(SystemError) in
            try Tool(systemctl, arguments, environment: ["LC_ALL": "C"]).run(deadline: .seconds(30))
        }
    }

    private func isSystemdRunning() -> Bool {
        do throws(SystemError) {
            let name = try DurableFile.read(firstProcessName, limit: 256) ?? []
            return String(decoding: name, as: UTF8.self).trimmed() == "systemd"
        } catch {
            // A /proc that hides other users' processes: ask for systemd's own folder instead.
            return OwnedFiles.exists("/run/systemd/system")
        }
    }
}
