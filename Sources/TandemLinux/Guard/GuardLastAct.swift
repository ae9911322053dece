import CLinux
import Glibc
import TandemSystem

/// What the service manager runs when the agent or the guard ends (`protocol.md` 3.2: if both die): waits for a guard or for the deadline,
/// whichever comes first.
public enum GuardLastAct {
    /// - Returns: what it did, or why there was nothing to do.
    public static func run(_ scope: GuardScope, boardPath: String) throws(SystemError) -> String {
        guard access(boardPath, F_OK) == 0 || errno != ENOENT else { return "nothing is armed: there is no board \(boardPath)" }
        let board = try GuardBoard(path: boardPath)
        // Somebody wrote over the board: whether it was armed cannot be known, and not knowing is not absence.
        func isOver(_ order: GuardOrder?) -> Bool {
            guard let order else { return false }
            return order.end.map { $0.isCovered(by: board.acted) } ?? true
        }
        if isOver(board.order) { return "nothing is armed" }
        let lock = try GuardLock(path: boardPath + ".lock")
        guard chdir("/") == 0 else { throw SystemError.last("change to the folder /") }
        let hand = try GuardHand(scope)
        try hand.resolveDirectory(board)
        _ = RealTime.lockMemory(onFault: false)
        _ = RealTime.raise()
        var muteSince: Int64?
        while true {
            let bell = board.bell
            let order = board.order
            if isOver(order) { return "nothing is armed" }
            let now = SystemClock.now()
            if lock.isTaken {
                // A stopped guard has the lock and does nothing.
                guard now - board.looked > max(1_000_000_000, scope.margin.nanoseconds * 4) else { return "a guard is at work" }
                let since = muteSince ?? now
                muteSince = since
                if now - since > scope.margin.nanoseconds / 2, let mute = board.guardian, mute.isAlive {
                    ProcessTable.signal(mute.pid, SIGKILL)
                }
            } else {
                muteSince = nil
            }
            let left = order.map { $0.end?.left(margin: scope.margin) ?? .max } ?? 0
            if left <= 0 {
                // Also without the lock, if a mute guard does not let it go: two acts do no more than one.
                let isOurs = lock.takeIfFree()
                if !isOurs, muteSince == nil { continue }
                let end = order?.end ?? GuardDeadline.after(.zero)
                let act = hand.act(for: end) { board.act = $0 }
                if board.isSound {
                    board.acted = end.extended(to: board.acted)
                    board.act = act
                }
                return "no guard was left. \(act)"
            }
            board.wait(heard: bell, upTo: max(20_000, min(5_000_000, left / 10 * 9)))
        }
    }
}
