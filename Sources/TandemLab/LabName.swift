import Glibc
import TandemSystem

/// The name that everything of one lab carries: namespaces, folders, control groups. It tells who made them, so that
/// what a killed run left behind can be found, and never what belongs to a living one.
struct LabName: Sendable, Hashable, CustomStringConvertible {
    static let prefix = "pgtandemlab"

    let ownerPID: Int32
    /// Ticks since boot; with the pid it names the owner for ever.
    let ownerStart: UInt64
    let suffix: String

    /// A new name of this process.
    static func make() -> LabName {
        let letters = String(Random.word() & 0xFFFF_FFFF, radix: 36)
        return LabName(ownerPID: getpid(), ownerStart: ProcessTable.startTime(of: getpid()) ?? 0, suffix: letters)
    }

    private init(ownerPID: Int32, ownerStart: UInt64, suffix: String) {
        self.ownerPID = ownerPID
        self.ownerStart = ownerStart
        self.suffix = suffix
    }

    /// From the name of a namespace or folder, which may have a part of its own behind ("…-a"). Nil: not of a lab.
    init?(in text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[0] == LabName.prefix, let pid = Int32(parts[1]), let start = UInt64(parts[2])
        else { return nil }
        self.init(ownerPID: pid, ownerStart: start, suffix: String(parts[3]))
    }

    var description: String { "\(LabName.prefix)-\(ownerPID)-\(ownerStart)-\(suffix)" }

    var ownerIsAlive: Bool { ProcessTable.startTime(of: ownerPID) == ownerStart }

    var isOurs: Bool { ownerPID == getpid() }
}
