import Glibc
import TandemSystem

/// Everything that a lab has outside its process, found again by name alone: also when the process that made it is gone.
struct LabRemains: Sendable {
    /// Names the work folder of each lab, also of those that were given another place than /tmp.
    static let registry = "/run/pgtandem-lab"

    let name: LabName

    /// Labs of which anything is left on this machine.
    static func all() -> Set<LabName> {
        var places = [NetworkNamespace.directory, registry, "/tmp"]
        if let groups = ControlGroup.root() { places.append(groups) }
        return Set(places.flatMap { Text.names(in: $0) }.compactMap { LabName(in: $0) })
    }

    static func register(_ name: LabName, folder: String) throws(LabError) {
        try Text.makeFolder(registry)
        try Text.create("\(registry)/\(name)", Array(folder.utf8))
    }

    /// Removes all of it; may be called again. Goes on after a failure, and tells the first one at the end.
    func remove() throws(LabError) {
        var failure: LabError?
        func attempt(_ body: () throws(LabError) -> Void) {
            do throws(LabError) { try body() } catch { failure = failure ?? error }
        }
        attempt(endProcesses)
        for namespace in namespaces() { attempt(namespace.delete) }
        attempt { () throws(LabError) in try ControlGroup.removeAll(of: name) }
        let entry = "\(LabRemains.registry)/\(name)"
        // A folder that shall be kept has another name, and is not touched.
        let folders = Set([Text.read(entry), "/tmp/\(name)"].compactMap { $0 }.filter { LabName(in: lastPart($0)) == name })
        for folder in folders { attempt { () throws(LabError) in try Text.removeTree(folder) } }
        attempt { () throws(LabError) in try Text.removeTree(entry) }
        // Another lab's entry keeps the folder: then this is refused, as it should be.
        _ = rmdir(LabRemains.registry)
        if let failure { throw failure }
    }

    private func lastPart(_ path: String) -> String { String(path.split(separator: "/").last ?? "") }

    private func namespaces() -> [NetworkNamespace] {
        Text.names(in: NetworkNamespace.directory).filter { LabName(in: $0) == name }.map { NetworkNamespace(name: $0) }
    }

    /// By control group, and by network namespace where there are no groups. Process 1 of each machine goes with them,
    /// and the kernel ends the rest of a machine before it lets process 1 go.
    private func endProcesses() throws(LabError) {
        ControlGroup.killAll(of: name)
        let left = SystemClock.wait(upTo: .seconds(5), step: .milliseconds(5)) {
            let alive = processes()
            for pid in alive { ProcessTable.signal(pid, SIGKILL) }
            return alive.isEmpty
        }
        guard left else {
            throw LabError(
                attempted: "end the processes of \(name)", happened: "\(processes()) are left after 5 s",
                advice: "Look with ps whether they hang on a disk (state D).")
        }
    }

    /// Live processes in the lab's network namespaces, never this one.
    private func processes() -> [Int32] {
        let inodes = Set(
            namespaces().compactMap { namespace in
                var status = stat()
                return stat(namespace.path, &status) == 0 ? "net:[\(status.st_ino)]" : nil
            })
        guard !inodes.isEmpty else { return [] }
        return Text.names(in: "/proc").compactMap { Int32($0) }.filter { pid in
            guard pid != getpid(), let link = Text.link("/proc/\(pid)/ns/net"), inodes.contains(link) else { return false }
            return ProcessTable.startTime(of: pid) != nil
        }
    }
}
