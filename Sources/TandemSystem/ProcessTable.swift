import Glibc

/// Processes as /proc shows them; works without root for processes of our own user.
public enum ProcessTable {
    /// Every live (not zombie) process whose working directory is that directory: the postmaster and all that it
    /// started, also when the postmaster itself is gone. Empty if there is none, or no such directory.
    ///
    /// Resolving a path asks the file system, which may hang when the disk is dead: who must not hang resolves once,
    /// early, and calls `processes(ofResolvedDirectory:)`.
    public static func processes(ofDirectory directory: String) -> [Int32] {
        guard let path = resolved(directory) else { return [] }
        return processes(ofResolvedDirectory: path)
    }

    /// Asks /proc only, never the directory itself.
    public static func processes(ofResolvedDirectory directory: String) -> [Int32] {
        guard let folder = opendir("/proc") else { return [] }
        defer { closedir(folder) }
        var found: [Int32] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let pid = Int32(name), let place = link("/proc/\(pid)/cwd") else { continue }
            // A directory that was removed under a running server still has that server.
            guard place == directory || place == "\(directory) (deleted)" else { continue }
            if startTime(of: pid) != nil { found.append(pid) }
        }
        return found.sorted()
    }

    /// The path without symbolic links; nil: no such file.
    public static func resolved(_ path: String) -> String? {
        guard let text = realpath(path, nil) else { return nil }
        defer { free(text) }
        return String(cString: text)
    }

    /// When it started, in clock ticks since boot (proc(5), field 22 of stat): with the pid it names a process for ever,
    /// since pids are used again. Nil: no such process, or a zombie.
    public static func startTime(of pid: Int32) -> UInt64? {
        guard pid > 0, let fields = status(of: pid), fields.count > 19 else { return nil }
        // Z: zombie, X: dead.
        guard fields[0] != "Z", fields[0] != "X" else { return nil }
        return UInt64(fields[19])
    }

    /// Fields of stat from the third on. The second is the name in parentheses and may hold any byte.
    private static func status(of pid: Int32) -> [Substring]? {
        do throws(SystemError) {
            guard let bytes = try DurableFile.read("/proc/\(pid)/stat", limit: 65536) else { return nil }
            guard let parenthesis = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
            return String(decoding: bytes[(parenthesis + 1)...], as: UTF8.self).split { $0 == " " || $0 == "\n" }
        } catch {
            // ESRCH: it ended between open and read.
            return nil
        }
    }

    /// True if it was sent. Never reaches a group, everybody, or the first process: those numbers are refused.
    @discardableResult
    public static func signal(_ pid: Int32, _ signal: Int32) -> Bool {
        guard pid > 1 else { return false }
        return kill(pid, signal) == 0
    }

    private static func link(_ path: String) -> String? {
        var text = [CChar](repeating: 0, count: 4096 + 16)
        let count = readlink(path, &text, text.count)
        guard count > 0 else { return nil }
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
