import CLinux
import Glibc
import TandemSystem

/// Starts a guard that outlives us.
public enum GuardLaunch {
    /// The arguments of `pgtandem guard` for a scope, without a configuration file.
    /// - Parameter watchdog: of the kernel, and its time-out (`DeviceWatchdog.seconds`); nil: none.
    public static func arguments(
        _ scope: GuardScope, boardPath: String, replacing old: String? = nil, watchdog: (device: String, seconds: Int32)? = nil
    ) -> [String] {
        ["pgtandem", "guard", "--board", boardPath, "--scope", scope.text, "--by-agent"]
            + (old.map { ["--replacing", $0] } ?? [])
            + (watchdog.map { ["--watchdog", "\($0.seconds):\($0.device)"] } ?? [])
    }

    /// Does not wait for it. It has a session of its own, no open file of ours but standard error, and those of our capabilities that it
    /// needs, which our other children do not get.
    /// - Parameter program: by default the file of the running program, also if an upgrade has just replaced it.
    public static func start(_ arguments: [String], program: String = "/proc/self/exe") throws(SystemError) {
        var texts: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        defer { for text in texts { free(text) } }
        texts.append(nil)
        let code = cguard_spawn(program, texts, cl_environment(), Capability.mask(GuardProcess.capabilities))
        guard code == 0 else { throw SystemError(attempted: "start a guard", code: code) }
    }
}

extension GuardProcess {
    /// To remove addresses; to run before everybody else; to stay in memory.
    public static let capabilities: [Capability] = [.netAdmin, .sysNice, .ipcLock]
}

extension Capability {
    static func mask(_ capabilities: [Capability]) -> UInt64 {
        capabilities.reduce(0) { mask, capability in
            // Their numbers in linux/capability.h.
            switch capability {
            case .netAdmin: mask | 1 << UInt64(CAP_NET_ADMIN)
            case .sysNice: mask | 1 << UInt64(CAP_SYS_NICE)
            case .ipcLock: mask | 1 << UInt64(CAP_IPC_LOCK)
            default: mask
            }
        }
    }
}
