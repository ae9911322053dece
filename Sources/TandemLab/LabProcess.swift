import CLinux
import Glibc
import Synchronization
import TandemSystem

/// A long-running program that the lab started and will end: own process group, output in a file, and a pipe as standard
/// input that is closed when the lab's process dies, however that happens.
public final class LabProcess: Sendable {
    /// As this machine sees it (for a program inside a host: the process that entered the host and waits there).
    public let pid: Int32
    private let input: Mutex<Descriptor?>
    private let fate: Fate

    /// - Parameter outputPath: appended to; both streams.
    init(_ arguments: [String], environment: [String: String], outputPath: String) throws(LabError) {
        let output = open(outputPath, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard output >= 0 else { throw LabError(SystemError.last("open \(outputPath)")) }
        let log = Descriptor(output)
        let pipe = try LabPipe.make()
        var pid: pid_t = 0
        let code = SpawnOrder.spawn(
            arguments, environment: environment, input: pipe.reading.number, output: log.number, errors: log.number,
            pid: &pid)
        guard code == 0 else { throw LabError(SystemError(attempted: "start \(arguments[0])", code: code)) }
        self.pid = pid
        input = Mutex(pipe.writing)
        let fate = Fate(pid: pid)
        self.fate = fate
        do throws(SystemError) {
            // Nobody may ask for it again; and as a zombie it would keep Swift Testing from seeing that other children have ended.
            try OwnThread.start("reap \(pid)") { fate.await() }
        } catch {
            // No thread to be had: whoever asks how it ended takes it away.
        }
    }

    /// One line on its standard input. Without effect when it has ended.
    func send(_ line: String) {
        let bytes = Array("\(line)\n".utf8)
        input.withLock { input in
            guard let input else { return }
            _ = cl_write_quietly(input.number, bytes, bytes.count)
        }
    }

    /// How it ended; nil: it runs.
    public func ended() -> ToolResult.Ending? { fate.reap() }

    /// Nil: it still runs after that time.
    public func wait(upTo patience: Duration) -> ToolResult.Ending? {
        guard SystemClock.wait(upTo: patience, until: { ended() != nil }) else { return nil }
        return ended()
    }

    /// To the whole group; without effect when it has ended.
    public func signal(_ number: Int32) {
        fate.whileItIsOurs { _ = kill(-pid, number) }
    }

    /// Closes its standard input, then SIGTERM, then SIGKILL, each with a share of the time.
    @discardableResult
    public func stop(within patience: Duration = .seconds(4)) -> ToolResult.Ending? {
        input.withLock { $0 = nil }
        if let ending = wait(upTo: patience / 2) { return ending }
        signal(SIGTERM)
        if let ending = wait(upTo: patience / 2) { return ending }
        signal(SIGKILL)
        return wait(upTo: .seconds(1))
    }
}

/// How a child ended. Its number is its own until it is reaped, which is why that and signals exclude each other.
private final class Fate: Sendable {
    private let pid: pid_t
    private let ending = Mutex<ToolResult.Ending?>(nil)

    init(pid: pid_t) { self.pid = pid }

    /// In a thread of its own.
    func await() {
        var news = siginfo_t()
        while waitid(P_PID, id_t(pid), &news, WEXITED | WNOWAIT) != 0, errno == EINTR {}
        reap()
    }

    @discardableResult func reap() -> ToolResult.Ending? {
        ending.withLock { ending in
            if ending == nil {
                var status: Int32 = 0
                if waitpid(pid, &status, WNOHANG) == pid {
                    ending = cl_exited(status) != 0 ? .exited(cl_exit_code(status)) : .signalled(cl_ending_signal(status))
                }
            }
            return ending
        }
    }

    func whileItIsOurs(_ body: () -> Void) { ending.withLock { if $0 == nil { body() } } }
}

enum LabPipe {
    /// Both ends close-on-exec.
    static func make() throws(LabError) -> (reading: Descriptor, writing: Descriptor) {
        var pair: [Int32] = [-1, -1]
        guard cl_pipe(&pair) == 0 else { throw LabError(SystemError.last("make a pipe")) }
        return (Descriptor(pair[0]), Descriptor(pair[1]))
    }
}
