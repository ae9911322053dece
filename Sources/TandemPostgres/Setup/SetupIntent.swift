import Glibc
import TandemSystem

/// What a run was about to do, kept durably in the state directory until it has done it: so the next run knows what is a
/// leftover of ours and what is somebody's data.
struct SetupIntent: Hashable, Sendable {
    enum Kind: String { case copy = "copy-in-progress", create = "create-in-progress" }

    /// The data directory, without symbolic links.
    var target: String
    /// The inode of the whole, verified new directory, noted before it is renamed into its place.
    var wholeDirectory: UInt64?
    /// Locations of tablespaces that were absent or empty before.
    var tablespaces: [String] = []
    /// What lies elsewhere and is copied beside its place.
    var elsewhere: [Elsewhere] = []

    init(target: String) { self.target = target }

    static func path(_ settings: InstanceSettings, _ kind: Kind) -> String { settings.stateDirectory + "/" + kind.rawValue }

    private var text: String {
        var text = "target \(target)\n"
        if let wholeDirectory { text += "whole \(wholeDirectory)\n" }
        for location in tablespaces { text += "tablespace \(location)\n" }
        for part in elsewhere { text += "\(part.kind.rawValue)-link \(part.text)\nplace \(part.place)\n" }
        return text + "end\n"
    }

    /// nil: there is none.
    /// - Throws: if it cannot be read or is damaged: then what is ours cannot be told.
    static func read(_ settings: InstanceSettings, _ kind: Kind) throws(PostgresError) -> SetupIntent? {
        let path = path(settings, kind)
        let bytes = try SetupTool.perform("read \(path)") { () throws(SystemError) in try DurableFile.read(path) }
        guard let bytes else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        var intent = SetupIntent(target: "")
        var link: (kind: Elsewhere.Kind, text: String)?
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ", maxSplits: 1)
            switch parts.first {
            case "target": intent.target = parts.count > 1 ? String(parts[1]) : ""
            case "whole": intent.wholeDirectory = parts.count > 1 ? UInt64(parts[1]) : nil
            case "tablespace": intent.tablespaces += parts.dropFirst().map(String.init)
            case "wal-link": link = (.wal, parts.count > 1 ? String(parts[1]) : "")
            case "tablespace-link": link = (.tablespace, parts.count > 1 ? String(parts[1]) : "")
            case "place":
                if let link, parts.count > 1 { intent.elsewhere.append(Elsewhere(link.kind, link.text, place: String(parts[1]))) }
            default: break
            }
        }
        guard !intent.target.isEmpty, intent.text == text else {
            throw PostgresError(
                attempted: "read \(path)", happened: "Its text is damaged.",
                meaning: "What an interrupted run has left cannot be told from data; nothing was changed.",
                advice: "Look whether \(settings.dataDirectory) holds what you need, then remove \(path).")
        }
        return intent
    }

    func write(_ settings: InstanceSettings, _ kind: Kind) throws(PostgresError) {
        let path = SetupIntent.path(settings, kind)
        try SetupTool.perform("write \(path)") { () throws(SystemError) in
            try OwnedFiles(user: settings.osUser).write(text, to: path)
        }
    }

    static func remove(_ settings: InstanceSettings, _ kind: Kind) throws(PostgresError) {
        let path = path(settings, kind)
        try SetupTool.perform("remove \(path)") { () throws(SystemError) in try DurableFile.remove(path) }
    }
}

/// One run at a time that makes a data directory.
final class SetupLock {
    private let lock: FileLock

    init(_ settings: InstanceSettings, _ attempted: String) throws(PostgresError) {
        let path = settings.stateDirectory + "/setup.lock"
        let lock = try SetupTool.perform(attempted) { () throws(SystemError) in
            let lock = try FileLock.acquire(path)
            if lock != nil { try OwnedFiles(user: settings.osUser).handOver(path) }
            return lock
        }
        guard let lock else {
            throw PostgresError(
                attempted: attempted, happened: "Another run of pgtandem is at it.", meaning: "Nothing was changed.",
                advice: "Wait until it is done.")
        }
        self.lock = lock
    }

    func release() { lock.release() }
}
