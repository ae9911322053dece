import Foundation
import Glibc
import TandemNetwork
import TandemSystem
import TandemWire

/// The witness's state directory: `lock`, `generation`, `seal`, `control.sock`, a file per pair in `pairs/`, and how often
/// each was written, in `written/`.
public struct WitnessFolder: Sendable {
    public let path: String

    public init(_ path: String) { self.path = path }

    var socket: String { "\(path)/control.sock" }
    private var pairs: String { "\(path)/pairs" }
    private var counts: PairCounts { PairCounts(folder: "\(path)/written") }
    private var generation: String { "\(path)/generation" }
    func file(of cluster: String) -> String { "\(pairs)/\(cluster)" }

    private static let heading = "pgtandem witness generation, version 1"

    // MARK: the folder

    /// Makes it where it is missing; 0700.
    func make() throws(WitnessError) {
        var place = path.hasPrefix("/") ? "" : "."
        let parts = path.split(separator: "/")
        for (index, part) in parts.enumerated() {
            place += "/" + part
            guard mkdir(place, index == parts.count - 1 ? 0o700 : 0o755) == 0 || errno == EEXIST else {
                throw .failed(SystemError.last("make the folder \(place)"), "Make \(path) and give it to the witness's user.")
            }
        }
        guard mkdir(pairs, 0o700) == 0 || errno == EEXIST else {
            throw .failed(SystemError.last("make the folder \(pairs)"), "Give \(path) to the witness's user.")
        }
        do throws(SystemError) { try counts.make() } catch { throw .failed(error, "Give \(path) to the witness's user.") }
    }

    var exists: Bool { access(pairs, F_OK) == 0 }

    /// One witness, or one command of a person, at a time. Nil: somebody else has it.
    func lock() throws(WitnessError) -> FileLock? {
        do throws(SystemError) {
            let lock = try FileLock.acquire("\(path)/lock")
            // A command of root must not make a file that the witness's own user cannot open.
            if geteuid() == 0, let owner = try FileFacts.of(path) { _ = chown("\(path)/lock", owner.ownerID, owner.groupID) }
            return lock
        } catch {
            throw .failed(error, "Run this as root, or as the witness's user.")
        }
    }

    // MARK: the generation

    /// One more than ever before, durable: the nodes remember it, and so see a restored backup for what it is (3.3).
    func nextGeneration() throws(WitnessError) -> UInt64 {
        let next: UInt64
        if let last = try lastGeneration() {
            next = last + 1
        } else {
            guard try clusters().isEmpty else {
                throw damagedGeneration("it is missing, although there are pairs")
            }
            next = 1
        }
        do throws(SystemError) {
            try DurableFile.write(CheckedText.bytes(heading: Self.heading, body: "\(next)"), to: generation, mode: 0o600)
        } catch {
            throw .failed(
                error, "Without it nothing can be served: make \(path) writable and free space there, then start again.")
        }
        return next
    }

    func lastGeneration() throws(WitnessError) -> UInt64? {
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try DurableFile.read(generation)
        } catch {
            throw .failed(error, "Let the witness's user read \(path).")
        }
        guard let bytes else { return nil }
        let body: String
        do throws(CheckedText.Damage) {
            body = try CheckedText.body(of: bytes, heading: Self.heading)
        } catch {
            throw damagedGeneration(error.description)
        }
        guard let number = UInt64(body), number < WireLimit.count - 1 else {
            throw damagedGeneration("`\(body)` is no generation")
        }
        return number
    }

    private func damagedGeneration(_ what: String) -> WitnessError {
        WitnessError(
            "the file \(generation) is damaged: \(what). It counts the starts of this witness, so that nodes see a restored backup; no number is "
                + "guessed. Move the folder \(path) away and start again: each pair writes its record anew by itself, and until it has, nothing "
                + "is granted to it.")
    }

    // MARK: copies

    /// If this folder is a copy, or was restored from a backup, no record in it counts: each is taken for lost, which is always safe (3.3). Which
    /// pair a name belongs to stays.
    /// - Returns: the pairs whose record was dropped.
    func dropRestoredRecords() throws(WitnessError) -> [String] {
        let seal = WitnessSeal(folder: path)
        do throws(SystemError) {
            if try seal.isWhole() { return [] }
        } catch {
            throw .failed(error, "Let the witness's user read \(path).")
        }
        var dropped: [String] = []
        for cluster in try clusters() {
            let found: PairFile?
            // A damaged one gets no answers in any case.
            do { found = try pair(cluster) } catch { continue }
            guard let found, found.record != nil else { continue }
            try drop(found, "\(path) is a copy, or was restored from a backup, so its records do not count")
            dropped.append(cluster)
        }
        do throws(SystemError) {
            try seal.renew()
        } catch {
            throw .failed(
                error,
                "Without it a restored backup would not be noticed: make \(path) writable and free space there, then start again."
            )
        }
        return dropped
    }

    /// A single file that is not the one that was written last: its record is taken for lost (3.3), and the pair that it names stays. What a crash
    /// has left one ahead of its count is counted.
    /// - Returns: the pairs whose record was dropped.
    func dropOlderRecords() throws(WitnessError) -> [String] {
        var dropped: [String] = []
        let known: [String: UInt64]
        do {
            known = try counts.all()
        } catch {
            throw WitnessError("how often the file of each pair was written cannot be told: \(error). \(counts.advice)")
        }
        for cluster in try clusters() {
            let file: PairFile?
            // A damaged one gets no answers in any case.
            do { file = try pair(cluster) } catch { continue }
            guard let file else { continue }
            guard PairCounts.isLast(file, known[cluster] ?? 0) else {
                guard file.record != nil else { continue }
                try drop(file, "\(self.file(of: cluster)) is not what was written last, so its record does not count")
                dropped.append(cluster)
                continue
            }
            // Written before files were counted: from now on it is. On a full disk it is with the next change.
            if file.written == 0 { _ = write(file) }
            guard file.written > known[cluster] ?? 0 else { continue }
            do {
                try counts.raise(cluster, to: file.written)
            } catch {
                throw WitnessError(
                    "that the file of the pair \(cluster) was written cannot be counted: \(error). \(counts.advice)")
            }
        }
        return dropped
    }

    private func drop(_ pair: PairFile, _ why: String) throws(WitnessError) {
        var file = pair
        file.record = nil
        switch write(file) {
        case .durable: break
        case .refused(let problem), .inDoubt(let problem):
            throw WitnessError(
                "\(why); but it cannot be dropped: \(problem). Make \(path) writable and free space there, or start with an empty folder."
            )
        }
    }

    // MARK: pairs

    /// Those that have a file. What an interrupted write left behind is no pair's: its name has a dot.
    func clusters() throws(WitnessError) -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: pairs).filter { TLSName.problem(with: $0) == nil }.sorted()
        } catch {
            throw WitnessError(
                "the folder \(pairs) cannot be read: \(error.localizedDescription). Let the witness's user read it.")
        }
    }

    /// Left behind by interrupted writes.
    func removeRemains() throws(WitnessError) {
        do {
            for name in try FileManager.default.contentsOfDirectory(atPath: pairs) where name.contains(".new-") {
                try DurableFile.remove("\(pairs)/\(name)")
            }
        } catch {
            throw WitnessError("the folder \(pairs) cannot be tidied: \(error). Let the witness's user write into it.")
        }
    }

    /// Nil: none. Throws what is wrong with it.
    func pair(_ cluster: String) throws -> PairFile? {
        guard let bytes = try DurableFile.read(file(of: cluster)) else { return nil }
        return try PairFile(bytes, cluster: cluster)
    }

    enum Outcome: Sendable {
        case durable
        /// Nothing of it is on disk; the old file stands.
        case refused(String)
        /// It can be read, and whether it would survive a power loss is not known.
        case inDoubt(String)
    }

    func write(_ pair: PairFile) -> Outcome {
        let path = file(of: pair.cluster)
        var pair = pair
        let bytes: [UInt8]
        do {
            pair.written = try counts.count(of: pair.cluster) + 1
            bytes = try pair.bytes()
        } catch {
            return .refused("\(error)")
        }
        do {
            try DurableFile.write(bytes, to: path, mode: 0o600)
            do { try counts.raise(pair.cluster, to: pair.written) } catch { return .inDoubt("\(error)") }
            return .durable
        } catch {
            do {
                return try DurableFile.read(path) == bytes ? .inDoubt("\(error)") : .refused("\(error)")
            } catch let unreadable {
                return .inDoubt("\(error) \(unreadable)")
            }
        }
    }

    /// First what tells that its file counts no more, if somebody brings it back: also one that is ahead.
    func remove(_ cluster: String) throws {
        let count = try counts.count(of: cluster)
        try counts.raise(cluster, to: count + 2)
        try DurableFile.remove(file(of: cluster))
    }
}

/// What a person reads: what failed, why, and what to do.
public struct WitnessError: Error, Sendable, CustomStringConvertible {
    public var description: String
    init(_ description: String) { self.description = description }

    static func failed(_ error: SystemError, _ advice: String) -> WitnessError {
        WitnessError("\(error.attempted) failed: \(error.reason) (\(error.code)). \(error.advice ?? advice)")
    }
}
