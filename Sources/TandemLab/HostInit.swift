import CLinux
import Glibc
import TandemSystem

/// Process 1 of a machine: puts the file systems in place, runs the services as a service manager would, reaps every orphan,
/// and obeys the lab through its standard input. It ends, and with it the whole machine, when that is closed: nothing survives
/// the death of the program that made the lab.
public enum HostInit {
    /// Orders on standard input, one a line, each with a number of its own and the services that it concerns (`agent`, or
    /// `agent,guardian`): `7 start agent`, `stop agent MILLISECONDS`, `kill agent,guardian stay|again all|bare`,
    /// `signal agent NUMBER`, `status agent`. Each is answered by one line on standard output, `7 ok …` or `7 error …`, not
    /// always in the order of the questions. The first line is `ready`.
    /// - Returns: the exit status, when the input ended.
    /// - Throws: what could not be put in place; nothing was started then.
    public static func run(specPath: String) throws(LabError) -> Int32 {
        guard getpid() == 1 else {
            throw LabError(
                attempted: "be the first process of a host of the lab", happened: "this is process \(getpid())",
                advice: "Leave this command to the lab.")
        }
        let spec = try MachineSpec.read(specPath)
        // Before the mounts, which may hide the logs.
        var services: [(HostService, MachineService)] = []
        for service in spec.services {
            let log = open(service.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
            guard log >= 0 else { throw LabError(SystemError.last("open \(service.log)")) }
            services.append((service.service, MachineService(service, log: Descriptor(log))))
        }
        guard chdir("/") == 0 else { throw LabError(SystemError.last("go to /")) }
        // As a service manager leaves it: what the lab's own caller had set must not decide the modes inside.
        umask(0o022)
        var mounts = MachineMounts(spec: spec)
        try mounts.prepare()
        guard sethostname(spec.hostname, spec.hostname.utf8.count) == 0 else {
            throw LabError(SystemError.last("set the host's name"))
        }
        let signals = clab_take_signals()
        guard signals >= 0 else { throw LabError(SystemError.last("make a signalfd")) }
        var machine = MachineLoop(services: services, signals: Descriptor(signals))
        machine.startAtBoot()
        machine.say("ready")
        machine.run()
        return 0
    }
}

/// The loop of process 1: orders, ended children, and the moments to start a service again.
struct MachineLoop {
    private var services: [(name: HostService, service: MachineService)]
    private let signals: Descriptor
    private var partialLine: [UInt8] = []
    /// Orders that concern several services are answered when each has done its part.
    private var partly: [Int: (left: Int, texts: [String])] = [:]

    init(services: [(HostService, MachineService)], signals: Descriptor) {
        self.services = services.map { (name: $0.0, service: $0.1) }
        self.signals = signals
    }

    mutating func startAtBoot() {
        for index in services.indices { services[index].service.startAtBoot() }
    }

    mutating func run() {
        while true {
            let next = services.compactMap { $0.service.untilNextDeadline() }.min()
            let ready = Poll.readable([0, signals.number], upTo: next)
            if ready[1] {
                clab_drain_signals(signals.number)
                reap()
            }
            for index in services.indices { services[index].service.passDeadlines() }
            let goesOn = !ready[0] || readOrders()
            deliver()
            guard goesOn else { return }
        }
    }

    func say(_ line: String) {
        let bytes = Array("\(line)\n".utf8)
        // The lab is gone if this fails: the next read finds the end of the input.
        _ = cl_write_quietly(1, bytes, bytes.count)
    }

    private mutating func reap() {
        var status: Int32 = 0
        while true {
            let pid = waitpid(-1, &status, WNOHANG)
            guard pid > 0 else { return }
            for index in services.indices { services[index].service.ended(pid: pid, status: status) }
        }
    }

    private mutating func deliver() {
        for index in services.indices {
            for (order, text) in services[index].service.takeAnswers() {
                guard var part = partly[order] else { continue }
                part.left -= 1
                part.texts.append(text)
                partly[order] = part.left == 0 ? nil : part
                guard part.left == 0 else { continue }
                let errors = part.texts.filter { !$0.hasPrefix("ok") }
                say(
                    "\(order) \(errors.first ?? "ok " + part.texts.map { $0.dropFirst(3) }.joined(separator: " "))"
                )
            }
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
            obey(line.split(separator: " ").map(String.init))
        }
        return true
    }

    /// All services of one order get their part of it before anything else happens: nobody is started again in between.
    private mutating func obey(_ words: [String]) {
        // Whoever writes no number cannot be answered.
        guard let order = words.first.flatMap({ Int($0) }) else { return }
        let names = words.count > 2 ? words[2].split(separator: ",").map(String.init) : []
        let concerned = services.indices.filter { names.contains(services[$0].name.rawValue) }
        guard !names.isEmpty, concerned.count == names.count else {
            return say("\(order) error this host has no service \(names.joined(separator: ","))")
        }
        partly[order] = (concerned.count, [])
        let more = words.dropFirst(3).map { $0 }
        for index in concerned {
            switch (words[1], more.first.flatMap { Int32($0) }) {
            case ("start", _): services[index].service.start(order: order)
            case ("stop", .some(let milliseconds)):
                services[index].service.stop(order: order, within: .milliseconds(Int64(milliseconds)))
            case ("kill", _):
                services[index].service.kill(
                    order: order, startsAgain: more.contains("again"), skipsLastAct: more.contains("bare"))
            case ("signal", .some(let number)): services[index].service.signal(order: order, number)
            case ("status", _): services[index].service.status(order: order)
            default:
                partly[order] = nil
                return say("\(order) error unknown order \(words.joined(separator: " "))")
            }
        }
    }
}
