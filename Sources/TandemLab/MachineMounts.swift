import CLinux
import Glibc
import TandemSystem

/// The file systems of a freshly booted machine. Runs as process 1, alone in a new mount namespace: whatever is mounted
/// here is gone with the machine.
struct MachineMounts {
    let spec: MachineSpec
    /// Folders that are copies made of binds already: anything can be made in them.
    private var replaced: Set<String> = []

    init(spec: MachineSpec) { self.spec = spec }

    mutating func prepare() throws(LabError) {
        // Without this every mount below would appear on the machine that we run on.
        try mount("none", "/", nil, flags: UInt(MS_REC | MS_PRIVATE))
        // From the lab's folder, which the mounts further down may hide.
        for folder in spec.folders { try bindFolder(folder) }
        try bindProgram()
        if let postgres = spec.postgres {
            try makeMountPoint(postgres.place)
            try mount(postgres.folder, postgres.place, nil, flags: UInt(MS_BIND))
        }
        if let clock = spec.wallClock {
            try makeMountPoint(WallClock.place)
            try mount(clock, WallClock.place, nil, flags: UInt(MS_BIND))
        }
        // A new mount of /proc shows the new process numbers; of /sys, the new network namespace.
        try mount("proc", "/proc", "proc", flags: UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC))
        try mount("sysfs", "/sys", "sysfs", flags: UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC))
        // Own /dev/shm: PostgreSQL's dynamic shared memory of the last boot, and of the other host, must not be seen.
        try mount("tmpfs", "/dev/shm", "tmpfs", flags: UInt(MS_NOSUID | MS_NODEV), data: "mode=1777")
        try prepareRun()
        try mount("tmpfs", "/tmp", "tmpfs", flags: UInt(MS_NOSUID | MS_NODEV), data: "mode=1777")
        try bindBootID()
        try Text.overwrite("/proc/sys/kernel/ns_last_pid", "\(spec.lastPID)")
    }

    /// As systemd-tmpfiles and the packages leave it after a boot.
    private func prepareRun() throws(LabError) {
        try mount("tmpfs", "/run", "tmpfs", flags: UInt(MS_NOSUID | MS_NODEV), data: "mode=0755")
        let owned: [(String, UInt32)] = [("/run/postgresql", 0o2775), ("/run/pgtandem", 0o755)]
        for (path, mode) in owned {
            try Text.makeFolder(path)
            try Text.setOwner(path, user: spec.userID, group: spec.groupID)
            // After the change of owner, which clears the set-group-ID bit.
            guard chmod(path, mode) == 0 else { throw LabError(SystemError.last("set the mode of \(path)")) }
        }
        try Text.makeFolder("/run/lock", mode: 0o1777)
    }

    private func bindBootID() throws(LabError) {
        let place = "/run/boot_id"
        try Text.create(place, Array("\(spec.bootID)\n".utf8), mode: 0o444)
        try mount(place, "/proc/sys/kernel/random/boot_id", nil, flags: UInt(MS_BIND))
    }

    private mutating func bindFolder(_ folder: String) throws(LabError) {
        try makeMountPoint(folder)
        try mount(spec.disk + folder, folder, nil, flags: UInt(MS_BIND))
    }

    /// The agent becomes another user, who may not be able to reach the program where it was built.
    private mutating func bindProgram() throws(LabError) {
        let place = LabHost.programPath
        if access(place, F_OK) != 0 {
            let folder = parentOf(place)
            if try isFolder(folder) { try replaceByBinds(folder) } else { try makeMountPoint(folder) }
            try Text.create(place, [], mode: 0o755)
        }
        try mount(spec.program, place, nil, flags: UInt(MS_BIND))
    }

    /// The folder may not exist on the machine we run on, and it shall not be made there: its nearest existing parent is
    /// replaced, for this machine only, by a copy made of binds, in which it can be made.
    private mutating func makeMountPoint(_ folder: String) throws(LabError) {
        guard try !isFolder(folder) else { return }
        var parent = folder
        repeat { parent = parentOf(parent) } while try !isFolder(parent)
        try replaceByBinds(parent)
        try Text.makeFolder(folder)
    }

    private mutating func replaceByBinds(_ folder: String) throws(LabError) {
        guard !replaced.contains(folder) else { return }
        try mount("tmpfs", spec.stage, "tmpfs", flags: UInt(MS_NOSUID | MS_NODEV), data: "mode=0755")
        for name in Text.names(in: folder) {
            let from = "\(folder)/\(name)"
            let to = "\(spec.stage)/\(name)"
            let facts = try asLabError { () throws(SystemError) in try FileFacts.of(from, followingLinks: false) }
            switch facts?.kind {
            case .none: continue
            case .symbolicLink:
                guard let target = Text.link(from), symlink(target, to) == 0 else {
                    throw LabError(SystemError.last("copy the link \(from)"))
                }
            case .directory:
                try Text.makeFolder(to)
                try mount(from, to, nil, flags: UInt(MS_BIND | MS_REC))
            case .file, .pipe, .socket, .characterDevice, .blockDevice:
                try Text.create(to, [])
                try mount(from, to, nil, flags: UInt(MS_BIND))
            }
        }
        try mount(spec.stage, folder, nil, flags: UInt(MS_MOVE))
        replaced.insert(folder)
    }

    private func parentOf(_ path: String) -> String { "/" + path.split(separator: "/").dropLast().joined(separator: "/") }

    private func isFolder(_ path: String) throws(LabError) -> Bool {
        try asLabError { () throws(SystemError) in try FileFacts.of(path)?.kind == .directory }
    }

    private func mount(
        _ source: String, _ target: String, _ type: String?, flags: UInt, data: String? = nil
    ) throws(LabError) {
        guard clab_mount(source, target, type, flags, data) == 0 else {
            throw LabError(SystemError.last("mount \(source) on \(target)"))
        }
    }
}
