import CLinux
import Glibc
import Synchronization
import TandemSystem

/// Ends servers of the instance whose directory was renamed, or whose file system was taken away (`umount -l`), under them: they go on in it,
/// and no name tells of them. The folder itself does, and asking for it means asking its file system, which may hang. So a thread of its own,
/// made beforehand, does this and nothing else, and the act never waits for it.
final class GuardStrays: Sendable {
    private struct Known: Sendable {
        var place: FilePlace
        /// Who stands there under this name is the act's.
        var directory: String
    }

    private static let room = 4096
    private let known = Mutex<Known?>(nil)
    private let wanted: Bell

    init() throws(SystemError) {
        wanted = try Bell()
        let processes = try Self.processes()
        // Lives as long as the process.
        try OwnThread.start("guard strays", stackBytes: GuardProcess.stackBytes) {
            let found = UnsafeMutablePointer<cguard_process>.allocate(capacity: Self.room)
            found.initialize(repeating: cguard_process(), count: Self.room)
            // As soon as an act begins, also on a busy host; below the act itself.
            _ = RealTime.raise(priority: 1)
            while self.wanted.wait() {
                self.wanted.clear()
                self.end(processes.number, found)
            }
        }
    }

    /// Where the instance stands: where its server does, or else the folder of that name. In a thread that may hang.
    func place(now directory: String) -> FilePlace? {
        let before = known.withLock { $0?.place }
        let servers = ProcessTable.processes(ofResolvedDirectory: directory)
        if let place = servers.lazy.compactMap({ ProcessTable.place(of: $0) }).first { return place }
        // Taken away before: the folder of that name is another one.
        if let before, isTaken(before, besides: directory) { return before }
        return FilePlace(directory)
    }

    private func isTaken(_ place: FilePlace, besides directory: String) -> Bool {
        do throws(SystemError) {
            let processes = try Self.processes()
            var one = cguard_process()
            return cguard_strays(
                processes.number, cguard_place(device: place.device, number: place.number), directory, &one, 1) > 0
        } catch {
            return false
        }
    }

    /// - Parameter place: nil: not known.
    func know(_ place: FilePlace?, _ directory: String) {
        known.withLock { $0 = place.map { Known(place: $0, directory: directory) } }
    }

    /// Returns at once.
    func hunt() { wanted.ring() }

    /// Until none is left, but not for ever: one that hangs in the kernel has its signal.
    private func end(_ proc: Int32, _ found: UnsafeMutablePointer<cguard_process>) {
        let begun = SystemClock.now()
        guard let known = known.withLock({ $0 }) else { return }
        let place = cguard_place(device: known.place.device, number: known.place.number)
        while SystemClock.now() - begun < 10_000_000_000 {
            let count = min(cguard_strays(proc, place, known.directory, found, Self.room), Self.room)
            if count == 0 { return }
            for leads in [Int32(1), 0] {
                for each in 0..<max(0, count) where found[each].leads == leads { _ = kill(found[each].pid, SIGKILL) }
            }
            var pause = timespec(tv_sec: 0, tv_nsec: 2_000_000)
            nanosleep(&pause, nil)
        }
    }

    /// One for each thread: a place in a list belongs to the descriptor.
    private static func processes() throws(SystemError) -> Descriptor {
        let number = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw SystemError.last("open /proc", advice: "Mount /proc.") }
        return Descriptor(number)
    }
}
