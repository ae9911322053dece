import Glibc
import Synchronization
import TandemCore
import TandemSystem

/// Remembers where the parts of a data directory lie while its instance runs: only that proves that they are the right ones. What is found
/// below the links of a stopped instance may be older files under the mount point of a disk that is missing.
public final class RunningParts: Sendable {
    private let settings: InstanceSettings
    private let node: NodeName
    /// What is settled, so that nothing is written, or read, twice.
    private let settled = Mutex<[Sight]?>(nil)

    /// A part as a glance tells it. The table of mounts is read for what changed only: it is long, and this is done every second.
    private struct Sight: Equatable {
        var text: String
        var device: UInt
        var inode: UInt

        init(_ part: (link: String, kind: Elsewhere.Kind, text: String)) {
            var found = stat()
            let isThere = stat(part.link, &found) == 0
            text = part.text
            (device, inode) = isThere ? (UInt(found.st_dev), UInt(found.st_ino)) : (0, 0)
        }
    }

    public init(_ settings: InstanceSettings, _ node: NodeName) {
        self.settings = settings
        self.node = node
    }

    /// To be called again and again while the instance runs: a tablespace is made at any time.
    public func seenRunning() throws(PostgresError) {
        let sights = Elsewhere.links(of: settings.dataDirectory).map(Sight.init)
        // A person may have removed it, so that it is remembered anew.
        let isKept = OwnedFiles.exists(DirectoryIdentity.file(stateDirectory: settings.stateDirectory))
        guard settled.withLock({ $0 != sights || !isKept }) else { return }
        let attempted = "remember where the parts of \(settings.dataDirectory) are"
        let mounts = try SetupTool.perform(attempted) { () throws(SystemError) in try MountTable.current() }
        guard let mark = try CopyMarkFile.readSound(settings.dataDirectory), mark.node == node,
            try Rejoin.unfinishedRewind(settings) == nil, Elsewhere.missing(in: settings.dataDirectory) == nil
        else { return }
        var now = try DirectoryIdentity.of(settings.dataDirectory)
        let known = try DirectoryIdentity.read(stateDirectory: settings.stateDirectory)
        if let known { now = known.followed(by: now, mounts) }
        // What was known of the system is not given up for a damaged control file.
        guard now.systemIdentifier != nil else { return }
        if now != known { try now.write(stateDirectory: settings.stateDirectory, osUser: settings.osUser) }
        settled.withLock { $0 = sights }
    }
}

extension DirectoryIdentity {
    static func parts(of directory: String, _ mounts: MountTable) -> [Part] {
        Elsewhere.of(ProcessTable.resolved(directory) ?? directory).map {
            Part(kind: $0.kind, text: $0.text, mountPoint: mounts.point(of: $0.place))
        }
    }

    /// What is to be remembered from now on. A mount point is not given up for a disk that is missing now: a server may outlive its disk.
    func followed(by now: DirectoryIdentity, _ mounts: MountTable) -> DirectoryIdentity {
        var next = now
        next.systemIdentifier = now.systemIdentifier ?? systemIdentifier
        if !mounts.isMountPoint(mountPoint) { (next.path, next.mountPoint) = (path, mountPoint) }
        next.elsewhere = now.elsewhere.map { part in
            elsewhere.first { $0.kind == part.kind && $0.text == part.text && !mounts.isMountPoint($0.mountPoint) } ?? part
        }
        return next
    }

    /// A part of the directory that is not where it was when the instance last ran: its link says the same, and its file system is not mounted.
    /// What is found there is older, or somebody else's.
    static func strayed(_ settings: InstanceSettings) throws(PostgresError) -> Part? {
        guard let known = try read(stateDirectory: settings.stateDirectory), !known.elsewhere.isEmpty else { return nil }
        let mounts = try SetupTool.perform("look at what is mounted") { () throws(SystemError) in try MountTable.current() }
        let links = Elsewhere.links(of: settings.dataDirectory)
        return known.elsewhere.first { part in
            !mounts.isMountPoint(part.mountPoint) && links.contains { $0.kind == part.kind && $0.text == part.text }
        }
    }
}
