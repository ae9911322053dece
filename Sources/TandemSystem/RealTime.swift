import CLinux
import Glibc

/// What keeps other work of this host from delaying a thread whose lateness costs a lease: its place in the scheduler, and memory that
/// is never paged out. Both are luxuries: without them a program runs on and says so.
public enum RealTime {
    /// The calling thread runs before every ordinary one (SCHED_RR). Threads and processes that it starts are ordinary again
    /// (SCHED_RESET_ON_FORK): neither PostgreSQL nor a tool may inherit this.
    /// - Returns: nil if it holds from now on; else why not, and what to grant.
    public static func raise(priority: Int32 = 10) -> String? {
        var parameters = sched_param()
        parameters.sched_priority = priority
        guard sched_setscheduler(0, Int32(SCHED_RR) | resetOnFork, &parameters) != 0 else { return nil }
        let code = errno
        let advice =
            code == EPERM
            ? "Grant CAP_SYS_NICE (in a unit: AmbientCapabilities=CAP_SYS_NICE); in a cpu control group of version 1, set its cpu.rt_runtime_us, too."
            : nil
        return SystemError(attempted: "take real-time priority", code: code, advice: advice).description
    }

    /// No memory of this process is paged out any more, also what it gets later.
    /// - Parameter onFault: only what is touched becomes resident, so that dozens of thread stacks (8 MiB each) are not. Without it
    ///   everything is resident at once, and no later touch waits for memory.
    /// - Returns: nil if it holds from now on; else why not, and what to grant.
    public static func lockMemory(onFault: Bool) -> String? {
        let advice = "Grant CAP_IPC_LOCK (in a unit: AmbientCapabilities=CAP_IPC_LOCK)."
        // With the capability the limit does not count. With a limit alone mlockall(2) may succeed today, and every request for memory
        // fails once the limit is reached: such a lock would end us when it matters.
        var limit = rlimit()
        if !Privileges.missing([.ipcLock]).isEmpty,
            getrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit) != 0 || limit.rlim_cur != rlim_t.max
        {
            return SystemError(attempted: "lock memory", code: EPERM, advice: advice).description
        }
        guard mlockall(MCL_CURRENT | MCL_FUTURE | (onFault ? lockOnFault : 0)) != 0 else { return nil }
        return SystemError.last("lock memory", advice: errno == EPERM || errno == ENOMEM ? advice : nil).description
    }

    /// SCHED_RESET_ON_FORK of linux/sched.h; Glibc shows it to _GNU_SOURCE only.
    private static let resetOnFork: Int32 = 0x4000_0000
    /// MCL_ONFAULT.
    private static let lockOnFault: Int32 = 4
}
