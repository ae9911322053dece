import CLinux
import Glibc
import TandemSystem

/// Process 1 of a machine of the lab: puts the file systems in place, runs the agent as a service manager would, reaps
/// every orphan, and obeys the lab through its standard input. It ends, and with it the whole machine, when that is closed:
/// nothing survives the death of the program that made the lab.
public enum HostInit {
    /// Orders on standard input, one a line: `start`, `stop MILLISECONDS`, `kill`, `signal NUMBER`, `status`. Each is
    /// answered by one line on standard output: `ok …` or `error …`. The first line is `ready`.
    /// - Returns: the exit status, when the input ended.
    /// - Throws: what could not be put in place; nothing was started then.
    public static func run(specPath: String) throws(LabError) -> Int32 {
        guard getpid() == 1 else {
            throw LabError(
                attempted: "be the first process of a host of the lab", happened: "this is process \(getpid())",
                advice: "Leave this command to the lab.")
        }
        let spec = try MachineSpec.read(specPath)
        let log = open(spec.serviceLog, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard log >= 0 else { throw LabError(SystemError.last("open \(spec.serviceLog)")) }
        guard chdir("/") == 0 else { throw LabError(SystemError.last("go to /")) }
        // As a service manager leaves it: what the lab's own caller had set must not decide the modes inside.
        umask(0o022)
        try MachineMounts(spec: spec).prepare()
        guard sethostname(spec.hostname, spec.hostname.utf8.count) == 0 else {
            throw LabError(SystemError.last("set the host's name"))
        }
        let signals = clab_take_signals()
        guard signals >= 0 else { throw LabError(SystemError.last("make a signalfd")) }
        var machine = MachineLoop(
            service: MachineService(arguments: spec.service, environment: spec.environment, log: Descriptor(log)),
            signals: Descriptor(signals))
        if spec.startsService { machine.service.start() }
        machine.answer("ready")
        machine.run()
        return 0
    }
}

/// The loop of process 1: orders, ended children, and the moment to start the service again.
struct MachineLoop {
    var service: MachineService
    let signals: Descriptor
    private var partialLine: [UInt8] = []

    init(service: MachineService, signals: Descriptor) {
        self.service = service
        self.signals = signals
    }

    mutating func run() {
        while true {
            let ready = Poll.readable([0, signals.number], upTo: service.untilNextDeadline())
            if ready[1] {
                clab_drain_signals(signals.number)
                reap()
            }
            service.passDeadlines()
            guard !ready[0] || readOrders() else { return }
        }
    }

    func answer(_ line: String) {
        let bytes = Array("\(line)\n".utf8)
        // The lab is gone if this fails: the next read finds the end of the input.
        _ = cl_write_quietly(1, bytes, bytes.count)
    }

    private mutating func reap() {
        var status: Int32 = 0
        while true {
            let pid = waitpid(-1, &status, WNOHANG)
            guard pid > 0 else { return }
            if let answer = service.ended(pid: pid, status: status) { self.answer(answer) }
        }
    }

    /// False at the end of the input.
    private mutating func readOrders() -> Bool {
        var piece = [UInt8](repeating: 0, count: 4096)
        let count = read(0, &piece, piece.count)
        guard count > 0 else { return count < 0 && errno == EINTR }
        partialLine += piece.prefix(count)
        while let end = partialLine.firstIndex(of: UInt8(ascii: "\n")) {
            let line = String(decoding: partialLine[..<end], as: UTF8.self)
            partialLine.removeSubrange(...end)
            if let answer = obey(line.split(separator: " ").map(String.init)) { self.answer(answer) }
        }
        return true
    }

    /// Nil: the answer comes later.
    private mutating func obey(_ words: [String]) -> String? {
        let number = words.count > 1 ? Int32(words[1]) : nil
        switch (words.first, number) {
        case ("start", _): return service.start()
        case ("stop", .some(let milliseconds)): return service.stop(within: .milliseconds(Int64(milliseconds)))
        case ("kill", _): return service.kill()
        case ("signal", .some(let number)): return service.signal(number)
        case ("status", _): return service.status()
        default: return "error unknown order \(words.joined(separator: " "))"
        }
    }
}
