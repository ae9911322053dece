import Glibc
import TandemSystem

/// A part of a data directory that lies elsewhere, behind a symbolic link: `pg_wal`, or a tablespace (`hazards.md` H115, H116).
///
/// A new copy of it is made beside its place, like that of the directory itself, and swapped in by rename: so it stays on its own disk, and
/// the link says what it said.
struct Elsewhere: Hashable, Sendable {
    enum Kind: String, Hashable, Sendable { case wal, tablespace }

    var kind: Kind
    /// What the link says.
    var text: String
    /// The directory itself, without symbolic links.
    var place: String

    /// Where a new copy of it is made.
    var fresh: String { place + ".pgtandem-new" }

    /// - Parameter directory: the data directory, against which a relative link of `pg_wal` counts.
    /// - Returns: nil: the folder above it is missing.
    init?(_ kind: Kind, _ text: String, in directory: String) {
        self.kind = kind
        self.text = text
        let path = text.hasPrefix("/") ? text : "\(directory)/\(text)"
        if let place = ProcessTable.resolved(path) {
            self.place = place
        } else if let parent = ProcessTable.resolved(KeptFile.folder(of: path)), let name = path.split(separator: "/").last {
            place = (parent == "/" ? "" : parent) + "/" + name
        } else {
            return nil
        }
    }

    init(_ kind: Kind, _ text: String, place: String) {
        self.kind = kind
        self.text = text
        self.place = place
    }

    /// Every link of a data directory that leads out of it, and what it says.
    static func links(of directory: String) -> [(link: String, kind: Kind, text: String)] {
        let spaces = (OwnedFiles.names(in: directory + "/pg_tblspc") ?? []).map {
            ("\(directory)/pg_tblspc/\($0)", Kind.tablespace)
        }
        return ([(directory + "/pg_wal", Kind.wal)] + spaces).compactMap { link, kind in
            DirectoryCheck.linkTarget(link).map { (link, kind, $0) }
        }
    }

    static func of(_ directory: String) -> [Elsewhere] {
        links(of: directory).compactMap { Elsewhere($0.kind, $0.text, in: directory) }
    }

    /// A part that lies in another one, in the data directory, or around one of them: one rename would carry two of them away.
    /// - Parameter others: whole directories.
    static func requireApart(_ parts: [Elsewhere], _ others: [String], _ attempted: String) throws(PostgresError) {
        func holds(_ outer: String, _ inner: String) -> Bool { inner == outer || inner.hasPrefix(outer + "/") }
        for (number, part) in parts.enumerated() {
            let rest = parts[(number + 1)...].map(\.place) + others
            guard let other = rest.first(where: { holds($0, part.place) || holds(part.place, $0) }) else { continue }
            throw PostgresError(
                attempted: attempted, happened: "\(part.place) and \(other) lie in each other.",
                meaning: "They could not be swapped for new ones by themselves; nothing was changed.",
                advice: "Move one of them to a place of its own, or make the copy by hand.")
        }
    }

    /// A link of the directory that leads nowhere; nil: there is none.
    static func missing(in directory: String) -> String? {
        links(of: directory).first { !OwnedFiles.exists($0.link) }?.text
    }

    /// Looks only.
    /// - Throws: if a new directory could not be swapped in there.
    func requireSwap(_ attempted: String, _ settings: InstanceSettings, major: Int) throws(PostgresError) {
        let what = kind == .wal ? "pg_wal" : "a tablespace"
        let mounts = try SetupTool.perform(attempted) { () throws(SystemError) in try MountTable.current() }
        guard !mounts.isMountPoint(place) else {
            throw PostgresError(
                attempted: attempted, happened: "\(place), which holds \(what), is a mount point.",
                meaning: "A new directory could not be swapped in as a whole; nothing was changed.",
                advice: kind == .wal
                    ? "Move the files to a folder below it, such as \(place)/wal, and let the link \(text) name that folder."
                    : "Make the copy by hand, or move the tablespace to a folder below it.")
        }
        // After the mount point, whose `lost+found` is no stranger's.
        let names = OwnedFiles.names(in: place) ?? []
        if let stranger = names.first(where: { !isOwn($0, major) }) {
            throw PostgresError(
                attempted: attempted, happened: "\(place) holds \(stranger), which is not this instance's.",
                meaning: "It would be moved aside with the rest; nothing was changed.",
                advice: "Move \(stranger) away, or make the copy by hand.")
        }
        let parent = KeptFile.folder(of: place)
        guard access(parent, W_OK | X_OK) == 0 else {
            let user = settings.osUser ?? "postgres"
            throw PostgresError(
                attempted: attempted, happened: "\(parent), which holds \(what), cannot be written to.",
                meaning: "The new copy is made beside the old one, which is kept; nothing was changed.",
                advice: "Give that folder to \(user) (`chown \(user) \(parent)`).")
        }
    }

    /// PostgreSQL manual, "Database File Layout": one folder per catalog version in a tablespace; in `pg_wal`, segments, histories and the like.
    private func isOwn(_ name: String, _ major: Int) -> Bool {
        switch kind {
        case .tablespace: name.hasPrefix("PG_\(major)_") || name == Self.stamp
        case .wal:
            name == "archive_status" || name == "summaries" || name == Self.stamp
                || ["xlogtemp.", "RECOVERY", "pgtandem"].contains { name.hasPrefix($0) }
                || name.count >= 8 && name.prefix(8).allSatisfy(\.isHexDigit)
        }
    }

    // MARK: whose part it is

    static let stamp = "pgtandem-part"

    /// Before the swap: this part belongs to the directory with that inode.
    func mark(_ whole: String, _ settings: InstanceSettings, _ attempted: String) throws(PostgresError) {
        try SetupTool.perform(attempted) { () throws(SystemError) in
            try OwnedFiles(user: settings.osUser).write(whole, to: fresh + "/" + Self.stamp)
        }
    }

    /// After it: a disk that went away meanwhile, or a link that somebody changed, would leave an old part in a new directory.
    func requireMark(_ whole: String, of directory: String, _ attempted: String) throws(PostgresError) {
        for (link, _, found) in Elsewhere.links(of: directory) where found == text {
            let path = link + "/" + Self.stamp
            let bytes = try SetupTool.perform(attempted) { () throws(SystemError) in try DurableFile.read(path) }
            guard bytes.map({ String(decoding: $0, as: UTF8.self) }) == whole else {
                throw PostgresError(
                    attempted: attempted, happened: "What \(link) leads to, \(text), is not what was copied for it.",
                    meaning: "The new directory is not started; what was copied lies at \(fresh) or where its disk is.",
                    advice: "Look whether its disk is mounted; it is tried again.")
            }
        }
    }

    func unmark(_ attempted: String) throws(PostgresError) {
        try SetupTool.perform(attempted) { () throws(SystemError) in try DurableFile.remove(place + "/" + Self.stamp) }
    }

    /// After the new data directory is in its place, and before its mark: old out, new in, links right. May be ended at any moment and
    /// called again, also if it is not known any more where the old directory went.
    /// - Parameters:
    ///   - directory: the new data directory.
    ///   - ending: of the old one's name, such as `.diverged.7`, as it was noted. The old one keeps what it had, under `place` with its ending.
    func settle(_ directory: String, ending: String, _ attempted: String) throws(PostgresError) {
        let former = FormerDirectories(of: directory)
        let (place, fresh, aside) = (place, fresh, place + former.ending(of: self, noted: ending))
        try SetupTool.perform(
            attempted, meaning: "The new copy is whole, and \(fresh) not yet in its place.",
            advice: "Look what stands at \(place); it is tried again."
        ) { () throws(SystemError) in
            if OwnedFiles.exists(fresh) {
                // An empty one is replaced by the rename.
                if OwnedFiles.names(in: place)?.isEmpty == false {
                    guard rename(place, aside) == 0 else { throw SystemError.last("rename \(place) to \(aside)") }
                }
                // First the old directory's: it never leads to what is new. After the move, so that it tells whose this was until then.
                for (_, link) in former.links(to: self) { try Elsewhere.set(link, to: aside) }
                guard rename(fresh, place) == 0 else { throw SystemError.last("rename \(fresh) to \(place)") }
                try OwnedFiles.sync(KeptFile.folder(of: place))
            }
            for (link, _, found) in Elsewhere.links(of: directory) where found == fresh { try Elsewhere.set(link, to: text) }
        }
    }

    static func set(_ link: String, to text: String) throws(SystemError) {
        let temporary = link + ".pgtandem-new"
        guard unlink(temporary) == 0 || errno == ENOENT else { throw SystemError.last("remove \(temporary)") }
        guard symlink(text, temporary) == 0 else { throw SystemError.last("make the link \(temporary)") }
        guard rename(temporary, link) == 0 else { throw SystemError.last("rename \(temporary) to \(link)") }
        try OwnedFiles.sync(KeptFile.folder(of: link))
    }

    /// Of pg_basebackup (PostgreSQL manual, pg_basebackup: `--waldir`, `--tablespace-mapping`).
    var argument: String {
        func escaped(_ path: String) -> String { path.map { $0 == "=" ? "\\=" : String($0) }.joined() }
        return kind == .wal ? "--waldir=\(fresh)" : "--tablespace-mapping=\(escaped(text))=\(escaped(fresh))"
    }
}
