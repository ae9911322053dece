import Synchronization
import TandemCore
import TandemSimulator
import TandemSystem

/// Seeds on several threads. Which seeds are run does not depend on how many.
struct Crew {
    let size: Int
    /// Not after this (nanoseconds of CLOCK_BOOTTIME).
    let limit: Int64

    private struct Work: Sendable {
        var next: Int = 0
        var campaign = Campaign()
        var first: UInt64?
        var caught: [Catch?] = []
        var left: Int
    }

    /// Everything together, and the lowest seed that broke a rule; after one, no new seed is begun.
    func run(from: UInt64, count: Int, steps: Int, flaw: Flaw?) -> (Campaign, UInt64?) {
        let work = Mutex(Work(left: size))
        onThreads(work) {
            var mine = Campaign()
            while true {
                let place = work.withLock { work -> Int? in
                    guard work.first == nil, work.next < count, SystemClock.now() < limit else { return nil }
                    work.next += 1
                    return work.next - 1
                }
                guard let place else { break }
                let seed = from + UInt64(place)
                if mine.run(seed, limit: steps, flaw: flaw) != nil {
                    work.withLock { $0.first = min($0.first ?? seed, seed) }
                }
            }
            let done = mine
            work.withLock { $0.campaign.add(done) }
        }
        return work.withLock { ($0.campaign, $0.first) }
    }

    func hunt(_ flaws: [Flaw], from: UInt64, seeds: Int, steps: Int) -> [Catch] {
        let work = Mutex(Work(caught: Array(repeating: nil, count: flaws.count), left: size))
        onThreads(work) {
            while true {
                let place = work.withLock { work -> Int? in
                    guard work.next < flaws.count else { return nil }
                    work.next += 1
                    return work.next - 1
                }
                guard let place else { break }
                let row = Catch.hunt(flaws[place], from: from, seeds: seeds, limit: steps) { SystemClock.now() < limit }
                work.withLock { $0.caught[place] = row }
            }
        }
        return work.withLock { $0.caught.compactMap { $0 } }
    }

    private func onThreads(_ work: borrowing Mutex<Work>, _ body: @escaping @Sendable () -> Void) {
        let done = Counter(size)
        for number in 1..<max(1, size) {
            do {
                try OwnThread.start("simulate-\(number)") {
                    body()
                    done.one()
                }
            } catch {
                print("one thread less: \(error)")
                done.one()
            }
        }
        body()
        done.one()
        done.wait()
    }
}

/// Threads that are still at work.
private final class Counter: Sendable {
    private let left: Mutex<Int>
    init(_ count: Int) { left = Mutex(count) }
    func one() { left.withLock { $0 -= 1 } }
    func wait() { _ = SystemClock.wait(upTo: .seconds(86_400)) { left.withLock { $0 <= 0 } } }
}
