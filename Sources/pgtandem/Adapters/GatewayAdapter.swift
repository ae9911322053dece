import Logging
import TandemConfiguration
import TandemCore
import TandemLinux
import TandemSystem

/// Whether this host's gateway answers: a check of our own network, never a proof of anything about the other host (4.3).
final class GatewayAdapter: Sendable {
    private let stopping: Bell
    private let ended: Bell

    /// Between two questions.
    private static let pause = Duration.seconds(1)
    /// Up to three questions go out in this time; a gateway on the segment answers the first one within a millisecond.
    private static let patience = Duration.milliseconds(600)
    /// A single silence may be a lost frame, or a gateway that is busy.
    private static let silencesThatCount = 2

    /// - Parameter onChange: in a thread of its own: once at the beginning, then at each change.
    init?(_ configuration: Configuration, log: Logger, onChange: @escaping @Sendable (Bool) -> Void) throws {
        guard let gateway = configuration.gateway.flatMap({ TandemLinux.IPAddress($0.description) }) else { return nil }
        let interface = configuration.virtualAddresses.interface
        stopping = try Bell()
        ended = try Bell()
        let (stopping, ended) = (self.stopping, self.ended)
        try OwnThread.start("gateway", isPatient: true) {
            var probe = NeighbourProbe(gateway, interface: interface)
            var told: Bool?
            var silences = 0
            repeat {
                do {
                    let answers = try probe.answers(within: Self.patience)
                    silences = answers ? 0 : silences + 1
                    if answers || silences >= Self.silencesThatCount, told != answers {
                        if told != nil || !answers {
                            log.info("gateway", metadata: ["address": "\(gateway)", "answers": "\(answers)"])
                        }
                        told = answers
                        onChange(answers)
                    }
                } catch {
                    // Not knowing is neither: the core goes on with what it was told last.
                    log.warning("the gateway could not be asked", metadata: ["address": "\(gateway)", "reason": "\(error)"])
                }
            } while !stopping.wait(upTo: Self.pause)
            ended.ring()
        }
    }

    func stop() {
        stopping.ring()
        ended.wait(upTo: .seconds(2))
    }
}
