import CLinux
import Glibc
import TandemSystem

/// The guard (`protocol.md` 3.2): when the lease's end comes nearer than m and was not moved, it ends every process of the instance and
/// removes both addresses. Nothing else. It reads the board, sleeps, and acts; it never waits for the agent, a disk, or a reader of its log.
///
/// It acts once for each deadline: what the agent starts afterwards (a read-only standby) is left alone until a later deadline passes.
/// Neither a release nor an extension that comes while it acts ends the act.
public final class GuardProcess {
    /// Its threads do little, and all of their stacks is locked.
    static let stackBytes = 1 << 20

    private let scope: GuardScope
    private let board: GuardBoard
    private let lock: GuardLock
    private let hand: GuardHand
    private let watchdog: (any GuardWatchdog)?
    private let log: GuardLog
    private let identity: GuardIdentity
    private var flags: GuardBoard.Flags = []
    /// The order that it goes by: the board's, or the last one read, if somebody wrote over the board.
    private var known = GuardOrder()
    private var acted: GuardDeadline
    private var isFeeding = false

    /// - Parameters:
    ///   - boardPath: `guard` in the folder of the control socket; its lock lies beside it.
    ///   - watchdog: nil: none.
    ///   - isByAgent: for the status only.
    public init(
        _ scope: GuardScope, boardPath: String, watchdog: (any GuardWatchdog)? = nil, isByAgent: Bool = false
    ) throws(SystemError) {
        self.scope = scope
        self.watchdog = watchdog
        log = try GuardLog()
        guard let startTime = ProcessTable.startTime(of: getpid()) else {
            throw SystemError(attempted: "find ourselves in /proc", code: ESRCH, advice: "Mount /proc.")
        }
        identity = GuardIdentity(pid: getpid(), startTime: startTime)
        // A guard whose own directory were the instance's would look like one of its processes.
        guard chdir("/") == 0 else { throw SystemError.last("change to the folder /") }
        cguard_heed_signals()
        board = try GuardBoard(path: boardPath)
        lock = try GuardLock(path: boardPath + ".lock")
        hand = try GuardHand(scope)
        try hand.resolveDirectory(board)
        try hand.rehearse()
        acted = board.acted
        if isByAgent { flags.insert(.byAgent) }
        if !board.isInMemory {
            log.say("\(boardPath) is on a disk, which may hold up agent and guard: put `control_socket` into /run")
        }
        prepare()
    }

    /// Ends when it is told to by SIGTERM, after an act that it is in; one that an agent has started also when none was armed for a minute.
    /// - Parameter replacing: a guard that does not answer, or guards something else, as `GuardClient` names it: it is ended as soon as
    ///   this one is ready to take its place.
    public func run(replacing old: String? = nil) throws(SystemError) {
        if let old = old.flatMap({ GuardIdentity(text: $0) }), old.isAlive { ProcessTable.signal(old.pid, SIGKILL) }
        if !lock.takeIfFree() {
            board.standBy(identity, scope)
            try lock.take()
        }
        acted = board.acted
        var neededAt = SystemClock.now()
        while cguard_told_to_end() == 0 {
            let bell = board.bell
            look()
            if let end = known.end, !end.isCovered(by: acted), end.left(margin: scope.margin) <= 0 {
                act(end)
            } else {
                let now = SystemClock.now()
                if known.isArmed || !flags.contains(.byAgent) { neededAt = now }
                // The agent is gone, or needs none; it starts another when it does.
                if now - neededAt > 60_000_000_000 { break }
                feed()
                board.wait(heard: bell, upTo: pause)
            }
        }
        if !known.isArmed { watchdog?.end() }
        log.say(known.isArmed ? "ends while it is armed: another guard must take its place" : "ends")
        log.flush()
    }

    private func prepare() {
        func tell(_ why: String) { log.say("\(why) Without it the guard may act late when the host is busy.") }
        if let why = RealTime.lockMemory(onFault: true) { tell(why) } else { flags.insert(.locked) }
        if let why = RealTime.raise() { tell(why) } else { flags.insert(.realTime) }
        // All of the program, also what is not touched by now: read from its disk once, and not at the act. It takes a while, for which
        // the agent need not wait. With priority, too, as it holds a lock of the kernel that our next touch of new memory waits for.
        do throws(SystemError) {
            guard flags.contains(.locked) else { return }
            try OwnThread.start("guard loads", stackBytes: GuardProcess.stackBytes) {
                _ = RealTime.raise()
                _ = RealTime.lockMemory(onFault: false)
            }
        } catch {
            tell("\(error).")
        }
    }

    /// Takes the order in force, and says so.
    private func look() {
        if let order = board.order {
            if order.isArmed, !known.isArmed { arm(order) }
            known = order
            // Another one may have acted while we were stopped.
            acted = board.acted.extended(to: acted)
        }
        // Somebody made the page anew.
        if board.guardian != identity || board.digest != scope.digest { board.introduce(identity, scope, flags) }
        // Without a directory it could not end anything: that is no guard.
        board.look(heard: hand.directory == nil ? 0 : known.generation, at: SystemClock.now())
    }

    /// The agent is well at this moment, so most likely its disk is: what was not there at our start, or has moved, is found now.
    private func arm(_ order: GuardOrder) {
        do throws(SystemError) {
            try hand.resolveDirectory(board)
            if hand.directory == nil { log.say("not armed: there is no directory \(scope.dataDirectory)") }
        } catch {
            log.say("the data directory was not looked at again: \(error)")
        }
        if !isFeeding, let watchdog {
            do throws(SystemError) {
                try watchdog.begin()
                isFeeding = true
                flags.insert(.watchdog)
                board.introduce(identity, scope, flags)
            } catch {
                log.say("no watchdog: \(error)")
            }
        }
    }

    private func act(_ end: GuardDeadline) {
        let act = hand.act(for: end) { act in
            // Goes on hearing, although nothing that it hears ends the act; a watchdog that is not fed is the last resort.
            board.act = act
            if let order = board.order { known = order }
            board.look(heard: known.generation, at: SystemClock.now())
            if known.end.map({ $0.left(margin: scope.margin) > 0 }) ?? true { feed() }
        }
        acted = end.extended(to: acted)
        board.acted = acted
        board.act = act
        log.say(act.description)
    }

    private func feed() {
        if isFeeding { watchdog?.feed() }
    }

    /// How long it may sleep. A deadline only grows, so the agent need not ring for it. CLOCK_MONOTONIC, by which we sleep, stands still
    /// while the machine is suspended, and slewing makes it slower than CLOCK_MONOTONIC_RAW by up to 8 %: hence short steps, which also
    /// show the agent that we are alive, and only nine tenths of what is left.
    private var pause: Int64 {
        let step = scope.margin.nanoseconds / 2
        guard known.isArmed else { return isFeeding ? step : 2_000_000_000 }
        guard let end = known.end, !end.isCovered(by: acted) else { return step }
        return max(20_000, min(step, end.left(margin: scope.margin) / 10 * 9))
    }
}

extension GuardAct: CustomStringConvertible {
    public var description: String {
        var text = "the lease ended: \(killed) processes of the instance killed, \(removedAddresses) addresses removed, "
        if let silenced { text += "silent after \(silenced.nanoseconds / 1000) µs, " }
        if let duration {
            text += "all gone after \(duration.nanoseconds / 1000) µs"
        } else {
            text += "\(survivors) processes are left"
        }
        if refusal != 0 { text += "; " + SystemError(attempted: "giving the addresses up", code: refusal).description }
        return text
    }
}
