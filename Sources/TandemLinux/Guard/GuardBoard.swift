import CLinux
import Glibc
import TandemSystem

/// The page of memory that agent and guard share: a file in the folder of the control socket. The agent writes orders, the guard what
/// it has heard and done. It outlives both, and is void after a boot.
///
/// An order is written beside the one in force and then put in force by a single store (`turn`): a reader finds one or the other, and a
/// writer that dies in the middle leaves the older, which is the EARLIER deadline. There is one writer of orders (the agent holds the
/// lock of the state directory) and one of the rest (the guard holds the lock beside the board).
final class GuardBoard: @unchecked Sendable {
    let path: String
    /// Not changed after init; what is behind it is reached by atomic operations only.
    private let page: UnsafeMutableRawPointer
    private let file: Descriptor
    /// False: the folder is on a disk, whose writing back may hold up whoever stores a word here.
    let isInMemory: Bool

    private static let size = 4096
    /// Names the layout of the words up to `bell`, which hence never changes: a guard of the next version reads the order of this one.
    private static let magic: UInt64 = 0x7067_7461_6e64_656d

    /// The place of each word. Up to `bell` the agent's, then the guard's.
    private enum Word: Int {
        case magic = 0, boot, boot2
        /// The order in force is in the slot of this number's last bit.
        case turn
        case slots = 4
        case bell = 12
        case pid = 32, startTime, digest, flags, heard, looked
        case sparePid = 40, spareStartTime, spareDigest
        case acts = 48, actBoot, actRaw, actBegun, actDuration, actSilenced, actKilled, actSurvivors, actRemoved, actRefusal,
            actedBoot, actedRaw
        case directoryDigest = 64, directoryLength, directory
    }

    /// Opens the page, and makes it if there is none. One of another boot is emptied. One that holds something else is left as it is:
    /// see `isSound`.
    /// - Throws: the folder is missing or not ours, no space.
    init(path: String) throws(SystemError) {
        let number = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else {
            throw SystemError.last(
                "open the guard's board \(path)", advice: "Make its folder, and let the user who runs the agent write there.")
        }
        let file = Descriptor(number)
        // One at a time looks whether it is new. Held for microseconds, unless its holder is stopped right there.
        guard SystemClock.wait(upTo: .seconds(1), until: { flock(number, LOCK_EX | LOCK_NB) == 0 }) else {
            throw SystemError.last("lock the guard's board \(path)", advice: "Look who holds it: fuser -v \(path)")
        }
        defer { _ = flock(number, LOCK_UN) }
        // Space is reserved: a store into a page without any would end the process (SIGBUS).
        let code = posix_fallocate(number, 0, off_t(GuardBoard.size))
        guard code == 0 else {
            throw SystemError(attempted: "make the guard's board \(path)", code: code, advice: "Free space there.")
        }
        guard let page = mmap(nil, GuardBoard.size, PROT_READ | PROT_WRITE, MAP_SHARED, number, 0), page != MAP_FAILED else {
            throw SystemError.last("map the guard's board \(path)")
        }
        isInMemory = cguard_is_in_memory(number) != 0
        self.path = path
        self.page = page
        self.file = file
        self.bootID = try GuardBoard.readBootID()
        if isBlank || load(.magic) == GuardBoard.magic, !isSound { makeAnew() }
    }

    deinit { munmap(page, GuardBoard.size) }

    /// Words 1 and 2.
    private let bootID: (UInt64, UInt64)

    private static func readBootID() throws(SystemError) -> (UInt64, UInt64) {
        let digits = try SystemClock.bootID().filter { $0 != "-" }
        guard digits.utf8.count == 32, let first = UInt64(digits.prefix(16), radix: 16),
            let second = UInt64(digits.suffix(16), radix: 16)
        else { throw SystemError(attempted: "read the boot id", code: EINVAL) }
        return (first, second)
    }

    /// False: somebody else's bytes. What it ordered cannot be known: a guard goes on by the order that it knows, an agent writes its own
    /// order anew (`makeAnew`), and a last act takes place at once.
    var isSound: Bool { load(.magic) == GuardBoard.magic && load(.boot) == bootID.0 && load(.boot2) == bootID.1 }

    private var isBlank: Bool {
        (0..<GuardBoard.size / 8).allSatisfy { cguard_load(page, $0) == 0 }
    }

    /// Empties it for this boot: not armed. In place, as others have it mapped.
    func makeAnew() {
        store(.magic, 0)
        // The bell goes on counting: a guard may be waiting by it.
        for word in 0..<GuardBoard.size / 8 where word != Word.bell.rawValue { cguard_store(page, word, 0) }
        store(.boot, bootID.0)
        store(.boot2, bootID.1)
        store(.magic, GuardBoard.magic)
    }

    /// False: the file was removed or replaced, so that a guard that starts now would open another one.
    var isInPlace: Bool {
        var here = stat()
        var there = stat()
        return fstat(file.number, &here) == 0 && lstat(path, &there) == 0 && here.st_ino == there.st_ino
            && here.st_dev == there.st_dev
    }

    // MARK: Orders, of the agent

    /// Nil: the page is damaged.
    var order: GuardOrder? {
        guard isSound else { return nil }
        var order = GuardOrder()
        // Read again if another order came into force meanwhile, as its successor may be written to where we read. An agent gives a few
        // dozen a second; should one go mad, what was read in pieces is still no later than what it ordered, as deadlines only grow.
        for _ in 0..<1000 {
            let turn = load(.turn)
            let slot = GuardBoard.slot(turn)
            let flags = cguard_load(page, slot)
            order.isArmed = flags & 1 != 0
            order.generation = cguard_load(page, slot + 1)
            let deadline = GuardDeadline(boot: signed(slot + 2), raw: signed(slot + 3))
            order.deadline = flags & 2 != 0 ? deadline : nil
            if load(.turn) == turn { break }
        }
        return order
    }

    func write(_ order: GuardOrder) {
        let next = load(.turn) &+ 1
        writeSlot(order, next)
        store(.turn, next)
    }

    /// All of `write` but the last store: what a writer that dies leaves behind.
    func writeSlot(_ order: GuardOrder, _ turn: UInt64? = nil) {
        let slot = GuardBoard.slot(turn ?? load(.turn) &+ 1)
        cguard_store(page, slot, (order.isArmed ? 1 : 0) | (order.deadline == nil ? 0 : 2))
        cguard_store(page, slot + 1, order.generation)
        cguard_store(page, slot + 2, UInt64(bitPattern: order.deadline?.boot ?? 0))
        cguard_store(page, slot + 3, UInt64(bitPattern: order.deadline?.raw ?? 0))
    }

    private static func slot(_ turn: UInt64) -> Int { Word.slots.rawValue + Int(turn & 1) * 4 }

    /// To be read before the order, and given to `wait`: a ring in between is then not missed.
    var bell: UInt64 { load(.bell) }
    func ring() { cguard_ring(page, Word.bell.rawValue) }
    func wait(heard: UInt64, upTo nanoseconds: Int64) { cguard_wait(page, Word.bell.rawValue, heard, nanoseconds) }

    // MARK: Answers, of the guard

    struct Flags: OptionSet {
        var rawValue: UInt64
        static let realTime = Flags(rawValue: 1)
        static let locked = Flags(rawValue: 2)
        /// Started by the agent, not by the service manager.
        static let byAgent = Flags(rawValue: 4)
        static let watchdog = Flags(rawValue: 8)
    }

    /// Nil: no guard has been here since the boot; whether it lives is another question.
    var guardian: GuardIdentity? { identity(.pid, .startTime) }
    /// The one that came last to stand by.
    var spare: GuardIdentity? { identity(.sparePid, .spareStartTime) }
    var spareDigest: UInt64 { load(.spareDigest) }

    private func identity(_ pid: Word, _ startTime: Word) -> GuardIdentity? {
        let number = Int32(truncatingIfNeeded: load(pid))
        return number == 0 ? nil : GuardIdentity(pid: number, startTime: load(startTime))
    }

    /// One of another scope than the guard at work does not hide one of the same, whichever comes last.
    func standBy(_ identity: GuardIdentity, _ scope: GuardScope) {
        if scope.digest != digest, let other = spare, other.isAlive { return }
        store(.sparePid, 0)
        store(.spareStartTime, identity.startTime)
        store(.spareDigest, scope.digest)
        store(.sparePid, UInt64(identity.pid))
    }

    var digest: UInt64 { load(.digest) }
    var flags: Flags { Flags(rawValue: load(.flags)) }
    /// The generation of the order that the guard goes by.
    var heard: UInt64 { load(.heard) }
    /// When it looked at the page last (CLOCK_BOOTTIME).
    var looked: Int64 { signed(Word.looked.rawValue) }

    func introduce(_ identity: GuardIdentity, _ scope: GuardScope, _ flags: Flags) {
        // Nobody's acknowledgement while it changes.
        store(.pid, 0)
        store(.heard, 0)
        store(.startTime, identity.startTime)
        store(.digest, scope.digest)
        store(.flags, flags.rawValue)
        store(.pid, UInt64(identity.pid))
    }

    func look(heard: UInt64, at now: Int64) {
        store(.looked, UInt64(bitPattern: now))
        store(.heard, heard)
    }

    /// The last deadline that was acted for, completely.
    var acted: GuardDeadline {
        get { GuardDeadline(boot: signed(Word.actedBoot.rawValue), raw: signed(Word.actedRaw.rawValue)) }
        set {
            store(.actedBoot, UInt64(bitPattern: newValue.boot))
            store(.actedRaw, UInt64(bitPattern: newValue.raw))
        }
    }

    /// For people and logs; read while it is written it may be mixed.
    var act: GuardAct? {
        get {
            guard load(.acts) != 0 else { return nil }
            func span(_ word: Word) -> Duration? { load(word) == 0 ? nil : .nanoseconds(signed(word.rawValue)) }
            return GuardAct(
                deadline: GuardDeadline(boot: signed(Word.actBoot.rawValue), raw: signed(Word.actRaw.rawValue)),
                begun: signed(Word.actBegun.rawValue), duration: span(.actDuration), silenced: span(.actSilenced),
                killed: Int(signed(Word.actKilled.rawValue)), survivors: Int(signed(Word.actSurvivors.rawValue)),
                removedAddresses: Int(signed(Word.actRemoved.rawValue)), refusal: Int32(truncatingIfNeeded: load(.actRefusal)))
        }
        set {
            guard let newValue else { return }
            let words: [(Word, Int64)] = [
                (.actBoot, newValue.deadline.boot), (.actRaw, newValue.deadline.raw), (.actBegun, newValue.begun),
                (.actDuration, newValue.duration?.nanoseconds ?? 0), (.actSilenced, newValue.silenced?.nanoseconds ?? 0),
                (.actKilled, Int64(newValue.killed)),
                (.actSurvivors, Int64(newValue.survivors)), (.actRemoved, Int64(newValue.removedAddresses)),
                (.actRefusal, Int64(newValue.refusal)), (.acts, 1),
            ]
            for (word, value) in words { store(word, UInt64(bitPattern: value)) }
        }
    }

    /// The resolved path of the data directory, kept for a guard that starts when its disk no longer answers.
    func directory(of scope: GuardScope) -> String? {
        let length = Int(truncatingIfNeeded: load(.directoryLength))
        guard load(.directoryDigest) == scope.digest, (1...3000).contains(length) else { return nil }
        let bytes = (0..<length).map { place -> UInt8 in
            let word = cguard_load(page, Word.directory.rawValue + place / 8)
            return UInt8(truncatingIfNeeded: word >> UInt64(place % 8 * 8))
        }
        return String(validating: bytes, as: UTF8.self)
    }

    func keep(directory: String, of scope: GuardScope) {
        let bytes = Array(directory.utf8)
        guard bytes.count <= 3000 else { return }
        store(.directoryDigest, 0)
        for start in stride(from: 0, to: bytes.count, by: 8) {
            let word = bytes[start..<min(start + 8, bytes.count)].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            cguard_store(page, Word.directory.rawValue + start / 8, word)
        }
        store(.directoryLength, UInt64(bytes.count))
        store(.directoryDigest, scope.digest)
    }

    private func load(_ word: Word) -> UInt64 { cguard_load(page, word.rawValue) }
    private func signed(_ word: Int) -> Int64 { Int64(bitPattern: cguard_load(page, word)) }
    private func store(_ word: Word, _ value: UInt64) { cguard_store(page, word.rawValue, value) }
}
