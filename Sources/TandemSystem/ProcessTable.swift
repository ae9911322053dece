import Glibc
import Synchronization

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

    /// Stands for "some process may be left": no process has this number, and a signal to it reaches nobody.
    public static let unknown = Int32.max

    /// Asks /proc only, never the directory itself. Not knowing is not absence, since others rely on the end of every process: a
    /// /proc that cannot be listed (no descriptor, no memory) gives `[unknown]`, and a server whose directory may not be read (a
    /// program with file capabilities) counts.
    /// - Parameter others: told of each process that stands elsewhere by name; its directory may have been renamed under it.
    public static func processes(ofResolvedDirectory directory: String, others: (Int32) -> Void = { _ in }) -> [Int32] {
        guard let folder = opendir("/proc") else { return [unknown] }
        defer { closedir(folder) }
        var found: [Int32] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let pid = Int32(name) else { continue }
            if let place = link("/proc/\(pid)/cwd") {
                // A directory that was removed under a running server still has that server.
                guard place == directory || place == "\(directory) (deleted)" else {
                    others(pid)
                    continue
                }
                if isLive(pid) { found.append(pid) }
            } else if errno == EACCES, geteuid() != 0, isServerOfOurs(pid) {
                found.append(pid)
            }
        }
        return found.sorted()
    }

    /// Where a process stands, whatever that is called now; nil: not known. Asks the file system of that place, which a network may hold up:
    /// `standing(at:of:upTo:)` does not wait for it.
    public static func place(of pid: Int32) -> FilePlace? {
        var facts = stat()
        guard stat("/proc/\(pid)/cwd", &facts) == 0 else { return nil }
        return FilePlace(device: UInt64(facts.st_dev), number: UInt64(facts.st_ino))
    }

    /// Those of the processes that stand there. nil: a file system did not answer in time.
    public static func standing(at place: FilePlace, of processes: [Int32], upTo patience: Duration) -> [Int32]? {
        guard !processes.isEmpty else { return [] }
        // Not more of them than that stand where a file system hangs.
        let isFull = asking.withLock { asking in
            guard asking < 8 else { return true }
            asking += 1
            return false
        }
        if isFull { return nil }
        let answer = Answer()
        do throws(SystemError) {
            let done = try Bell()
            try OwnThread.start("places") {
                let found = processes.filter { self.place(of: $0) == place && startTime(of: $0) != nil }
                answer.found.withLock { $0 = found }
                asking.withLock { $0 -= 1 }
                done.ring()
            }
            _ = done.wait(upTo: patience)
        } catch {
            asking.withLock { $0 -= 1 }
        }
        return answer.found.withLock { $0 }
    }

    private static let asking = Mutex(0)

    private final class Answer: Sendable {
        let found = Mutex<[Int32]?>(nil)
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

    /// False only for what is surely gone or a zombie.
    private static func isLive(_ pid: Int32) -> Bool {
        if startTime(of: pid) != nil { return true }
        do throws(SystemError) {
            guard let bytes = try DurableFile.read("/proc/\(pid)/stat", limit: 65536) else { return false }
            let rest = bytes.lastIndex(of: UInt8(ascii: ")")).map { bytes[($0 + 1)...] } ?? []
            let state = rest.first { $0 != UInt8(ascii: " ") }
            return state != UInt8(ascii: "Z") && state != UInt8(ascii: "X")
        } catch {
            return error.code != ESRCH && error.code != ENOENT
        }
    }

    /// A server process of our own user whose directory the kernel does not tell us.
    private static func isServerOfOurs(_ pid: Int32) -> Bool {
        do throws(SystemError) {
            guard let facts = try FileFacts.of("/proc/\(pid)"), facts.ownerID == geteuid() || facts.ownerID == 0,
                let name = try DurableFile.read("/proc/\(pid)/comm", limit: 4096)
            else { return false }
            return ["postgres\n", "postmaster\n"].contains(String(decoding: name, as: UTF8.self)) && isLive(pid)
        } catch {
            return error.code != ESRCH && error.code != ENOENT
        }
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

/// A file or folder whatever its name: by device and number.
public struct FilePlace: Hashable, Sendable {
    public var device: UInt64
    public var number: UInt64

    public init(device: UInt64, number: UInt64) {
        self.device = device
        self.number = number
    }

    /// nil: there is nothing of that name.
    public init?(_ path: String) {
        var facts = stat()
        guard stat(path, &facts) == 0 else { return nil }
        self.init(device: UInt64(facts.st_dev), number: UInt64(facts.st_ino))
    }
}
