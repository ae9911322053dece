import Synchronization
import TandemSystem

/// Items on their way to one thread.
final class Mailbox<Item: Sendable>: Sendable {
    private let items = Mutex<[Item]>([])
    private let bell: Bell

    init() throws(SystemError) { bell = try Bell() }

    func post(_ item: Item) {
        items.withLock { $0.append(item) }
        bell.ring()
    }

    /// Everything that has come, as soon as anything has, or nothing after the wait. The wait does not follow the wall clock.
    func take(waiting patience: Duration) -> [Item] {
        bell.wait(upTo: patience)
        // Cleared before the items are taken: what comes in between rings again.
        bell.clear()
        return items.withLock { items in
            defer { items = [] }
            return items
        }
    }
}
