import CLinux
import Glibc
import Synchronization
import TandemSystem

/// The client of the lab, a process of its own in the client's network: writers and readers, each a thread with one
/// connection. It ends when its standard input is closed (or says `stop`), after the running statements.
public enum LoadClient {
    /// Orders on standard input: `stop`, `writes PER_SECOND` (0: no writes; `writes max`: as fast as possible).
    /// - Returns: the exit status.
    public static func run(specPath: String) throws(LabError) -> Int32 {
        let spec = try LoadSpec.read(specPath)
        let recorder = try LoadRecorder(spec)
        let control = LoadControl(writesPerSecond: spec.writesPerSecond ?? .infinity)
        let workers: [any LoadWorker] =
            (0..<spec.writers).map { LoadWriter(number: spec.firstWriter + $0, index: $0, spec: spec, control: control) }
            + (0..<spec.readers).map { LoadReader(number: $0 + 1, index: $0, spec: spec, control: control) }
        let left = Mutex(workers.count)
        for worker in workers {
            try asLabError { () throws(SystemError) in
                try OwnThread.start("load") {
                    worker.work(recorder)
                    left.withLock { $0 -= 1 }
                }
            }
        }
        while control.isRunning {
            if Poll.readable([0], upTo: .milliseconds(50))[0] { control.readOrders() }
            try recorder.flush()
        }
        // Longer than any statement may take.
        let patience = Duration.milliseconds(max(spec.commitDeadlineMilliseconds, spec.readDeadlineMilliseconds) + 1000)
        _ = SystemClock.wait(upTo: patience) { left.withLock { $0 } == 0 }
        try recorder.flush()
        return 0
    }
}

/// One thread's work.
protocol LoadWorker: Sendable {
    func work(_ recorder: LoadRecorder)
}

/// What all threads obey.
final class LoadControl: Sendable {
    private struct State {
        var running = true
        var writesPerSecond: Double
        var partialLine = ""
    }

    private let state: Mutex<State>

    init(writesPerSecond: Double) { state = Mutex(State(writesPerSecond: writesPerSecond)) }

    var isRunning: Bool { state.withLock { $0.running } }
    /// Infinity: no limit; 0: none.
    var writesPerSecond: Double { state.withLock { $0.writesPerSecond } }

    func readOrders() {
        var piece = [UInt8](repeating: 0, count: 256)
        let count = read(0, &piece, piece.count)
        state.withLock { state in
            guard count > 0 else {
                state.running = false
                return
            }
            state.partialLine += String(decoding: piece.prefix(count), as: UTF8.self)
            var lines = state.partialLine.split(separator: "\n", omittingEmptySubsequences: false)
            state.partialLine = String(lines.popLast() ?? "")
            for words in lines.map({ $0.split(separator: " ") }) {
                if words.first == "stop" { state.running = false }
                if words.first == "writes", words.count == 2 {
                    state.writesPerSecond = words[1] == "max" ? .infinity : Double(words[1]) ?? state.writesPerSecond
                }
            }
        }
    }

    /// Waits until `due` or the end. Returns when the next one is due: never in the past, so that no burst makes up for
    /// what an outage kept from happening.
    func pace(due: Int64, perSecond: Double) -> Int64 {
        guard perSecond.isFinite else { return 0 }
        _ = SystemClock.wait(upTo: .nanoseconds(max(0, due - SystemClock.now())), step: .milliseconds(5)) { !isRunning }
        let now = SystemClock.now()
        guard perSecond > 0 else { return now + 20_000_000 }
        return max(due, now) + Int64(1_000_000_000 / perSecond)
    }
}
