/// What a hardware watchdog adds to the guard, and what is left open (`protocol.md` 3.2).
public struct WatchdogCover: Sendable {
    /// As configured; nil: none.
    private let device: String?
    /// The guard that serves now has opened it.
    private let isFed: Bool
    /// It is opened with the first arming.
    private let isArmed: Bool
    private let margin: Duration
    private let lease: Duration

    public init(device: String?, isFed: Bool, isArmed: Bool, margin: Duration, lease: Duration) {
        self.device = device
        self.isFed = isFed
        self.isArmed = isArmed
        self.margin = margin
        self.lease = lease
    }

    /// W whole seconds are enough if m + W + 1 s <= L.
    private var isInTime: Bool {
        margin + .seconds(Int(DeviceWatchdog.seconds(lease: lease, margin: margin))) + .seconds(1) <= lease
    }

    /// `none`, `failed` (it cannot be used), `late` (its reset comes after another host may be primary), `in_time`.
    public var word: String {
        guard device != nil else { return "none" }
        guard isFed || !isArmed else { return "failed" }
        return isInTime ? "in_time" : "late"
    }

    /// What nothing ends in time, in plain words; nil: nothing is left open, or nothing is lent now.
    public var gap: String? {
        guard isArmed, word != "in_time" else { return nil }
        let gap =
            "if agent and guard both stand still for longer than the lease while PostgreSQL runs on (a kernel that no longer schedules them), this "
            + "host may accept writes when the other one is primary: in synchronous mode it can acknowledge none of them, in asynchronous mode "
            + "they are lost"
        // One second of a watchdog must fit in.
        let least = "\((margin + .seconds(2)).milliseconds) ms"
        let device = device ?? ""
        switch word {
        case "none":
            return "no hardware watchdog: \(gap). `watchdog.device`, with a lease of at least \(least), ends that"
        case "failed":
            return
                "the watchdog \(device) cannot be used, the guard's log says why: \(gap). Let the user of the guard open it (udev: "
                + "OWNER=\"postgres\")"
        default:
            return
                "the watchdog \(device) counts whole seconds, and resets this host too late for a lease of \(lease.milliseconds) ms. Until then: "
                + "\(gap). A lease of at least \(least) ends that"
        }
    }
}

extension Duration {
    fileprivate var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
