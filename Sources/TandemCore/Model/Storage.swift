/// What a file of our own, written and made durable beside PostgreSQL's every second, says of this node's storage. The texts name the place
/// and the numbers.
public enum Storage: Hashable, Sendable, Codable {
    /// Written in time.
    case well
    /// Written in time, and little room is left.
    case low(String)
    /// No room is left (ENOSPC, EDQUOT).
    case full(String)
    /// The file system takes no writes (EROFS).
    case readOnly(String)
    /// Writing or making durable failed (EIO and the like): what was written before may be lost, too.
    case failing(String)
    /// A write has not come back for so long.
    case hangs(String, for: Duration)
    /// The data directory has gone from under PostgreSQL.
    case gone(String)

    /// Nothing can be written, or nobody knows whether it can.
    public var isTrouble: Bool {
        switch self {
        case .well, .low: false
        case .full, .readOnly, .failing, .hangs, .gone: true
        }
    }

    /// Stable, for scripts.
    public var word: String {
        switch self {
        case .well: "well"
        case .low: "low"
        case .full: "full"
        case .readOnly: "read_only"
        case .failing: "failing"
        case .hangs: "hangs"
        case .gone: "gone"
        }
    }

    /// What is so, and what to do; nil: nothing is to be said.
    public var text: String? {
        switch self {
        case .well: nil
        case .low(let what):
            "\(what) is left: free space, or enlarge the file system, before it is full; an absent standby's WAL is not kept any more"
        case .full(let what): "\(what): free space, or enlarge the file system"
        case .readOnly(let what): "\(what): look into the kernel's log why, put that right, and mount it writable again"
        case .failing(let what): "\(what): the disk is not to be trusted; look into the kernel's log, and replace it"
        case .hangs(let what, _): "\(what): look what the disk, or the storage behind it, is waiting for"
        case .gone(let what): "\(what): mount its file system again"
        }
    }
}
