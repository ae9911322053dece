import Synchronization
import TandemCore
import TandemSystem

/// Why the witness does not serve this pair, as far as this host knows: its own words (frame 11 of the link), or why no connection to it comes
/// up. For people alone: nothing is decided by it.
public final class WitnessTrouble: Sendable {
    private struct Present {
        var note: RefusalNote
        /// Whose words they are.
        var isOfTheWitness: Bool
        var saidAt: Int64
    }

    /// The witness refuses some requests and answers others (a full disk), and says so at each: so long without a word, it is over.
    static let patience = Duration.seconds(3)

    private let present = Mutex<Present?>(nil)
    private let clock: @Sendable () -> Int64

    /// - Parameter clock: nanoseconds that only grow.
    public init(clock: @escaping @Sendable () -> Int64 = { SystemClock.now() }) { self.clock = clock }

    /// The witness said so itself.
    /// - Returns: whether that is new.
    public func refused(_ note: RefusalNote) -> Bool { set(note, isOfTheWitness: true) }

    /// No connection comes up.
    /// - Returns: whether that is new; another text of the same code is not.
    @discardableResult public func notReached(_ note: RefusalNote) -> Bool { set(note, isOfTheWitness: false) }

    private func set(_ note: RefusalNote, isOfTheWitness: Bool) -> Bool {
        let now = clock()
        return present.withLock { present in
            let isNew = isOfTheWitness ? present?.note != note : present?.note.code != note.code
            present = Present(note: note, isOfTheWitness: isOfTheWitness, saidAt: now)
            return isNew
        }
    }

    /// An answer to a request has come.
    /// - Returns: whether trouble is over with it.
    @discardableResult public func answered() -> Bool {
        let now = clock()
        return present.withLock { present in
            guard let known = present, !known.isOfTheWitness || now - known.saidAt > Self.patience.nanoseconds else {
                return false
            }
            present = nil
            return true
        }
    }

    public var note: RefusalNote? { present.withLock { $0?.note } }
}
