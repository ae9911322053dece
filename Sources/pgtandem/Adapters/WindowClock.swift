import TandemConfiguration
import TandemCore
import TandemRuntime
import TandemSystem

/// Tells the core when a window of the configuration opens or closes, by this host's local time: the core reads no wall clock.
final class WindowClock: Sendable {
    private let stopping: Bell

    static func now(_ configuration: Configuration) -> Event.Windows {
        let minute = WallTime.minuteOfDay(.now)
        return Event.Windows(
            rejoin: configuration.rejoin.window.isOpen(at: minute), failback: configuration.failback.window.isOpen(at: minute))
    }

    /// - Parameter onChange: in a thread of its own. nil: both windows are always open, so that there is nothing to tell.
    init?(_ configuration: Configuration, onChange: @escaping @Sendable (Event.Windows) -> Void) throws {
        guard configuration.rejoin.window != .always || configuration.failback.window != .always else { return nil }
        stopping = try Bell()
        let stopping = self.stopping
        try OwnThread.start("windows", isPatient: true) {
            var told: Event.Windows?
            repeat {
                let now = Self.now(configuration)
                if now != told { onChange(now) }
                told = now
            } while !stopping.wait(upTo: .seconds(10))
        }
    }

    func stop() { stopping.ring() }
}
