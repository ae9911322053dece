import TandemSystem

/// Tells a state directory that was copied, or restored from a backup, from the one that the witness has written (3.3): what a backup says may be
/// older than what was granted since, and nobody may be left who knows.
///
/// `seal.made` is an empty file that nobody touches, `seal` says when it was last changed. A copy of it was changed when it was copied. What
/// keeps that time (a snapshot of the whole file system, a program that leaves equal files alone) is not noticed: the generation and the nodes'
/// own memory are left for it.
struct WitnessSeal {
    private let made: String
    private let seal: String
    private static let heading = "pgtandem witness seal, version 1"

    init(folder: String) {
        made = "\(folder)/seal.made"
        seal = "\(folder)/seal"
    }

    /// In doubt, no.
    func isWhole() throws(SystemError) -> Bool {
        guard let changed = try FileFacts.changeTime(of: made), let bytes = try DurableFile.read(seal) else { return false }
        do {
            return try CheckedText.body(of: bytes, heading: Self.heading) == "\(changed)"
        } catch {
            return false
        }
    }

    /// From now on this folder is the one.
    func renew() throws(SystemError) {
        try DurableFile.remove(seal)
        // A new file: its time is of now, and stays.
        try DurableFile.remove(made)
        try DurableFile.write([], to: made, mode: 0o600)
        guard let changed = try FileFacts.changeTime(of: made) else {
            throw SystemError(attempted: "find \(made), which was just made", code: 2)
        }
        try DurableFile.write(CheckedText.bytes(heading: Self.heading, body: "\(changed)"), to: seal, mode: 0o600)
    }
}
