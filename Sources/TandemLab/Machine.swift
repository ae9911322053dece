import CLinux
import Glibc
import Synchronization
import TandemSystem

/// A running machine seen from outside: process 1 of its namespaces and the pipes to it.
final class Machine: Sendable {
    /// Process 1, as this machine numbers it.
    let pid: Int32
    /// The link in /proc that all processes of the machine share and no other has.
    let pidNamespace: String
    private let orders: Descriptor
    private let answers: Descriptor
    private let talk = Mutex<[UInt8]>([])
    private let gone = Mutex(false)

    /// - Parameter log: where process 1 writes its own complaints.
    init(
        binary: String, specPath: String, network: NetworkNamespace, group: ControlGroup?, clocks: String?, log: String
    ) throws(LabError) {
        let down = try LabPipe.make()
        let up = try LabPipe.make()
        let complaints = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard complaints >= 0 else { throw LabError(SystemError.last("open \(log)")) }
        let errors = Descriptor(complaints)
        let namespace = try network.open()
        let members = group?.openMembers()
        var pid: pid_t = -1
        var stage: UnsafePointer<CChar>?
        let code = SpawnOrder.withCStrings([binary, "lab-init", "--spec", specPath]) { arguments in
            SpawnOrder.withCStrings(Machine.environment.map { "\($0.key)=\($0.value)" }.sorted()) { environment in
                SpawnOrder.withCStrings(clocks.map { [$0] } ?? []) { texts in
                    var order = clab_machine(
                        path: arguments[0], arguments: arguments, environment: environment, input: down.reading.number,
                        output: up.writing.number, errors: errors.number, network: namespace.number,
                        cgroup: members?.number ?? -1, clocks: texts[0])
                    return clab_start_machine(&order, &pid, &stage)
                }
            }
        }
        guard code == 0 else {
            let step = stage.map { String(cString: $0) } ?? "start"
            throw LabError(
                attempted: "boot a host (\(step))", happened: SystemError(attempted: step, code: code).reason,
                advice: code == EPERM ? "Run the lab as root." : nil)
        }
        self.pid = pid
        pidNamespace = Text.link("/proc/\(pid)/ns/pid") ?? ""
        orders = down.writing
        answers = up.reading
    }

    static let environment = [
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
        // A crash reporter that outlives a crashed program would hold its pipes open.
        "SWIFT_BACKTRACE": "enable=no",
    ]

    /// Waits for the first word of process 1.
    func awaitReady(upTo patience: Duration) throws(LabError) {
        let line = try talk.withLock { (buffer: inout [UInt8]) throws(LabError) -> String in
            try self.line(&buffer, upTo: patience, about: "boot")
        }
        guard line == "ready" else {
            throw LabError(attempted: "boot a host", happened: "process 1 said \(line)")
        }
    }

    /// One order, one answer (without its "ok").
    func order(_ order: String, upTo patience: Duration = .seconds(5)) throws(LabError) -> String {
        try talk.withLock { (buffer: inout [UInt8]) throws(LabError) -> String in
            // An answer that came after its deadline must not be taken for this one's.
            while Poll.readable([answers.number], upTo: .zero)[0], receive(&buffer) {}
            buffer = []
            let bytes = Array("\(order)\n".utf8)
            guard cl_write_quietly(orders.number, bytes, bytes.count) == bytes.count else {
                throw LabError(attempted: "order a host to \(order)", happened: "it is off")
            }
            let answer = try line(&buffer, upTo: patience, about: order)
            guard answer.hasPrefix("ok") else {
                throw LabError(attempted: "order a host to \(order)", happened: answer)
            }
            return String(answer.dropFirst(3))
        }
    }

    /// True once no process of the machine is left: the kernel lets process 1 go last.
    func isGone() -> Bool {
        gone.withLock { gone in
            if !gone {
                var status: Int32 = 0
                let found = waitpid(pid, &status, WNOHANG)
                gone = found == pid || (found < 0 && errno == ECHILD)
            }
            return gone
        }
    }

    /// All of its processes, as this machine numbers them.
    func processes() -> [Int32] {
        guard !pidNamespace.isEmpty else { return [] }
        return Text.names(in: "/proc").compactMap { Int32($0) }.filter {
            Text.link("/proc/\($0)/ns/pid") == pidNamespace && ProcessTable.startTime(of: $0) != nil
        }
    }

    private func line(_ buffer: inout [UInt8], upTo patience: Duration, about: String) throws(LabError) -> String {
        let end = SystemClock.now() + patience.nanoseconds
        while true {
            if let stop = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                defer { buffer.removeSubrange(...stop) }
                return String(decoding: buffer[..<stop], as: UTF8.self)
            }
            let left = Duration.nanoseconds(max(0, end - SystemClock.now()))
            guard Poll.readable([answers.number], upTo: left)[0] else {
                throw LabError(attempted: "get an answer of a host (\(about))", happened: "none within \(patience)")
            }
            guard receive(&buffer) else {
                throw LabError(attempted: "get an answer of a host (\(about))", happened: "it went off")
            }
        }
    }

    /// False at the end of the pipe.
    private func receive(_ buffer: inout [UInt8]) -> Bool {
        var piece = [UInt8](repeating: 0, count: 4096)
        let count = read(answers.number, &piece, piece.count)
        guard count > 0 else { return count < 0 && errno == EINTR }
        buffer += piece.prefix(count)
        return true
    }
}
