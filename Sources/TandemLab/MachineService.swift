import CLinux
import Glibc
import TandemSystem

/// One service of a machine, as systemd would keep it: started as root, its output in a file, started again a moment after it
/// ended unexpectedly, never after an order to stop. A command may follow each of its ends, before anything else
/// (`ExecStopPost`). Only its main process is ever signalled (`KillMode=process`): PostgreSQL outlives the agent.
struct MachineService {
    private enum State {
        case stopped
        case running(pid: Int32)
        /// Signalled; nil: killed already.
        case ending(pid: Int32, killAt: Int64?, then: Next)
        /// The command that follows the end is at work.
        case lastAct(pid: Int32, killAt: Int64?, then: Next)
        case waiting(startAt: Int64)
    }

    private enum Next { case stay, startLater, startNow }

    /// Orders whose answer comes later.
    private struct Waiting {
        var forEnd: [Int] = []
        var forStop: [Int] = []
        var forStart: [Int] = []
    }

    /// systemd's TimeoutStopSec.
    private static let lastActLimit: Duration = .seconds(90)

    private let spec: ServiceSpec
    private let log: Descriptor
    private var state = State.stopped
    private var waiting = Waiting()
    private var skipsLastAct = false
    private var starts = 0
    private var lastEnding = "none"
    private var lastActs = 0
    private var lastActEnding = "none"
    private var answers: [(order: Int, text: String)] = []

    init(_ spec: ServiceSpec, log: Descriptor) {
        self.spec = spec
        self.log = log
    }

    /// What has been answered since the last call.
    mutating func takeAnswers() -> [(order: Int, text: String)] {
        defer { answers = [] }
        return answers
    }

    /// As at boot: nobody waits for an answer.
    mutating func startAtBoot() { if spec.startsAtBoot, !spec.arguments.isEmpty { _ = launch() } }

    mutating func start(order: Int) {
        switch state {
        case .running(let pid): answer(order, "ok \(pid)")
        case .ending: answer(order, "error the service is being stopped")
        case .lastAct(let pid, let killAt, _):
            state = .lastAct(pid: pid, killAt: killAt, then: .startNow)
            waiting.forStart.append(order)
        case .stopped, .waiting: answer(order, launch())
        }
    }

    mutating func stop(order: Int, within limit: Duration) {
        switch state {
        case .running(let pid):
            _ = Glibc.kill(pid, SIGTERM)
            state = .ending(pid: pid, killAt: SystemClock.after(limit), then: .stay)
            waiting.forStop.append(order)
        case .lastAct(let pid, let killAt, _):
            state = .lastAct(pid: pid, killAt: killAt, then: .stay)
            waiting.forStop.append(order)
        case .waiting, .stopped:
            state = .stopped
            answer(order, "ok not running")
        case .ending: answer(order, "error the service is being stopped already")
        }
    }

    /// SIGKILL. The answer comes when the process is gone; what follows its end goes on.
    /// - Parameters:
    ///   - startsAgain: as after a crash; otherwise it stays as it is.
    ///   - skipsLastAct: as if the service manager had died too.
    mutating func kill(order: Int, startsAgain: Bool, skipsLastAct: Bool) {
        switch state {
        case .running(let pid):
            _ = Glibc.kill(pid, SIGKILL)
            state = .ending(pid: pid, killAt: nil, then: startsAgain ? .startLater : .stay)
            self.skipsLastAct = skipsLastAct
            waiting.forEnd.append(order)
        case .ending(let pid, _, let next):
            _ = Glibc.kill(pid, SIGKILL)
            state = .ending(pid: pid, killAt: nil, then: startsAgain ? next : .stay)
            self.skipsLastAct = skipsLastAct
            waiting.forEnd.append(order)
        case .lastAct(let pid, let killAt, _) where !startsAgain:
            state = .lastAct(pid: pid, killAt: killAt, then: .stay)
            answer(order, "ok not running")
        case .waiting where !startsAgain:
            state = .stopped
            answer(order, "ok not running")
        case .stopped, .waiting, .lastAct: answer(order, "ok not running")
        }
    }

    /// Any signal to the main process; if it dies of it, it is started again as after a crash.
    mutating func signal(order: Int, _ number: Int32) {
        switch state {
        case .running(let pid), .ending(let pid, _, _):
            answer(order, Glibc.kill(pid, number) == 0 ? "ok \(pid)" : "error the signal \(number) was refused")
        case .stopped, .lastAct, .waiting: answer(order, "error the service does not run")
        }
    }

    mutating func status(order: Int) {
        let word =
            switch state {
            case .stopped: "stopped 0"
            case .running(let pid): "running \(pid)"
            case .ending(let pid, _, _): "stopping \(pid)"
            case .lastAct: "lastAct 0"
            case .waiting: "waiting 0"
            }
        answer(order, "ok \(word) \(starts) \(lastEnding) \(lastActs) \(lastActEnding)")
    }

    /// A child was reaped; an orphan that is not of this service is none of our business.
    mutating func ended(pid: Int32, status: Int32) {
        let ending = cl_exited(status) != 0 ? "exit:\(cl_exit_code(status))" : "signal:\(cl_ending_signal(status))"
        switch state {
        case .running(pid):
            let isDone = ending == "exit:0" && !spec.service.restartsAfterSuccess
            followEnd(ending, then: isDone ? .stay : .startLater)
        case .ending(pid, _, let next): followEnd(ending, then: next)
        case .lastAct(pid, _, let next):
            lastActs += 1
            lastActEnding = ending
            note("the command after the end of the \(spec.service.rawValue) ended: \(ending)")
            proceed(next)
        case .running, .ending, .lastAct, .stopped, .waiting: break
        }
    }

    /// Nil: nothing is planned.
    func untilNextDeadline() -> Duration? {
        let due: Int64? =
            switch state {
            case .ending(_, let killAt, _), .lastAct(_, let killAt, _): killAt
            case .waiting(let startAt): startAt
            case .stopped, .running: nil
            }
        return due.map { .nanoseconds(max(0, $0 - SystemClock.now())) }
    }

    /// Does what is due.
    mutating func passDeadlines() {
        let now = SystemClock.now()
        switch state {
        case .ending(let pid, .some(let killAt), let next) where now >= killAt:
            // The answer follows when it is reaped: "ok signal:9".
            _ = Glibc.kill(pid, SIGKILL)
            state = .ending(pid: pid, killAt: nil, then: next)
        case .lastAct(let pid, .some(let killAt), let next) where now >= killAt:
            _ = Glibc.kill(pid, SIGKILL)
            state = .lastAct(pid: pid, killAt: nil, then: next)
        case .waiting(let startAt) where now >= startAt: _ = launch()
        case .ending, .lastAct, .waiting, .stopped, .running: break
        }
    }

    private mutating func followEnd(_ ending: String, then next: Next) {
        lastEnding = ending
        note("the \(spec.service.rawValue) ended: \(ending)")
        for order in waiting.forEnd { answer(order, "ok \(ending)") }
        waiting.forEnd = []
        defer { skipsLastAct = false }
        guard !spec.lastAct.isEmpty, !skipsLastAct else { return proceed(next) }
        var pid: pid_t = 0
        let code = spawn(spec.lastAct, &pid)
        guard code == 0 else {
            lastActEnding = "failed"
            note("\(SystemError(attempted: "start \(spec.lastAct[0])", code: code))")
            return proceed(next)
        }
        state = .lastAct(pid: pid, killAt: SystemClock.after(MachineService.lastActLimit), then: next)
    }

    private mutating func proceed(_ next: Next) {
        switch next {
        case .stay: state = .stopped
        case .startLater: state = .waiting(startAt: SystemClock.after(spec.service.restartDelay))
        case .startNow:
            let started = launch()
            for order in waiting.forStart { answer(order, started) }
            waiting.forStart = []
        }
        // Who asked for an end has it, also if somebody else asked for a start meanwhile; and the other way round.
        for order in waiting.forStop { answer(order, "ok \(lastEnding)") }
        waiting.forStop = []
        for order in waiting.forStart { answer(order, "error the service was stopped meanwhile") }
        waiting.forStart = []
    }

    private mutating func launch() -> String {
        guard let program = spec.arguments.first else { return "error this host has no such service" }
        var pid: pid_t = 0
        let code = spawn(spec.arguments, &pid)
        guard code == 0 else {
            state = .stopped
            let error = SystemError(attempted: "start \(program)", code: code)
            note("\(error)")
            return "error \(error)"
        }
        starts += 1
        state = .running(pid: pid)
        return "ok \(pid)"
    }

    private mutating func answer(_ order: Int, _ text: String) { answers.append((order, text)) }

    private func note(_ text: String) {
        let bytes = Array("[host] \(text)\n".utf8)
        // The log is for people; a full disk must not stop process 1.
        _ = cl_write_quietly(log.number, bytes, bytes.count)
    }

    private func spawn(_ arguments: [String], _ pid: inout pid_t) -> Int32 {
        SpawnOrder.spawn(arguments, environment: spec.environment, input: -1, output: log.number, errors: log.number, pid: &pid)
    }
}
