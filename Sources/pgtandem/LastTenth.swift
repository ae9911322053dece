import Synchronization

/// The greatest number so far.
final class LastTenth: Sendable {
    private let last = Mutex<Int>(-1)

    func advances(to number: Int) -> Bool {
        last.withLock { last in
            guard number > last else { return false }
            last = number
            return true
        }
    }
}
