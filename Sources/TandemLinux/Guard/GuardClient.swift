import CLinux
import Glibc
import Synchronization
import TandemSystem

/// The agent's side of the guard: passes the deadlines on, finds or starts a guard when it is armed, and tells when it fails.
///
/// A thread of its own watches the guard, and keeps this alive until `close`.
public final class GuardClient: Sendable {
    private let scope: GuardScope
    /// The scope's: made once, as it is compared with each step of the clock.
    private let digest: UInt64
    private let boardPath: String
    private let spawn: @Sendable (_ replacing: String?) throws -> Void
    private let onEnded: @Sendable (_ reason: String) -> Void
    private let state: Mutex<State>
    private let changed: Bell
    /// What the board held when this agent started: a guard is armed since before, with this deadline if a lease was given then.
    public let wasArmed: Bool
    public let heldDeadline: GuardDeadline?
    /// False: somebody had written over the board, and it was made anew.
    public let wasSound: Bool

    private struct State {
        var board: GuardBoard
        var order: GuardOrder
        var watched: GuardIdentity?
        var end: Descriptor?
        var isClosed = false
        /// The spare that was found well, and what tells its end: to look it up in /proc with each step of the clock is dear.
        var spare: (identity: GuardIdentity, end: Descriptor)?
        /// When a spare was started last.
        var spareStarted: Int64 = 0
    }

    /// - Parameters:
    ///   - boardPath: `guard` in the folder of the control socket.
    ///   - spawn: starts a guard of this scope (`GuardLaunch`) and does not wait for it. It is given the guard to end first, if one does
    ///     not answer or guards something else.
    ///   - onEnded: an armed guard has ended, or does not look at the board any more. In a thread of its own; arm again at once. Also
    ///     right after this initializer, if the board is armed and nobody guards.
    public init(
        boardPath: String, scope: GuardScope, spawn: @escaping @Sendable (_ replacing: String?) throws -> Void,
        onEnded: @escaping @Sendable (_ reason: String) -> Void
    ) throws(SystemError) {
        self.scope = scope
        digest = scope.digest
        self.boardPath = boardPath
        self.spawn = spawn
        self.onEnded = onEnded
        let board = try GuardBoard(path: boardPath)
        let order = board.order
        wasSound = order != nil
        wasArmed = order?.isArmed ?? false
        heldDeadline = order?.end
        // Nothing is known of what it ordered; a node that cannot name its lease ends what accepts writes (protocol.md 5.3).
        if order == nil { board.makeAnew() }
        state = Mutex(State(board: board, order: order ?? GuardOrder()))
        changed = try Bell()
        if wasArmed, let guardian = board.guardian, guardian.isAlive, board.digest == digest { watch(guardian) }
        try OwnThread.start("guard's end") { self.run() }
    }

    /// Ends the watching; what is armed stays armed.
    public func close() {
        state.withLock { $0.isClosed = true }
        changed.ring()
    }

    /// Returns when a living guard of this scope goes by the order. Finds the one there is, or starts one, or one in the place of another.
    /// - Parameter until: the end of the lease; nil: none was given yet. A deadline that is armed already stays, unless this one is later.
    /// - Throws: after m. Not armed before: then it is not armed now. Armed before: it stays armed, for whatever guard may come.
    public func arm(until: GuardDeadline?) throws(GuardError) {
        let before = state.withLock(\.order)
        if !before.isArmed, let until, until.left(margin: scope.margin) <= 0 {
            throw GuardError(
                attempted: "arm the guard", happened: "the lease is over already",
                advice: "Nothing to do: it is armed with the next lease.")
        }
        let begun = SystemClock.now()
        let (board, former, generation) = try put { order in
            order.isArmed = true
            if let until { order.deadline = until.extended(to: before.isArmed ? order.deadline : nil) }
        }
        let failure = attendance(board, generation, begun)
        guard let failure else {
            retire(former)
            keepSpare()
            return
        }
        if !before.isArmed { _ = try put { $0 = GuardOrder(generation: $0.generation) } }
        throw failure
    }

    /// Moves the deadline of an armed guard; one that is not later, on either clock, stays. Waits for nobody and asks the kernel nothing.
    public func extend(until: GuardDeadline) {
        state.withLock { state in
            guard state.order.isArmed else { return }
            var isNews = state.order.deadline == nil
            state.order.deadline = until.extended(to: state.order.deadline)
            if !state.board.isSound {
                state.board.makeAnew()
                isNews = true
            }
            state.board.write(state.order)
            if isNews { state.board.ring() }
        }
    }

    /// From now on no lease is guarded. It holds when this returns, except for an act that has begun; a guard that is alive has
    /// heard of it, or did not look for m: it will, before it acts.
    public func release() throws(GuardError) {
        let (board, former, generation) = try put { $0 = GuardOrder(generation: $0.generation) }
        retire(former)
        _ = SystemClock.wait(upTo: scope.margin, step: .microseconds(300)) {
            board.heard == generation || !(board.guardian?.isAlive ?? false)
        }
    }

    public var status: GuardStatus {
        state.withLock { state in
            let board = state.board
            let guardian = board.guardian.flatMap { $0.isAlive ? $0 : nil }
            let flags = board.flags
            return GuardStatus(
                pid: guardian?.pid, isOfThisScope: board.digest == digest, isArmed: state.order.isArmed,
                deadline: state.order.end, answers: guardian != nil && board.heard == state.order.generation,
                hasSpare: spare(board) != nil, hasRealTime: flags.contains(.realTime), hasLockedMemory: flags.contains(.locked),
                isByAgent: flags.contains(.byAgent),
                hasWatchdog: flags.contains(.watchdog), boardIsInMemory: board.isInMemory, lastAct: board.act)
        }
    }

    // MARK: Orders that are waited for

    /// Writes the changed order, with a generation of its own, to a board that whoever starts now finds.
    private func put(
        _ change: (inout GuardOrder) -> Void
    ) throws(GuardError) -> (board: GuardBoard, former: GuardBoard?, generation: UInt64) {
        let outcome: Result<(GuardBoard, GuardBoard?, UInt64), SystemError> = state.withLock { state in
            var former: GuardBoard?
            if !state.board.isInPlace {
                do throws(SystemError) {
                    let board = try GuardBoard(path: boardPath)
                    former = state.board
                    state.board = board
                } catch {
                    return .failure(error)
                }
            }
            if !state.board.isSound { state.board.makeAnew() }
            change(&state.order)
            state.order.generation += 1
            state.board.write(state.order)
            state.board.ring()
            return .success((state.board, former, state.order.generation))
        }
        do throws(SystemError) {
            return try outcome.get()
        } catch {
            throw GuardError(
                attempted: "tell the guard", happened: "\(error)",
                advice: "Look whether the folder of `control_socket` is there and may be written to.")
        }
    }

    /// Nil: a guard goes by this order, which was given at `begun`.
    private func attendance(_ board: GuardBoard, _ generation: UInt64, _ begun: Int64) -> GuardError? {
        let patience = scope.margin.nanoseconds
        var end = begun + patience
        var started: String?
        while true {
            let guardian = board.guardian.flatMap { $0.isAlive ? $0 : nil }
            let isOurs = board.digest == digest
            if let guardian, isOurs, board.heard == generation {
                watch(guardian)
                return nil
            }
            let now = SystemClock.now()
            // A spare needs a moment to take the place of one that ended; one that is alive looks within microseconds of the ring.
            let grace: Int64
            switch guardian {
            case .none: grace = 2_000_000
            case .some where !isOurs: grace = 0
            case .some: grace = board.looked < begun ? patience / 3 : .max
            }
            if started == nil, now - begun >= grace {
                // Also if we were late ourselves.
                end = max(end, now + patience / 3 * 2)
                do {
                    if let guardian, spare(board) != nil {
                        ProcessTable.signal(guardian.pid, SIGKILL)
                        started = "its spare did not take its place"
                    } else {
                        try spawn(guardian?.text)
                        started = "one was started and is not ready"
                    }
                } catch {
                    started = "none could be started: \(error)"
                }
            }
            if now > end { return failure(guardian, isOurs, started) }
            _ = SystemClock.wait(upTo: .microseconds(300)) { false }
        }
    }

    /// Who goes by a board that was removed must not act by what was written there, and is of no more use.
    private func retire(_ former: GuardBoard?) {
        guard let former else { return }
        former.write(GuardOrder())
        for one in [former.guardian, former.spare].compactMap(\.self) where one.isAlive { ProcessTable.signal(one.pid, SIGKILL) }
    }

    /// A start takes as long as m in a short profile; a guard that stands by takes the place of another within a millisecond.
    private func keepSpare() {
        let now = SystemClock.now()
        let isWanted = state.withLock { state in
            guard state.order.isArmed, !state.isClosed, now - state.spareStarted > 2_000_000_000, !hasSpare(&state) else {
                return false
            }
            state.spareStarted = now
            // It stands in the queue before any other, and would be of no use.
            if let stale = state.board.spare, stale.isAlive, stale != state.board.guardian {
                ProcessTable.signal(stale.pid, SIGKILL)
            }
            return true
        }
        guard isWanted else { return }
        do {
            try spawn(nil)
        } catch {
            // Tried again; and the one at work is what counts.
            return
        }
    }

    /// The same as `spare`, for whoever asks all the time.
    private func hasSpare(_ state: inout State) -> Bool {
        if let known = state.spare, known.identity == state.board.spare, known.identity != state.board.guardian,
            state.board.spareDigest == digest, Poll.readable([known.end.number], upTo: .zero) == [false]
        {
            return true
        }
        state.spare = nil
        guard let found = spare(state.board) else { return false }
        let number = cl_pidfd_open(found.pid)
        guard number >= 0 else { return true }
        let end = Descriptor(number)
        // The number may have been used again between the look and the opening.
        if found.isAlive { state.spare = (found, end) }
        return true
    }

    /// One that stands by and is of use.
    private func spare(_ board: GuardBoard) -> GuardIdentity? {
        guard let spare = board.spare, board.spareDigest == digest, spare != board.guardian, spare.isAlive else {
            return nil
        }
        return spare
    }

    private func failure(_ guardian: GuardIdentity?, _ isOurs: Bool, _ started: String?) -> GuardError {
        let milliseconds = scope.margin.nanoseconds / 1_000_000
        let found: String
        switch guardian {
        case .none: found = "no guard runs here"
        case .some(let one) where !isOurs: found = "the guard \(one.pid) guards something else, and did not make room"
        case .some(let one):
            found = "the guard \(one.pid) does not answer (stopped, hung, or \(scope.dataDirectory) is not there)"
        }
        return GuardError(
            attempted: "arm the guard",
            happened: "within \(milliseconds) ms nobody took the order: \(found)\(started.map { "; \($0)" } ?? "")",
            advice:
                "Look at it with `systemctl status pgtandem-guard`, and start it anew with `systemctl restart pgtandem-guard`.")
    }

    // MARK: Watching

    private func watch(_ guardian: GuardIdentity) {
        let number = cl_pidfd_open(guardian.pid)
        state.withLock { state in
            state.watched = guardian
            // Without one (it has just ended, or no descriptor is to be had) its silence is noticed.
            state.end = number < 0 ? nil : Descriptor(number)
        }
        changed.ring()
    }

    private func run() {
        // Each millisecond without a guard counts; without the right to it, it is told a little later.
        _ = RealTime.raise()
        if wasArmed, state.withLock({ $0.watched == nil }) { onEnded("no guard of this configuration was left from before") }
        while true {
            let (guardian, end, isClosed) = state.withLock { ($0.watched, $0.end, $0.isClosed) }
            if isClosed { return }
            let numbers = [changed.number] + (end.map { [$0.number] } ?? [])
            let ready = Poll.readable(numbers, upTo: guardian == nil ? nil : scope.margin)
            if ready[0] {
                changed.clear()
                continue
            }
            guard let guardian else { continue }
            let hasEnded = ready.last == true || end == nil && !guardian.isAlive
            let reason: String? = state.withLock { state in
                // It looks every half of m.
                let isMute = SystemClock.now() - state.board.looked > scope.margin.nanoseconds
                guard state.watched == guardian, hasEnded || state.order.isArmed && isMute else { return nil }
                state.watched = nil
                state.end = nil
                guard state.order.isArmed else { return nil }
                return hasEnded
                    ? "the guard \(guardian.pid) has ended" : "the guard \(guardian.pid) no longer looks at its deadline"
            }
            if let reason { onEnded(reason) } else { keepSpare() }
        }
    }
}

/// How the guard stands, for the status page.
public struct GuardStatus: Hashable, Sendable {
    /// Nil: none lives.
    public var pid: Int32?
    /// False: it was started with another configuration.
    public var isOfThisScope: Bool
    public var isArmed: Bool
    public var deadline: GuardDeadline?
    /// It goes by the agent's last order.
    public var answers: Bool
    /// Another one stands by.
    public var hasSpare: Bool
    public var hasRealTime: Bool
    public var hasLockedMemory: Bool
    /// Started by the agent, not by the service manager.
    public var isByAgent: Bool
    public var hasWatchdog: Bool
    /// False: the folder of the control socket is on a disk, which may hold agent and guard up.
    public var boardIsInMemory: Bool
    public var lastAct: GuardAct?
}

/// The guard is not armed.
public struct GuardError: Error, Sendable, CustomStringConvertible {
    public var attempted: String
    public var happened: String
    /// One imperative sentence.
    public var advice: String

    public var description: String {
        "\(attempted) failed: \(happened). Without a guard nothing ends PostgreSQL here if the agent hangs, so the pair stays or becomes "
            + "`sole`, or PostgreSQL is ended. \(advice)"
    }
}
