import CLinux
import Glibc
import Synchronization
import TandemSystem
import Testing

/// Each in a thread or a child of its own: priority belongs to a thread, locked memory to a process.
@Suite(.serialized, .enabled(if: geteuid() == 0, "needs root")) struct RealTimeTests {
    private func inThread(_ body: @escaping @Sendable () -> String) throws -> String {
        let answer = Seen<String>()
        try OwnThread.start("real time") { answer.add(body()) }
        let isThere = soon { !answer.all.isEmpty }
        return isThere ? answer.all[0] : "no answer"
    }

    @Test func aThreadIsRaisedAndWhatItStartsIsNot() throws {
        let told = try inThread {
            let reason = RealTime.raise()
            let policy = sched_getscheduler(0)
            do {
                let child = try Tool("/bin/sh", ["-c", "cut -d' ' -f41 /proc/$$/stat"]).run(deadline: .seconds(5)).output
                return "\(reason ?? "raised") \(policy & 0xff) child \(child.filter { $0 != "\n" })"
            } catch {
                return "\(error)"
            }
        }
        #expect(told == "raised \(SCHED_RR) child \(SCHED_OTHER)")
        #expect(sched_getscheduler(0) == SCHED_OTHER, "other threads are as they were")
    }

    @Test func withoutTheRightTheReasonNamesWhatToGrant() throws {
        let told = try inThread {
            // Only this thread: the set of capabilities is its own.
            guard cl_capabilities_set(0, 0, 0) == 0 else { return "capabilities were kept" }
            return [RealTime.raise(), RealTime.lockMemory(onFault: true)].map { $0 ?? "granted" }.joined(separator: "\n")
        }
        #expect(told.contains("take real-time priority failed") && told.contains("CAP_SYS_NICE"))
        #expect(told.contains("lock memory failed") && told.contains("CAP_IPC_LOCK"))
    }

    @Test func lockedMemoryOnFaultLeavesUntouchedStacksOut() throws {
        for (onFault, isBig) in [(true, false), (false, true)] {
            let child = fork()
            guard child >= 0 else { throw SystemError.last("fork") }
            if child == 0 {
                guard RealTime.lockMemory(onFault: onFault) == nil else { _exit(1) }
                let size = 64 << 20
                guard let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                    memory != MAP_FAILED
                else {
                    _exit(2)
                }
                var resident = [UInt8](repeating: 0, count: size / 4096)
                guard mincore(memory, size, &resident) == 0 else { _exit(3) }
                _exit(resident.allSatisfy { $0 & 1 == 1 } ? 100 : 101)
            }
            var status: Int32 = 0
            waitpid(child, &status, 0)
            #expect(cl_exited(status) != 0 && cl_exit_code(status) == (isBig ? 100 : 101))
        }
    }
}
