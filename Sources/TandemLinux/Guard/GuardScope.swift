import TandemSystem

/// What a guard guards: enough to end an instance and to give its addresses up, and nothing that could fail at that moment.
public struct GuardScope: Hashable, Sendable {
    /// Every process that works in it belongs to the instance.
    public var dataDirectory: String
    public var interface: String
    /// Of both roles.
    public var addresses: [VirtualAddress]
    /// m: the guard acts this long before the lease ends (`protocol.md` 3.1).
    public var margin: Duration

    public init(dataDirectory: String, interface: String, addresses: [VirtualAddress], margin: Duration) {
        self.dataDirectory = dataDirectory
        self.interface = interface
        self.addresses = addresses
        self.margin = margin
    }

    /// One fact a line: how an agent tells it to the guard that it starts. Not by way of the configuration file, which may have been
    /// edited since the agent read it.
    public var text: String {
        let addresses = addresses.map(\.description).sorted().joined(separator: " ")
        return "\(margin.nanoseconds)\n\(interface)\n\(addresses)\n\(dataDirectory)"
    }

    public init?(text: String) {
        // The last one is a path and may hold anything.
        let lines = text.split(separator: "\n", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
        guard lines.count == 4, let margin = Int64(lines[0]), margin > 0, !lines[1].isEmpty, !lines[3].isEmpty else { return nil }
        let words = lines[2].split(separator: " ")
        let addresses = words.compactMap { VirtualAddress(String($0)) }
        guard addresses.count == words.count else { return nil }
        self.init(dataDirectory: lines[3], interface: lines[1], addresses: addresses, margin: .nanoseconds(margin))
    }

    /// Agent and guard compare it: a guard with another scope, from a configuration of yesterday, is none (FNV-1a).
    var digest: UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}

/// A moment on both clocks of this boot, in nanoseconds: as the end of a lease it has come when the FIRST of them says so
/// (`protocol.md` 3.1).
public struct GuardDeadline: Hashable, Sendable {
    /// CLOCK_BOOTTIME.
    public var boot: Int64
    /// CLOCK_MONOTONIC_RAW.
    public var raw: Int64

    public init(boot: Int64, raw: Int64) {
        self.boot = boot
        self.raw = raw
    }

    /// This long from now.
    public static func after(_ span: Duration) -> GuardDeadline {
        GuardDeadline(boot: SystemClock.now() &+ span.nanoseconds, raw: SystemClock.raw() &+ span.nanoseconds)
    }

    /// Until the earlier one, m before the end; negative: it has passed.
    func left(margin: Duration) -> Int64 {
        min(boot &- SystemClock.now(), raw &- SystemClock.raw()) &- margin.nanoseconds
    }

    /// The later one, on each clock: a lease only grows.
    func extended(to other: GuardDeadline?) -> GuardDeadline {
        guard let other else { return self }
        return GuardDeadline(boot: max(boot, other.boot), raw: max(raw, other.raw))
    }

    /// No clock has it later than `other`.
    func isCovered(by other: GuardDeadline) -> Bool { boot <= other.boot && raw <= other.raw }
}

/// What the agent tells the guard.
struct GuardOrder: Hashable, Sendable {
    /// Counts the orders that are waited for (armed, released): what the guard acknowledges.
    var generation: UInt64 = 0
    var isArmed = false
    /// Nil: no lease was given yet, and there is nothing to end.
    var deadline: GuardDeadline?

    /// What the guard looks at: a deadline that binds.
    var end: GuardDeadline? { isArmed ? deadline : nil }
}

/// What the guard did last.
public struct GuardAct: Hashable, Sendable {
    /// The end of the lease that it acted for.
    public var deadline: GuardDeadline
    /// On CLOCK_BOOTTIME.
    public var begun: Int64
    /// From its beginning until no process was left and the addresses were gone: ending takes a processor some time. Nil: that is not so
    /// yet.
    public var duration: Duration?
    /// From its beginning until every process had been sent SIGKILL, and the addresses and their connections were gone: from then on nobody
    /// hears of anything. What m must be longer than.
    public var silenced: Duration?
    /// Processes of the instance, as the first look found them.
    public var killed: Int
    /// Those that even SIGKILL has not ended so far: they hang in the kernel.
    public var survivors: Int
    public var removedAddresses: Int
    /// The kernel's errno if an address could not be removed, or connections not ended; 0: none.
    public var refusal: Int32
}

/// Which guard is at work.
struct GuardIdentity: Hashable, Sendable {
    var pid: Int32
    /// With the pid it names one process for ever.
    var startTime: UInt64

    var isAlive: Bool { ProcessTable.startTime(of: pid) == startTime }

    var text: String { "\(pid):\(startTime)" }

    init(pid: Int32, startTime: UInt64) {
        self.pid = pid
        self.startTime = startTime
    }

    init?(text: String) {
        let parts = text.split(separator: ":")
        guard parts.count == 2, let pid = Int32(parts[0]), let startTime = UInt64(parts[1]) else { return nil }
        self.init(pid: pid, startTime: startTime)
    }
}
