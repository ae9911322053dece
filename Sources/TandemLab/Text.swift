import Glibc
import TandemSystem

/// Small files and folders of the lab. Nothing here has to survive a power failure.
enum Text {
    /// Nil: absent, or not readable just now (a process that ended).
    static func read(_ path: String) -> String? {
        do throws(SystemError) {
            guard let bytes = try DurableFile.read(path, limit: 1 << 31) else { return nil }
            return String(decoding: bytes, as: UTF8.self)
        } catch {
            return nil
        }
    }

    /// Writes in place (also to /proc and cgroup files, which cannot be replaced by rename).
    static func overwrite(_ path: String, _ text: String) throws(LabError) {
        let number = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC)
        guard number >= 0 else { throw LabError(SystemError.last("open \(path)")) }
        try write(Descriptor(number), path, Array(text.utf8))
    }

    /// Makes or replaces an ordinary file.
    static func create(_ path: String, _ bytes: [UInt8], mode: UInt32 = 0o644) throws(LabError) {
        let number = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard number >= 0 else { throw LabError(SystemError.last("create \(path)")) }
        let file = Descriptor(number)
        guard fchmod(number, mode) == 0 else { throw LabError(SystemError.last("set the mode of \(path)")) }
        try write(file, path, bytes)
    }

    private static func write(_ file: Descriptor, _ path: String, _ bytes: [UInt8]) throws(LabError) {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { Glibc.write(file.number, $0.baseAddress, $0.count) }
            guard count > 0 || errno == EINTR else { throw LabError(SystemError.last("write \(path)")) }
            done += max(0, count)
        }
    }

    /// With all missing parents; existing ones stay as they are.
    static func makeFolder(_ path: String, mode: UInt32 = 0o755) throws(LabError) {
        var made = ""
        for part in path.split(separator: "/") {
            made += "/\(part)"
            guard mkdir(made, mode) == 0 else {
                if errno == EEXIST { continue }
                throw LabError(SystemError.last("make the folder \(made)"))
            }
            guard chmod(made, mode) == 0 else { throw LabError(SystemError.last("set the mode of \(made)")) }
        }
    }

    static func setOwner(_ path: String, user: UInt32, group: UInt32) throws(LabError) {
        guard chown(path, user, group) == 0 else { throw LabError(SystemError.last("give \(path) to user \(user)")) }
    }

    /// Names in a folder, without "." and ".."; empty if there is no such folder.
    static func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Where a symbolic link (also those of /proc) points; nil: no link.
    static func link(_ path: String) -> String? {
        var text = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &text, text.count)
        guard count > 0 else { return nil }
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// A folder with all that is in it; absent is fine. Does not follow symbolic links.
    static func removeTree(_ path: String) throws(LabError) {
        guard let facts = try asLabError({ () throws(SystemError) in try FileFacts.of(path, followingLinks: false) })
        else { return }
        if facts.kind == .directory {
            for name in names(in: path) { try removeTree("\(path)/\(name)") }
            guard rmdir(path) == 0 || errno == ENOENT else { throw LabError(SystemError.last("remove \(path)")) }
        } else {
            guard unlink(path) == 0 || errno == ENOENT else { throw LabError(SystemError.last("remove \(path)")) }
        }
    }
}
