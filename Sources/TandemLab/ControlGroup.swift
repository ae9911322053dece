import Glibc
import TandemSystem

/// A group of the unified hierarchy (cgroups(7), version 2) for one host: freezing, and ending of all its processes even
/// while frozen. Where there is no such hierarchy a host runs without, and cannot be frozen.
struct ControlGroup: Sendable {
    let path: String

    /// Where the unified hierarchy is mounted; nil: nowhere.
    static func root() -> String? {
        let mounts = (Text.read("/proc/self/mounts") ?? "").split(separator: "\n").map { $0.split(separator: " ") }
        return mounts.first { $0.count > 2 && $0[2] == "cgroup2" }.map { String($0[1]) }
    }

    /// Nil: no unified hierarchy here, or it may not be changed.
    static func make(_ lab: LabName, host: String) -> ControlGroup? {
        guard let root = root() else { return nil }
        let path = "\(root)/\(lab)-\(host)"
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { return nil }
        return ControlGroup(path: path)
    }

    /// For the start of process 1: who writes "0" into it becomes a member. Nil: refused.
    func openMembers() -> Descriptor? {
        let number = open("\(path)/cgroup.procs", O_WRONLY | O_CLOEXEC)
        return number < 0 ? nil : Descriptor(number)
    }

    /// For the start of process 1, where the kernel hands out real-time priority by groups (version 1, `cpu`): a group of our own
    /// in which nobody may have it is left for the root one, else no agent and no guard of the lab could take it (EPERM).
    /// Nil: nothing to be done.
    static func openRealTimeMembers() -> Descriptor? {
        let mounts = (Text.read("/proc/self/mounts") ?? "").split(separator: "\n").map {
            $0.split(separator: " ")
        }
        let mount = mounts.first {
            $0.count > 3 && $0[2] == "cgroup" && $0[3].split(separator: ",").contains("cpu")
        }
        let groups = (Text.read("/proc/self/cgroup") ?? "").split(separator: "\n").map {
            $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        }
        let own = groups.first { $0.count == 3 && $0[1].split(separator: ",").contains("cpu") }
        guard let mount, let own, Text.read("\(mount[1])\(own[2])/cpu.rt_runtime_us") == "0\n" else {
            return nil
        }
        let number = open("\(mount[1])/cgroup.procs", O_WRONLY | O_CLOEXEC)
        return number < 0 ? nil : Descriptor(number)
    }

    /// False too where the whole lab was cleaned up by force, and the group is gone.
    var isFrozen: Bool { Text.read("\(path)/cgroup.freeze") == "1\n" }

    func setFrozen(_ frozen: Bool) throws(LabError) {
        try Text.overwrite("\(path)/cgroup.freeze", frozen ? "1" : "0")
        let reached = SystemClock.wait(upTo: .seconds(2)) {
            (Text.read("\(path)/cgroup.events") ?? "").contains("frozen \(frozen ? 1 : 0)")
        }
        guard reached else {
            throw LabError(attempted: "\(frozen ? "freeze" : "thaw") \(path)", happened: "not done within 2 s")
        }
    }

    static func killAll(of lab: LabName) {
        for group in groups(of: lab) {
            do throws(LabError) {
                try Text.overwrite("\(group)/cgroup.kill", "1")
            } catch {
                // Older than Linux 5.14: the processes are ended one by one by the caller; thawed, so that they can end.
                _ = setThawed(group)
            }
        }
    }

    static func removeAll(of lab: LabName) throws(LabError) {
        for group in groups(of: lab) {
            // EBUSY while the last process is on its way out.
            let removed = SystemClock.wait(upTo: .seconds(2)) { remove(group) }
            guard removed else {
                throw LabError(attempted: "remove the control group \(group)", happened: "it is still busy after 2 s")
            }
        }
    }

    /// With the groups that a service manager inside has made. False: something is still in it.
    private static func remove(_ group: String) -> Bool {
        for name in Text.names(in: group) where access("\(group)/\(name)/cgroup.procs", F_OK) == 0 {
            guard remove("\(group)/\(name)") else { return false }
        }
        return rmdir(group) == 0 || errno == ENOENT
    }

    private static func groups(of lab: LabName) -> [String] {
        guard let root = root() else { return [] }
        return Text.names(in: root).filter { LabName(in: $0) == lab }.map { "\(root)/\($0)" }
    }

    private static func setThawed(_ group: String) -> Bool {
        do throws(LabError) { try Text.overwrite("\(group)/cgroup.freeze", "0") } catch { return false }
        return true
    }
}
