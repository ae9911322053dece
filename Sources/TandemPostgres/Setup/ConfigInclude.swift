import TandemSystem

/// Our one line in `postgresql.conf`: the last one, so that what it includes wins over the rest of the file
/// (`interface.md` 2). Only `postgresql.auto.conf` and the server's command line come later.
public enum ConfigInclude {
    static let comment = "# Settings that pgtandem owns. Keep this the last line; changes in that file are overwritten."

    /// Adds the line, or moves it to the end.
    /// - Returns: whether the file was changed.
    @discardableResult
    public static func ensure(_ settings: InstanceSettings, configFile: String? = nil) throws(PostgresError) -> Bool {
        let path = configFile ?? settings.effectiveConfigFile
        let attempted = "add our include line to \(path)"
        let file = KeptFile(path: path, user: settings.osUser)
        guard let bytes = try file.read(attempted) else {
            throw PostgresError(
                attempted: attempted, happened: "There is no such file.", meaning: "Nothing was changed.",
                advice: "Correct `postgresql.config_file`.")
        }
        let text = with(bytes, includeFile: settings.includeFile)
        guard text != bytes else { return false }
        try file.backUpOnce(attempted)
        return try file.write(text, newMode: 0o644, attempted)
    }

    /// Takes the line away again; everything else stays.
    @discardableResult
    public static func remove(_ settings: InstanceSettings, configFile: String? = nil) throws(PostgresError) -> Bool {
        let path = configFile ?? settings.effectiveConfigFile
        let attempted = "remove our include line from \(path)"
        let file = KeptFile(path: path, user: settings.osUser)
        guard let bytes = try file.read(attempted) else { return false }
        var text = ConfigText(bytes)
        let before = text.lines.count
        takeOut(&text, includeFile: settings.includeFile)
        guard text.lines.count != before else { return false }
        return try file.write(text.bytes, newMode: 0o644, attempted)
    }

    static func with(_ bytes: [UInt8], includeFile: String) -> [UInt8] {
        var text = ConfigText(bytes)
        takeOut(&text, includeFile: includeFile)
        text.append(comment)
        text.append("include_if_exists = \(ConfigText.quoted(includeFile))")
        return text.bytes
    }

    private static func takeOut(_ text: inout ConfigText, includeFile: String) {
        // Also one of another state directory: the file may come from the other host, or the directory was moved.
        let name = "/" + (includeFile.split(separator: "/").last ?? "")
        text.removeLines { line, setting in
            if line.hasPrefix(comment) { return true }
            guard let setting, setting.name.hasPrefix("include") else { return false }
            return setting.value == includeFile || setting.value.hasSuffix(name)
        }
    }
}
