import CLinux
import Foundation
import Glibc
import TandemCore
import TandemNetwork
import TandemSystem
import TandemWire
import TandemWitness

/// One witness under the load of many pairs: what it costs, how fast it answers, and what its restart costs the pairs.
///
/// Real certificates, real TLS, real records. The pairs live in this process and cost the machine as much as the witness does, so its
/// numbers are those of a machine that has other work too.
struct WitnessBench {
    var pairs: Int
    var seconds: Int
    var heartbeat: Duration
    var lease: Duration
    var directory: String
    var say: @Sendable (String) -> Void

    func run() throws -> WitnessBenchReport {
        let place = "\(directory)/pgtandem-witness-bench-\(getpid())"
        try FileManager.default.createDirectory(atPath: "\(place)/tls", withIntermediateDirectories: true)
        defer {
            do { try FileManager.default.removeItem(atPath: place) } catch { say("left behind: \(place): \(error)") }
        }
        say("certificates for \(pairs) clusters")
        let names = (0..<pairs).map { "c\($0)" }
        try makeCertificates(names, place)
        let port = try Self.freePort()
        var process = try start(place, port)
        defer { Self.end(process, SIGKILL) }
        let (notes, threads) = (WitnessBenchNotes(), LinkThreads(count: 1))
        let all = names.map { WitnessBenchPair($0, lease: lease, notes: notes) }
        defer { for pair in all { pair.stop() } }
        say("every pair comes for the first time")
        let began = SystemClock.now()
        let address = LinkAddress(host: "127.0.0.1", port: port)
        for (name, pair) in zip(names, all) { try pair.start(certificates: "\(place)/\(name)", witness: address, on: threads) }
        let clock = try Beats(all, every: heartbeat)
        defer { clock.stop() }
        try wait(for: all, since: began)
        // A pair begins anew when its second node comes, which may be after its first promise.
        try wait(for: all, since: SystemClock.now())
        say("\(seconds) s of heartbeats")
        _ = notes.take()
        let (cpu, from) = (try ProcessCost.cpuSeconds(process.processIdentifier), SystemClock.now())
        // The measured time itself; nothing is synchronised by it.
        _ = SystemClock.wait(upTo: .seconds(seconds), step: .milliseconds(100)) { !process.isRunning }
        let (calm, spent) = (notes.take(), try ProcessCost.cpuSeconds(process.processIdentifier) - cpu)
        let length = Double(SystemClock.now() - from) / 1e9
        let memory = try ProcessCost.memory(process.processIdentifier)
        say("the witness is killed, and started 100 ms later")
        let killed = SystemClock.now()
        Self.end(process, SIGKILL)
        _ = SystemClock.wait(upTo: .milliseconds(100)) { false }
        process = try start(place, port)
        let serves = SystemClock.now()
        try wait(for: all, since: serves)
        let back = SystemClock.now()
        let restart = notes.take()
        return WitnessBenchReport(
            pairs: pairs, seconds: length, cpu_percent: spent / length * 100, private_kb: memory.own,
            resident_kb: memory.resident,
            heartbeats: calm.sent, answers: .init(calm.answers), longest_gap_ms: WitnessBenchReport.milliseconds(calm.gaps.max()),
            restart_down_ms: WitnessBenchReport.milliseconds(serves - killed),
            restart_all_back_ms: WitnessBenchReport.milliseconds(back - serves), restart_gaps: .init(restart.gaps),
            lease_ms: Double(lease.milliseconds))
    }

    private func wait(for all: [WitnessBenchPair], since moment: Int64) throws {
        let came = SystemClock.wait(upTo: .seconds(120), step: .milliseconds(20)) {
            all.allSatisfy { $0.isWhole && $0.isSupported(since: moment) }
        }
        guard came else {
            let missing = all.count { !$0.isSupported(since: moment) }
            throw CommandFailure.failed("\(missing) of \(pairs) pairs have no promise of the witness after two minutes")
        }
    }

    private func makeCertificates(_ names: [String], _ place: String) throws {
        for name in names {
            _ = try TLSAuthority.create(cluster: name, directory: "\(place)/\(name)")
            try FileManager.default.createSymbolicLink(
                atPath: "\(place)/tls/\(name)", withDestinationPath: "\(place)/\(name)/witness")
        }
    }

    // MARK: the witness's process

    private func start(_ place: String, _ port: Int) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments = [
            "witness", "--listen", "127.0.0.1:\(port)", "--state", "\(place)/state", "--tls", "\(place)/tls", "--log-level",
            "warning",
        ]
        try process.run()
        let address = LinkAddress(host: "127.0.0.1", port: port)
        guard SystemClock.wait(upTo: .seconds(60), until: { Self.answers(address) || !process.isRunning }), process.isRunning
        else {
            throw CommandFailure.failed("the witness did not begin to listen")
        }
        return process
    }

    private static func end(_ process: Process, _ number: Int32) {
        guard process.isRunning else { return }
        kill(process.processIdentifier, number)
        process.waitUntilExit()
    }

    private static func answers(_ address: LinkAddress) -> Bool {
        do {
            return try withSocket { $0.connect(address.port) }
        } catch {
            return false
        }
    }

    private static func freePort() throws -> Int {
        try withSocket { socket in
            guard socket.bind(0) else { throw SystemError.last("find a free port") }
            return try socket.port()
        }
    }

    private static func withSocket<Value>(_ work: (LoopbackSocket) throws -> Value) throws -> Value {
        try work(try LoopbackSocket())
    }
}

/// A plain TCP socket on this machine.
private struct LoopbackSocket {
    private let descriptor: Descriptor

    init() throws(SystemError) {
        let number = Glibc.socket(AF_INET, cl_sock_stream | cl_sock_cloexec, 0)
        guard number >= 0 else { throw SystemError.last("make a socket") }
        descriptor = Descriptor(number)
    }

    func connect(_ port: Int) -> Bool { withAddress(port) { Glibc.connect(descriptor.number, $0, $1) == 0 } }

    func bind(_ port: Int) -> Bool { withAddress(port) { Glibc.bind(descriptor.number, $0, $1) == 0 } }

    func port() throws(SystemError) -> Int {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor.number, $0, &size) }
        }
        guard code == 0 else { throw SystemError.last("ask a socket for its port") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    private func withAddress(_ port: Int, _ work: (UnsafePointer<sockaddr>, socklen_t) -> Bool) -> Bool {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(clamping: port)).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { work($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }
}

/// Heartbeats of many pairs, spread evenly over time.
private final class Beats: Sendable {
    private let isOver: Bell

    init(_ pairs: [WitnessBenchPair], every heartbeat: Duration) throws {
        let isOver = try Bell()
        self.isOver = isOver
        try OwnThread.start("beats") {
            let began = SystemClock.now()
            var next = 0
            while !isOver.wait(upTo: .milliseconds(1)) {
                let passed = SystemClock.now() - began
                while Int64(next) * heartbeat.nanoseconds / Int64(pairs.count) <= passed {
                    do { try pairs[next % pairs.count].beat() } catch { Terminal.complain("\(error)") }
                    next += 1
                }
            }
        }
    }

    func stop() { isOver.ring() }
}
