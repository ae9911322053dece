import Glibc
import Logging
import Synchronization
import TandemCore
import TandemSystem

/// The decision journal: every event that entered the core, with its time, so that `pgtandem replay` can feed the same events to the same
/// core and show why it decided as it did.
///
/// Two files in a folder of the state directory, each bounded. `record` never waits: the lines are made and written by a thread of the
/// journal's own, and when that one hangs, what finds no place in its queue is counted. Nothing of it is an error of the agent.
/// No event holds a secret: passwords are in files, and `join` carries one past the core.
public final class Journal: Sendable {
    /// Each of the two files. With heartbeats every 200 ms, one holds about nine hours of a quiet pair and six of a busy one, so that both
    /// together always reach back over a night.
    public static let defaultLimitBytes = 64 << 20
    /// A minute of a quiet pair's events, a few megabytes: as long may a disk hang before any is lost.
    static let capacity = 1024
    /// What an undisturbed pair does all the time reaches the file this much later at most, many lines at once; everything else, with what
    /// came before it, at once.
    static let quietDelay = Duration.seconds(1)

    private let work: Work

    /// - Parameters:
    ///   - folder: made if it is absent; the folder above it must exist.
    ///   - program: this program's version.
    /// Fails only if the kernel gives no thread; a folder that cannot be used is a warning in the log.
    public convenience init(
        folder: String, program: String, limitBytes: Int = Journal.defaultLimitBytes, retry: Duration = .seconds(10), log: Logger
    ) throws(SystemError) {
        try self.init(capacity: Self.capacity) {
            var writer = JournalWriter(folder: folder, program: program, limitBytes: limitBytes, retry: retry, log: log)
            return { writer.write($0) }
        }
    }

    /// - Parameter writer: made and called on the journal's thread.
    init(capacity: Int, writer: @escaping @Sendable () -> (JournalEntry) -> Void) throws(SystemError) {
        let work = try Work(capacity: capacity)
        self.work = work
        try OwnThread.start("journal", isPatient: true) { work.run(writer()) }
    }

    deinit { work.close() }

    /// An event that the core has just taken, and what it ordered. `before`: the core as it was.
    public func record(_ event: Event, at moment: Moment, before: Node, effects: [Effect]) {
        work.add(
            JournalEntry(event: event, moment: moment, wall: Self.wall(), before: before, effects: effects),
            isQuiet: Self.isQuiet(event, effects))
    }

    /// No more entries; what waits is written. True if that was done within the time: a disk that hangs holds nobody up.
    @discardableResult
    public func close(within patience: Duration = .seconds(1)) -> Bool {
        work.close()
        return work.ended.wait(upTo: patience)
    }

    private static func wall() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

/// What the thread holds: not the journal itself, else a forgotten one would live for ever.
private final class Work: Sendable {
    private struct Queue {
        var entries: [JournalEntry] = []
        var lost = 0
        var isOpen = true
    }

    let ended: Bell
    private let capacity: Int
    private let queue = Mutex(Queue())
    private let arrived: Bell

    init(capacity: Int) throws(SystemError) {
        self.capacity = capacity
        arrived = try Bell()
        ended = try Bell()
    }

    func add(_ entry: JournalEntry, isQuiet: Bool) {
        let mayWait = queue.withLock { queue in
            guard queue.isOpen else { return true }
            guard queue.entries.count < capacity else {
                queue.lost += 1
                return false
            }
            var entry = entry
            entry.lostBefore = queue.lost
            queue.lost = 0
            queue.entries.append(entry)
            return isQuiet && queue.entries.count < capacity / 4
        }
        if !mayWait { arrived.ring() }
    }

    func close() {
        queue.withLock { $0.isOpen = false }
        arrived.ring()
    }

    func run(_ write: (JournalEntry) -> Void) {
        while true {
            arrived.clear()
            let (isOpen, entries) = queue.withLock { queue in
                defer { queue.entries = [] }
                return (queue.isOpen, queue.entries)
            }
            for entry in entries { write(entry) }
            if !entries.isEmpty { continue }
            guard isOpen else { break }
            arrived.wait(upTo: Journal.quietDelay)
        }
        ended.ring()
    }
}

extension Journal {
    /// In the words of the journal. Addresses whose lifetime was renewed are told, too.
    private static let quietEvents: Set = ["tick", "postgres", "heartbeat", "witness", "addresses"]
    private static let quietOrders: Set = ["send", "extendGuard", "askWitness heartbeat", "askWitness read"]

    /// Comes all the time while nothing happens.
    private static func isQuiet(_ event: Event, _ effects: [Effect]) -> Bool {
        quietEvents.contains(event.word) && effects.allSatisfy { quietOrders.contains($0.word) }
    }
}
