import Glibc
import TandemSystem

/// What the state directory remembers of a data directory, to tell later "its disk is not mounted" from "it is gone".
public struct DirectoryIdentity: Hashable, Sendable {
    /// Without symbolic links.
    public var path: String
    /// Of the file system that it was on.
    public var mountPoint: String
    public var systemIdentifier: UInt64?
    /// What of it lies elsewhere, so that a new copy in an empty directory puts it there again.
    var elsewhere: [Part] = []

    /// What a link said, and the file system that it led to.
    struct Part: Hashable, Sendable {
        var kind: Elsewhere.Kind
        var text: String
        var mountPoint: String
    }

    public init(path: String, mountPoint: String, systemIdentifier: UInt64?) {
        self.path = path
        self.mountPoint = mountPoint
        self.systemIdentifier = systemIdentifier
    }

    /// Looks at a data directory that is sound.
    public static func of(_ directory: String) throws(PostgresError) -> DirectoryIdentity {
        let attempted = "remember where \(directory) is"
        guard let path = ProcessTable.resolved(directory) else {
            throw PostgresError(
                attempted, SystemError.last("resolve \(directory)"), meaning: "A missing disk could later not be told by name.")
        }
        let mounts = try SetupTool.perform(attempted) { () throws(SystemError) in try MountTable.current() }
        var identity = DirectoryIdentity(
            path: path, mountPoint: mounts.point(of: path), systemIdentifier: try DirectoryFacts.systemIdentifier(of: path))
        identity.elsewhere = parts(of: path, mounts)
        return identity
    }

    private static let name = "data-directory"
    static func file(stateDirectory: String) -> String { stateDirectory + "/" + name }

    /// nil: nothing is remembered yet.
    public static func read(stateDirectory: String) throws(PostgresError) -> DirectoryIdentity? {
        let path = file(stateDirectory: stateDirectory)
        let bytes = try SetupTool.perform("read \(path)") { () throws(SystemError) in try DurableFile.read(path) }
        guard let bytes else { return nil }
        var facts: [String: String] = [:]
        var parts: [Part] = []
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            guard let blank = line.firstIndex(of: " ") else { continue }
            let (name, value) = (String(line[..<blank]), String(line[line.index(after: blank)...]))
            facts[name] = value
            if name == "on", let kind = Elsewhere.Kind(rawValue: facts["kind"] ?? ""), let text = facts["link"] {
                parts.append(Part(kind: kind, text: text, mountPoint: value))
            }
        }
        // A damaged memory is none: it only makes a message better.
        guard let remembered = facts["path"], let mount = facts["mount"] else { return nil }
        var identity = DirectoryIdentity(
            path: remembered, mountPoint: mount, systemIdentifier: facts["system"].flatMap { UInt64($0) })
        identity.elsewhere = parts
        return identity
    }

    public func write(stateDirectory: String, osUser: String?) throws(PostgresError) {
        var text = "path \(path)\nmount \(mountPoint)\n"
        if let systemIdentifier { text += "system \(systemIdentifier)\n" }
        for part in elsewhere { text += "kind \(part.kind.rawValue)\nlink \(part.text)\non \(part.mountPoint)\n" }
        let file = DirectoryIdentity.file(stateDirectory: stateDirectory)
        try SetupTool.perform("write \(file)") { () throws(SystemError) in try OwnedFiles(user: osUser).write(text, to: file) }
    }
}

/// The mounts that this process sees (proc(5), /proc/self/mountinfo); knows bind mounts, which device numbers do not tell.
struct MountTable {
    let points: Set<String>

    static func current() throws(SystemError) -> MountTable {
        let bytes = try DurableFile.read("/proc/self/mountinfo", limit: 4 << 20) ?? []
        return MountTable(String(decoding: bytes, as: UTF8.self))
    }

    init(_ text: String) {
        points = Set(
            text.split(separator: "\n").compactMap { line in
                let fields = line.split(separator: " ")
                return fields.count > 4 ? MountTable.unescaped(fields[4]) : nil
            })
    }

    /// In a changed root (chroot(2)) `/` need not be in the table.
    func isMountPoint(_ resolved: String) -> Bool { resolved == "/" || points.contains(resolved) }

    /// The nearest mount point at or above an absolute path.
    func point(of resolved: String) -> String {
        var path = resolved
        while path != "/", path != ".", !points.contains(path) { path = KeptFile.folder(of: path) }
        return path
    }

    /// Blanks and backslashes stand there as three octal digits.
    private static func unescaped(_ field: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3,
                let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
            {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
