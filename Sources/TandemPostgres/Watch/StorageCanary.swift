import Synchronization
import TandemCore
import TandemSystem

/// Says how this host's storage is, once a second, from a thread that never waits for it: the probe has a thread of its own, and what does
/// not come back in time is told as well (`hazards.md` H66 to H70).
public final class StorageCanary: Sendable {
    public struct Patience: Hashable, Sendable {
        /// From the beginning of a probe to that of the next.
        public var interval: Duration = .seconds(1)
        /// A probe that takes longer hangs. How long that may last is decided elsewhere (`postgresql.hang_patience`).
        public var deadline: Duration = .seconds(3)
        public init() {}
    }

    private struct State {
        var probe: StorageProbe
        /// When the probe that is under way began.
        var begun: Int64?
        var found: Storage?
        var next: Int64 = 0
        var pauses = 0
        var isStopping = false
    }

    private let patience: Patience
    private let place: String
    private let state: Mutex<State>
    private let lane = Lane(name: "pg canary", isPatient: true)
    private let bell: Bell
    private let ended: Bell
    private let look: (@Sendable () -> Storage?)?
    private let deliver: @Sendable (Storage) -> Void

    /// - Parameters:
    ///   - look: in place of the probe; for tests.
    ///   - deliver: called in the canary's thread, first of all and then at each change; it must be quick.
    public init(
        dataDirectory: String, patience: Patience = Patience(), look: (@Sendable () -> Storage?)? = nil,
        deliver: @escaping @Sendable (Storage) -> Void
    ) throws(SystemError) {
        self.patience = patience
        self.look = look
        self.deliver = deliver
        place = dataDirectory
        state = Mutex(State(probe: StorageProbe(dataDirectory: dataDirectory)))
        bell = try Bell()
        ended = try Bell()
    }

    public func start() throws(SystemError) {
        try OwnThread.start("pg storage", isPatient: true) { self.run() }
    }

    /// Nothing is delivered after it returned. A probe that hangs is left to itself.
    public func stop() {
        state.withLock { $0.isStopping = true }
        bell.ring()
        ended.wait()
    }

    /// No file of ours appears in the directory meanwhile: `pg_rewind` fails over one that it saw and that is gone when it removes it.
    /// A probe that hangs is not waited for longer than its deadline.
    public func paused<Result>(_ work: () throws -> Result) rethrows -> Result {
        state.withLock { $0.pauses += 1 }
        _ = SystemClock.wait(upTo: patience.deadline, step: .milliseconds(2)) { self.state.withLock { $0.begun == nil } }
        defer {
            state.withLock { $0.pauses -= 1 }
            bell.ring()
        }
        return try work()
    }

    private func run() {
        var told: Storage?
        while true {
            bell.clear()
            let now = SystemClock.now()
            let (isStopping, begins, found, begun) = state.withLock { state in
                let begins = state.begun == nil && state.pauses == 0 && now >= state.next && !state.isStopping
                if begins {
                    state.begun = now
                    state.next = now + patience.interval.inNanoseconds
                }
                defer { state.found = nil }
                return (state.isStopping, begins, state.found, state.begun)
            }
            if isStopping { break }
            if begins { lane.submit { [weak self] in self?.probe() } }
            if let found, found.word != told?.word {
                told = found
                deliver(found)
            }
            if let begun, now - begun >= patience.deadline.inNanoseconds, told?.word != "hangs" {
                let span = Duration.nanoseconds(now - begun)
                let hang = Storage.hangs("writes on the file system of \(place) do not come back", for: span)
                told = hang
                deliver(hang)
            }
            bell.wait(upTo: .nanoseconds(max(0, wakeUp(now, hangsAlready: told?.word == "hangs") - now)))
        }
        ended.ring()
    }

    private func wakeUp(_ now: Int64, hangsAlready: Bool) -> Int64 {
        state.withLock { state in
            if let begun = state.begun, !hangsAlready { return begun + patience.deadline.inNanoseconds }
            // A probe that hangs, or a pause, rings at its end.
            if state.begun != nil || state.pauses > 0 { return now + 60_000_000_000 }
            return state.next
        }
    }

    /// In the lane: as long as it takes.
    private func probe() {
        var probe = state.withLock { $0.probe }
        let found = look?() ?? (look == nil ? probe.look() : nil)
        state.withLock { state in
            state.probe = probe
            state.found = found
            state.begun = nil
        }
        bell.ring()
    }
}
