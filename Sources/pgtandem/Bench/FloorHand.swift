import Glibc
import TandemLab
import TandemLinux
import TandemPostgres
import TandemSystem

/// Does single steps of the floor's script inside a host of the lab, one line of its orders each. It is there before the clock
/// runs, with its session to PostgreSQL open, so that no start of a process is measured.
struct FloorHand {
    /// FIFOs: orders come in, answers go out.
    let orders: String
    let answers: String

    /// Ends with its host.
    func run() throws {
        // Open for both directions: neither waits for the other side, and neither sees an end.
        let input = Descriptor(open(orders, O_RDWR | O_CLOEXEC))
        let output = Descriptor(open(answers, O_RDWR | O_CLOEXEC))
        guard input.number >= 0, output.number >= 0 else { throw SystemError.last("open \(orders) and \(answers)") }
        let table = try AddressTable(interface: "eth0")
        var session: Session?
        var lines = FifoLines(input)
        while let line = try lines.next(upTo: .seconds(86400)) {
            do {
                try obey(line.split(separator: " ").map(String.init), table, &session)
                Terminal.write(output.number, "ok\n")
            } catch {
                let told = "\(error)".split(separator: "\n").joined(separator: " ")
                Terminal.write(output.number, "error \(told)\n")
            }
        }
    }

    private func obey(_ words: [String], _ table: AddressTable, _ session: inout Session?) throws {
        switch (words.first, words.count) {
        case ("connect", 1):
            let target = SessionTarget(host: "/var/run/postgresql", port: 5432, user: "postgres", database: "postgres")
            let opened = try Session(to: target, deadline: .seconds(5))
            _ = try opened.query(prepared: "recovery", Self.recovery, deadline: .seconds(5))
            session = opened
        case ("kill", 1): try kill()
        case ("stop", 1): try stop()
        case ("promote", 1): try promote(session)
        case ("drop", 2): try table.remove(address(words[1]))
        case ("take", 2):
            let address = try address(words[1])
            try table.add(address)
            try Announcement.send(address.address, interface: "eth0")
            try repeatAnnouncement(address.address)
        default: throw CommandFailure.failed("unknown order \(words.joined(separator: " "))")
        }
    }

    private static let recovery = "select pg_catalog.pg_is_in_recovery()"

    private func processes() -> [Int32] { ProcessTable.processes(ofDirectory: LabPostgres.debianDataDirectory) }

    private func kill() throws {
        try wait("every process is gone") {
            let left = processes()
            for pid in left { ProcessTable.signal(pid, SIGKILL) }
            return left.isEmpty
        }
    }

    /// A fast shutdown.
    private func stop() throws {
        let path = LabPostgres.debianDataDirectory + "/postmaster.pid"
        let first = try DurableFile.read(path).map { String(decoding: $0, as: UTF8.self) }?.split(separator: "\n").first
        guard let pid = first.flatMap({ Int32($0) }), ProcessTable.signal(pid, SIGINT) else {
            throw CommandFailure.failed("\(path) names no server")
        }
        try wait("every process is gone") { processes().isEmpty }
    }

    private func promote(_ session: Session?) throws {
        guard let session else { throw CommandFailure.failed("there is no session") }
        // Without waiting: PostgreSQL's own wait looks every 100 ms only.
        _ = try session.query("select pg_catalog.pg_promote(false)", deadline: .seconds(5))
        try wait("recovery has ended") {
            try !session.query(prepared: "recovery", Self.recovery, deadline: .seconds(5)).isTrue
        }
    }

    /// As every announcement is: one may get lost on a busy machine, and the client would find out after ten seconds.
    private func repeatAnnouncement(_ address: IPAddress) throws {
        try OwnThread.start("announce") {
            for pause in [100, 200, 700] {
                _ = SystemClock.wait(upTo: .milliseconds(pause), step: .milliseconds(pause)) { false }
                do throws(SystemError) { try Announcement.send(address, interface: "eth0") } catch {
                    Terminal.complain("\(error)")
                }
            }
        }
    }

    private func wait(_ what: String, _ fact: () throws -> Bool) throws {
        guard try SystemClock.wait(upTo: .seconds(20), step: .milliseconds(1), until: fact) else {
            throw CommandFailure.failed("not within 20 s: \(what)")
        }
    }

    private func address(_ text: String) throws -> VirtualAddress {
        guard let address = VirtualAddress(text) else { throw CommandFailure.failed("`\(text)` is no address") }
        return address
    }
}

/// The bench's end of a hand.
final class FloorReach {
    let host: LabHost
    private let output: Descriptor
    private var lines: FifoLines
    /// Its standard input closes with this process, and the host ends it at the latest.
    private let process: LabProcess

    /// Starts the hand on a running host.
    init(_ host: LabHost) throws {
        self.host = host
        let (orders, answers) = ("/var/lib/pgtandem/hand-orders", "/var/lib/pgtandem/hand-answers")
        func fifo(_ path: String) throws -> Descriptor {
            let place = host.diskPath(of: path)
            guard mkfifo(place, 0o600) == 0 else { throw SystemError.last("make \(place)") }
            let number = open(place, O_RDWR | O_CLOEXEC)
            guard number >= 0 else { throw SystemError.last("open \(place)") }
            return Descriptor(number)
        }
        output = try fifo(orders)
        lines = FifoLines(try fifo(answers))
        process = try host.spawn(
            [LabHost.programPath, "bench-hand", "--orders", orders, "--answers", answers],
            outputPath: host.diskPath(of: "/var/log/postgresql/hand.log"))
    }

    /// Returns when all steps are done.
    /// - Returns: when each of them was (CLOCK_BOOTTIME, ns).
    @discardableResult
    func perform(_ steps: [String]) throws -> [Int64] {
        Terminal.write(output.number, steps.map { $0 + "\n" }.joined())
        return try steps.map { step in
            let answer = try lines.next(upTo: .seconds(30))
            guard answer == "ok" else {
                let happened = answer ?? "no answer within 30 s"
                throw CommandFailure.failed("the floor's script could not \(step) on \(host.name): \(happened)")
            }
            return SystemClock.now()
        }
    }
}

/// Whole lines from a FIFO.
struct FifoLines {
    private let descriptor: Descriptor
    private var buffered: [UInt8] = []

    init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    /// Nil: none came in time.
    mutating func next(upTo patience: Duration) throws -> String? {
        let end = SystemClock.after(patience)
        while true {
            if let newline = buffered.firstIndex(of: UInt8(ascii: "\n")) {
                defer { buffered.removeFirst(newline + 1) }
                return String(decoding: buffered[..<newline], as: UTF8.self)
            }
            guard Poll.readable([descriptor.number], upTo: .nanoseconds(max(0, end - SystemClock.now())))[0] else { return nil }
            var piece = [UInt8](repeating: 0, count: 4096)
            let count = read(descriptor.number, &piece, piece.count)
            guard count > 0 || errno == EINTR else { throw SystemError.last("read orders or answers") }
            if count > 0 { buffered += piece.prefix(count) }
        }
    }
}
