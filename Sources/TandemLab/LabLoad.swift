import Synchronization
import TandemSystem

/// The running client of a lab.
public final class LabLoad: Sendable {
    public let spec: LoadSpec
    let process: LabProcess

    init(spec: LoadSpec, process: LabProcess) {
        self.spec = spec
        self.process = process
    }

    /// At most 50 ms old; nil: the client is not at work yet.
    public func counters() -> LoadCounters? {
        // Half written now and then: the next look is better.
        for _ in 0..<3 {
            if let text = Text.read(spec.livePath), let counters = LoadCounters(line: text) { return counters }
        }
        return nil
    }

    /// Of all writers together; nil: as fast as they can; 0: none.
    public func setWritesPerSecond(_ rate: Double?) { process.send("writes \(rate.map { "\($0)" } ?? "max")") }

    /// What has been recorded up to about 50 ms ago.
    public func log() throws(LabError) -> ClientLog { try ClientLog.read(spec.logPath) }

    /// Lets the running statements end.
    /// - Throws: if the client did not end by itself: its log would lack the last moments.
    public func stop() throws(LabError) -> ClientLog {
        let patience = Duration.milliseconds(max(spec.commitDeadlineMilliseconds, spec.readDeadlineMilliseconds) + 3000)
        let ending = process.stop(within: patience * 2)
        guard ending == .exited(0) else {
            throw LabError(
                attempted: "stop the client", happened: ending.map { "it ended by \($0)" } ?? "it does not end",
                advice: "Look at \(spec.logPath) and the client's output beside it.")
        }
        return try log()
    }
}

extension Lab {
    /// Starts the client in its network. The table must be there: `LoadSpec.setup`, run on the primary.
    /// Ended by `stop()` of the load, or of the lab.
    public func startLoad(_ wish: LoadSpec = LoadSpec()) throws(LabError) -> LabLoad {
        var spec = wish
        let place = "\(folder)/client"
        try Text.makeFolder(place)
        let number = Text.names(in: place).count { $0.hasSuffix(".json") } + 1
        spec.logPath = "\(place)/load-\(number).log"
        spec.livePath = "\(place)/load-\(number).live"
        let specPath = "\(place)/load-\(number).json"
        try spec.write(to: specPath)
        let process = try LabProcess(
            [
                try Command.path("nsenter", package: "util-linux"), "--net=\(client.namespace.path)", options.binary,
                "lab-client", "--spec", specPath,
            ], environment: Machine.environment, outputPath: "\(place)/load-\(number).out")
        keep(process)
        return LabLoad(spec: spec, process: process)
    }
}
