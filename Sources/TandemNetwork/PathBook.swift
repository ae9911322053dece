import NIOCore
import Synchronization

/// The paths that are up, as `send` sees them from any thread: where a frame may go and how much waits on each.
///
/// The count of waiting bytes is taken when a frame is handed over and given back when the socket took it, so it covers the loop's own
/// queue too: a caller that is faster than the loop cannot fill the memory.
final class PathBook: Sendable {
    fileprivate struct Entry {
        var path: Path
        var channel: any Channel
        var isPeer: Bool
        var waiting = 0
        var heard: NIODeadline
        /// The number of the last frame that it took, of all.
        var turn: UInt64 = 0
        /// Over its bound: on its way to be closed.
        var condemned = false
    }

    fileprivate struct Book {
        var entries: [UInt64: Entry] = [:]
        var statistics = LinkStatistics()
        var listening: [LinkAddress] = []
        /// Calls of `send` between choosing and handing over.
        var sending = 0
        var turns: UInt64 = 0
        var isShut = false
    }

    private let book = Mutex(Book())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    func add(_ path: Path, on channel: any Channel, isPeer: Bool) {
        book.withLock { $0.entries[path.id] = Entry(path: path, channel: channel, isPeer: isPeer, heard: .now()) }
    }

    func remove(_ path: Path) {
        book.withLock {
            guard let entry = $0.entries.removeValue(forKey: path.id), entry.isPeer else { return }
            $0.statistics.pathsLost += 1
        }
    }

    func heard(_ path: Path) {
        book.withLock {
            $0.entries[path.id]?.heard = .now()
            $0.statistics.framesReceived += 1
        }
    }

    /// Paths to the peer, in the order in which they came up.
    var paths: [Path] {
        book.withLock { $0.entries.values.filter { $0.isPeer && !$0.condemned }.map(\.path) }.sorted { $0.id < $1.id }
    }

    func waiting(on path: Path) -> Int { book.withLock { $0.entries[path.id]?.waiting ?? 0 } }

    var statistics: LinkStatistics { book.withLock(\.statistics) }

    func count(_ change: (inout LinkStatistics) -> Void) { book.withLock { change(&$0.statistics) } }

    /// Hands a frame over; the number of paths that took it.
    func send(_ buffer: ByteBuffer, on target: LinkTarget) -> Int {
        let size = buffer.readableBytes
        let (chosen, full) = book.withLock { book in
            book.sending += 1
            return book.choose(target, size, limit)
        }
        defer { book.withLock { $0.sending -= 1 } }
        for entry in full { entry.channel.triggerUserOutboundEvent(LinkEnd.doesNotRead(bytes: entry.waiting), promise: nil) }
        for entry in chosen {
            entry.channel.writeAndFlush(buffer).whenComplete { [self] _ in
                book.withLock { $0.entries[entry.path.id]?.waiting -= size }
            }
        }
        return chosen.count
    }

    /// Ends a path from outside the loop.
    func close(_ path: Path, _ end: LinkEnd) {
        let channel = book.withLock { book in
            book.sending += 1
            return book.isShut ? nil : book.entries[path.id]?.channel
        }
        defer { book.withLock { $0.sending -= 1 } }
        channel?.triggerUserOutboundEvent(end, promise: nil)
    }

    /// Nothing more is handed to the loop; true once nobody is about to. A job that comes after the loop's end is lost with its promise.
    func shut() -> Bool {
        book.withLock { book in
            book.isShut = true
            return book.sending == 0
        }
    }

    var listening: [LinkAddress] {
        get { book.withLock(\.listening) }
        set { book.withLock { $0.listening = newValue } }
    }
}

extension PathBook.Book {
    fileprivate mutating func choose(
        _ target: LinkTarget, _ size: Int, _ limit: Int
    ) -> (chosen: [PathBook.Entry], full: [PathBook.Entry]) {
        guard !isShut else { return ([], []) }
        let usable = entries.values.filter { !$0.condemned }
        let wanted: [PathBook.Entry]
        switch target {
        case .all: wanted = usable.filter(\.isPeer)
        case .inTurn:
            let byAddress = Dictionary(grouping: usable.filter(\.isPeer)) { $0.path.remote.host }
            wanted = byAddress.values.compactMap { $0.min { ($0.turn, $0.path.id) < ($1.turn, $1.path.id) } }
        case .path(let path): wanted = usable.filter { $0.path.id == path.id }
        case .any:
            let best = usable.filter(\.isPeer).min { ($0.waiting, $1.heard) < ($1.waiting, $0.heard) }
            wanted = best.map { [$0] } ?? []
        }
        turns += 1
        var chosen: [PathBook.Entry] = []
        var full: [PathBook.Entry] = []
        for entry in wanted {
            if entry.waiting + size > limit {
                entries[entry.path.id]?.condemned = true
                full.append(entry)
            } else {
                entries[entry.path.id]?.waiting += size
                entries[entry.path.id]?.turn = turns
                chosen.append(entry)
            }
        }
        statistics.framesSent += UInt64(chosen.count)
        return (chosen, full)
    }
}
