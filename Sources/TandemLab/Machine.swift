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
    private let talk = Mutex(Talk())
    private let gone = Mutex(false)

    /// Several threads may give orders at once; each waits for the answer with its own number.
    private struct Talk {
        var buffer: [UInt8] = []
        var isReady = false
        /// What process 1 said instead of "ready".
        var complaint: String?
        var hasEnded = false
        var lastOrder = 0
        var expected: Set<Int> = []
        var answers: [Int: String] = [:]
    }

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
        let realTime = ControlGroup.openRealTimeMembers()
        var pid: pid_t = -1
        var stage: UnsafePointer<CChar>?
        let code = SpawnOrder.withCStrings([binary, "lab-init", "--spec", specPath]) { arguments in
            SpawnOrder.withCStrings(Machine.environment.map { "\($0.key)=\($0.value)" }.sorted()) { environment in
                SpawnOrder.withCStrings(clocks.map { [$0] } ?? []) { texts in
                    var order = clab_machine(
                        path: arguments[0], arguments: arguments, environment: environment, input: down.reading.number,
                        output: up.writing.number, errors: errors.number, network: namespace.number,
                        cgroup: members?.number ?? -1, realtime: realTime?.number ?? -1, clocks: texts[0])
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
        let word = try answer(upTo: patience, about: "boot") { talk in
            talk.isReady ? "ready" : talk.complaint
        }
        guard word == "ready" else {
            throw LabError(attempted: "boot a host", happened: "process 1 said \(word)")
        }
    }

    /// One order, one answer (without its "ok").
    func order(_ order: String, upTo patience: Duration = .seconds(5)) throws(LabError) -> String {
        let number: Int? = talk.withLock { talk in
            talk.lastOrder += 1
            let bytes = Array("\(talk.lastOrder) \(order)\n".utf8)
            guard cl_write_quietly(orders.number, bytes, bytes.count) == bytes.count else { return nil }
            talk.expected.insert(talk.lastOrder)
            return talk.lastOrder
        }
        guard let number else {
            throw LabError(attempted: "order a host to \(order)", happened: "it is off")
        }
        defer {
            // An answer that comes after its deadline is nobody's.
            talk.withLock { talk in
                talk.expected.remove(number)
                talk.answers[number] = nil
            }
        }
        let answer = try answer(upTo: patience, about: order) { $0.answers[number] }
        guard answer.hasPrefix("ok") else {
            throw LabError(attempted: "order a host to \(order)", happened: answer)
        }
        return String(answer.dropFirst(3))
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

    private func answer(
        upTo patience: Duration, about: String, _ find: (Talk) -> String?
    ) throws(LabError) -> String {
        let end = SystemClock.after(patience)
        while true {
            let (found, hasEnded) = talk.withLock { talk in
                receive(&talk)
                return (find(talk), talk.hasEnded)
            }
            if let found { return found }
            let attempted = "get an answer of a host (\(about))"
            guard !hasEnded else { throw LabError(attempted: attempted, happened: "it went off") }
            let left = end - SystemClock.now()
            guard left > 0 else {
                throw LabError(attempted: attempted, happened: "none within \(patience)")
            }
            // Not for longer: another thread may have taken this one's answer off the pipe.
            _ = Poll.readable([answers.number], upTo: min(.nanoseconds(left), .milliseconds(5)))
        }
    }

    /// Takes what is there, without waiting.
    private func receive(_ talk: inout Talk) {
        while !talk.hasEnded, Poll.readable([answers.number], upTo: .zero)[0] {
            var piece = [UInt8](repeating: 0, count: 4096)
            let count = read(answers.number, &piece, piece.count)
            if count > 0 { talk.buffer += piece.prefix(count) }
            if count == 0 || (count < 0 && errno != EINTR) { talk.hasEnded = true }
        }
        while let stop = talk.buffer.firstIndex(of: UInt8(ascii: "\n")) {
            let line = String(decoding: talk.buffer[..<stop], as: UTF8.self)
            talk.buffer.removeSubrange(...stop)
            let words = line.split(separator: " ", maxSplits: 1)
            if let number = words.first.flatMap({ Int($0) }) {
                if talk.expected.contains(number) {
                    talk.answers[number] = words.count > 1 ? String(words[1]) : ""
                }
            } else if line == "ready" {
                talk.isReady = true
            } else {
                talk.complaint = line
            }
        }
    }
}
