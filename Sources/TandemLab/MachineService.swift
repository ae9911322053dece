import CLinux
import Glibc
import TandemSystem

/// The one service of a machine, the agent: started as root, its output in a file, started again 100 ms after it ended
/// unexpectedly (`Restart=on-failure`), never after exit status 0 or after an order to stop. Only its main process is ever
/// signalled (`KillMode=process`): PostgreSQL outlives the agent.
struct MachineService {
    private enum State: Equatable {
        case stopped
        case running(pid: Int32)
        /// Asked to end; whoever asked waits for the answer.
        case stopping(pid: Int32, killAt: Int64)
        case killed(pid: Int32)
        case waiting(startAt: Int64)
    }

    /// As systemd's RestartSec default.
    private static let restartDelay: Duration = .milliseconds(100)

    private let arguments: [String]
    private let environment: [String: String]
    private let log: Descriptor
    private var state = State.stopped
    private var starts = 0
    private var lastEnding = "none"

    init(arguments: [String], environment: [String: String], log: Descriptor) {
        self.arguments = arguments
        self.environment = environment
        self.log = log
    }

    @discardableResult
    mutating func start() -> String {
        switch state {
        case .running(let pid): return "ok \(pid)"
        case .stopping, .killed: return "error the service is being stopped"
        case .stopped, .waiting: break
        }
        guard !arguments.isEmpty else { return "error this host has no service" }
        var pid: pid_t = 0
        let code = spawn(&pid)
        guard code == 0 else {
            state = .stopped
            let error = SystemError(attempted: "start \(arguments[0])", code: code)
            note("\(error)")
            return "error \(error)"
        }
        starts += 1
        state = .running(pid: pid)
        return "ok \(pid)"
    }

    mutating func stop(within limit: Duration) -> String? {
        switch state {
        case .running(let pid):
            _ = Glibc.kill(pid, SIGTERM)
            state = .stopping(pid: pid, killAt: SystemClock.now() + limit.nanoseconds)
            return nil
        case .waiting, .stopped:
            state = .stopped
            return "ok not running"
        case .stopping, .killed: return "error the service is being stopped already"
        }
    }

    /// SIGKILL, and no new start: a crash without the service manager's help. The answer comes when it is gone.
    mutating func kill() -> String? {
        switch state {
        case .running(let pid):
            _ = Glibc.kill(pid, SIGKILL)
            state = .killed(pid: pid)
            return nil
        case .waiting, .stopped:
            state = .stopped
            return "ok not running"
        case .stopping, .killed: return "error the service is being stopped already"
        }
    }

    /// Any signal to the main process; if it dies of it, it is started again as after a crash.
    func signal(_ number: Int32) -> String {
        guard case .running(let pid) = state else { return "error the service does not run" }
        return Glibc.kill(pid, number) == 0 ? "ok \(pid)" : "error the signal \(number) was refused"
    }

    func status() -> String {
        let word =
            switch state {
            case .stopped: "stopped 0"
            case .running(let pid): "running \(pid)"
            case .stopping(let pid, _), .killed(let pid): "stopping \(pid)"
            case .waiting: "waiting 0"
            }
        return "ok \(word) \(starts) \(lastEnding)"
    }

    /// A child was reaped; an orphan that is not the service is none of our business.
    /// - Returns: the answer to a pending order.
    mutating func ended(pid: Int32, status: Int32) -> String? {
        let ending = cl_exited(status) != 0 ? "exit:\(cl_exit_code(status))" : "signal:\(cl_ending_signal(status))"
        switch state {
        case .running(pid):
            lastEnding = ending
            note("the service ended: \(ending)")
            state =
                ending == "exit:0"
                ? .stopped : .waiting(startAt: SystemClock.now() + MachineService.restartDelay.nanoseconds)
            return nil
        case .stopping(pid, _), .killed(pid):
            lastEnding = ending
            state = .stopped
            return "ok \(ending)"
        case .running, .stopping, .killed, .stopped, .waiting: return nil
        }
    }

    /// Nil: nothing is planned.
    func untilNextDeadline() -> Duration? {
        switch state {
        case .stopping(_, let killAt): .nanoseconds(max(0, killAt - SystemClock.now()))
        case .waiting(let startAt): .nanoseconds(max(0, startAt - SystemClock.now()))
        case .stopped, .running, .killed: nil
        }
    }

    /// Does what is due.
    mutating func passDeadlines() {
        switch state {
        case .stopping(let pid, let killAt) where SystemClock.now() >= killAt:
            // The answer follows when it is reaped: "ok signal:9".
            _ = Glibc.kill(pid, SIGKILL)
            state = .killed(pid: pid)
        case .waiting(let startAt) where SystemClock.now() >= startAt:
            start()
        case .stopping, .waiting, .stopped, .running, .killed: break
        }
    }

    private func note(_ text: String) {
        let bytes = Array("[host] \(text)\n".utf8)
        // The log is for people; a full disk must not stop process 1.
        _ = cl_write_quietly(log.number, bytes, bytes.count)
    }

    private func spawn(_ pid: inout pid_t) -> Int32 {
        SpawnOrder.spawn(arguments, environment: environment, input: -1, output: log.number, errors: log.number, pid: &pid)
    }
}

/// cl_spawn with Swift's strings.
enum SpawnOrder {
    static func spawn(
        _ arguments: [String], environment: [String: String], input: Int32, output: Int32, errors: Int32, pid: inout pid_t
    ) -> Int32 {
        withCStrings(arguments) { arguments in
            withCStrings(environment.map { "\($0.key)=\($0.value)" }.sorted()) { environment in
                var order = cl_spawn_order(
                    path: arguments[0], arguments: arguments, environment: environment, input: input, output: output,
                    errors: errors)
                return cl_spawn(&order, &pid)
            }
        }
    }

    /// A NULL-terminated array as execve(2) wants it.
    static func withCStrings<Value>(
        _ texts: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Value
    ) -> Value {
        var pointers: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        return pointers.withUnsafeBufferPointer { buffer in
            // Never empty: the end mark is in it.
            guard let base = buffer.baseAddress else { preconditionFailure("an array with an end mark has a base") }
            return body(base)
        }
    }
}
