import CLinux
import Glibc

/// A right that Linux splits off from root (capabilities(7)).
public enum Capability: String, Sendable, CaseIterable {
    /// Addresses, and closing other processes' sockets.
    case netAdmin = "CAP_NET_ADMIN"
    /// ARP and neighbour messages.
    case netRaw = "CAP_NET_RAW"
    /// Ports below 1024.
    case netBindService = "CAP_NET_BIND_SERVICE"
    /// Real-time scheduling.
    case sysNice = "CAP_SYS_NICE"
    /// Locked memory.
    case ipcLock = "CAP_IPC_LOCK"
    /// Limits of resources.
    case sysResource = "CAP_SYS_RESOURCE"
    /// Signals to processes of other users.
    case kill = "CAP_KILL"
    /// reboot(2).
    case sysBoot = "CAP_SYS_BOOT"
    case sysAdmin = "CAP_SYS_ADMIN"

    /// Its bit in the kernel's sets (linux/capability.h).
    var bit: UInt64 {
        switch self {
        case .kill: 1 << 5
        case .netBindService: 1 << 10
        case .netAdmin: 1 << 12
        case .netRaw: 1 << 13
        case .ipcLock: 1 << 14
        case .sysAdmin: 1 << 21
        case .sysBoot: 1 << 22
        case .sysNice: 1 << 23
        case .sysResource: 1 << 24
        }
    }
}

/// The user this process runs as, and the few rights it keeps.
public enum Privileges {
    /// Becomes the user for good and keeps only these capabilities, for this process alone: nothing is inheritable or
    /// ambient, so PostgreSQL and every tool that we start has none, and `no_new_privs` keeps set-user-ID programs
    /// (sudo, ping) from giving any back.
    ///
    /// Call it first thing, while the process has one thread: capabilities belong to threads, and those that exist
    /// already would keep all. Threads made later inherit what is left.
    ///
    /// As root: changes user, group and groups. As that user already (a systemd unit with AmbientCapabilities): keeps
    /// those of `kept` that it has. As root with `user` root: changes nothing. What was not to be had is told by
    /// `missing(_:)`, not by an error.
    /// - Throws: EBUSY with more than one thread; EPERM as another user; the refused call. After an error the process may
    ///   be half changed: end it.
    public static func become(user: String, keeping kept: [Capability]) throws(SystemError) {
        let wanted = try account(user)
        if wanted.userID == 0, geteuid() == 0 { return }
        try requireOneThread()
        let kept = kept.reduce(0) { $0 | $1.bit }
        if geteuid() == 0 {
            try require(cl_prctl(PR_SET_KEEPCAPS, 1, 0), "keep capabilities")
            try require(initgroups(user, wanted.groupID), "take the groups of \(user)")
            try require(cl_become(wanted.userID, wanted.groupID), "become \(user)")
        } else if geteuid() != wanted.userID {
            throw SystemError(
                attempted: "become \(user)", code: EPERM, advice: "Start this program as root or as \(user).")
        }
        try reduce(to: kept)
        try require(cl_prctl(PR_SET_NO_NEW_PRIVS, 1, 0), "refuse new privileges")
        // Changing the user cleared it, and /proc/self would belong to root. Processes of the same user still cannot
        // trace us: that needs every capability that we have.
        try require(cl_prctl(PR_SET_DUMPABLE, 1, 0), "stay readable in /proc")
    }

    /// Those of `wanted` that the calling thread does not have.
    public static func missing(_ wanted: [Capability]) -> [Capability] {
        var permitted: UInt64 = 0
        var effective: UInt64 = 0
        var inheritable: UInt64 = 0
        guard cl_capabilities_get(&permitted, &effective, &inheritable) == 0 else { return wanted }
        return wanted.filter { effective & $0.bit == 0 }
    }

    /// - Throws: ENOENT if there is no such user.
    public static func userID(of user: String) throws(SystemError) -> UInt32 { try account(user).userID }

    /// The user's primary group.
    /// - Throws: ENOENT if there is no such user.
    public static func groupID(of user: String) throws(SystemError) -> UInt32 { try account(user).groupID }

    /// Nil: no account has that number.
    public static func userName(of userID: UInt32) -> String? {
        var entry = passwd()
        var text = [CChar](repeating: 0, count: 16384)
        var found: UnsafeMutablePointer<passwd>?
        guard getpwuid_r(userID, &entry, &text, text.count, &found) == 0, found != nil else { return nil }
        return String(cString: entry.pw_name)
    }

    /// The user that this process runs as.
    public static var ourUserID: UInt32 { geteuid() }

    struct Account {
        var userID: UInt32
        var groupID: UInt32
        var home: String
    }

    static func account(_ user: String) throws(SystemError) -> Account {
        var entry = passwd()
        var text = [CChar](repeating: 0, count: 16384)
        var found: UnsafeMutablePointer<passwd>?
        let code = getpwnam_r(user, &entry, &text, text.count, &found)
        guard code == 0, found != nil else {
            throw SystemError(
                attempted: "find the user \(user)", code: code == 0 ? ENOENT : code,
                advice: "Name an existing user of this host.")
        }
        return Account(userID: entry.pw_uid, groupID: entry.pw_gid, home: String(cString: entry.pw_dir))
    }

    private static func reduce(to kept: UInt64) throws(SystemError) {
        var permitted: UInt64 = 0
        var effective: UInt64 = 0
        var inheritable: UInt64 = 0
        try require(cl_capabilities_get(&permitted, &effective, &inheritable), "read our capabilities")
        // A capability that is not permitted cannot be asked for (a container may lack it).
        let left = permitted & kept
        try require(cl_capabilities_set(left, left, 0), "reduce our capabilities")
        // Follows from the empty inheritable set (capabilities(7)); said again because children's rights hang on it.
        try require(cl_prctl(PR_CAP_AMBIENT, UInt(PR_CAP_AMBIENT_CLEAR_ALL), 0), "clear ambient capabilities")
    }

    private static func requireOneThread() throws(SystemError) {
        guard let folder = opendir("/proc/self/task") else { throw SystemError.last("count our threads") }
        defer { closedir(folder) }
        var count = 0
        while let entry = readdir(folder) {
            // All but "." and "..".
            if entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { count += 1 }
        }
        guard count == 1 else {
            throw SystemError(
                attempted: "change the user while \(count) threads run", code: EBUSY,
                advice: "Change the user before anything starts a thread.")
        }
    }

    private static func require(_ code: Int32, _ attempted: @autoclosure () -> String) throws(SystemError) {
        guard code == 0 else { throw SystemError.last(attempted()) }
    }
}
