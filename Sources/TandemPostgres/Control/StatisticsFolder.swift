import Glibc
import TandemSystem

extension Instance {
    /// PostgreSQL 14 and older keep statistics in files below `stats_temp_directory`, and recovery ends at once where that is missing.
    /// Debian has it in a file system of memory, and its own scripts, which are not in use here, make it at each start: so must we.
    ///
    /// A configuration that cannot be read is left to PostgreSQL to name.
    /// - Throws: if the folder cannot be made.
    func makeStatisticsFolder(_ end: Deadline) throws(SystemError) {
        guard let major = try DataDirectory.majorVersion(settings.dataDirectory), major < 15 else { return }
        var arguments = ["-C", "stats_temp_directory", "-D", settings.dataDirectory]
        if let file = settings.configFile { arguments += ["-c", "config_file=\(file)"] }
        let answer = try settings.tool("postgres", arguments).run(deadline: end.atMost(.seconds(10)))
        let folder = answer.output.trimmed()
        // A relative one is in the data directory, made by initdb.
        guard answer.succeeded, folder.hasPrefix("/"), !OwnedFiles.exists(folder) else { return }
        try files.makeFolder(folder)
    }
}
