import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

/// How often an instance is looked at that answers.
@Suite struct WatchPauseTests {
    private static let patience: Watch.Patience = {
        var patience = Watch.Patience()
        (patience.interval, patience.busyInterval, patience.calmInterval) = (
            .milliseconds(100), .milliseconds(200), .milliseconds(400)
        )
        return patience
    }()

    private static func server(flushed: UInt64?, received: UInt64? = nil, replayed: UInt64? = nil) -> LocalPostgres {
        var server = LocalPostgres(condition: .running(isInRecovery: false))
        server.flushed = flushed.map { LSN($0) }
        server.received = received.map { LSN($0) }
        server.replayed = replayed.map { LSN($0) }
        return server
    }

    @Test func aBusyServerIsLookedAtMoreOftenThanAQuietOne() {
        var state = WatchState()
        let now = SystemClock.now()
        state.delivered = Self.server(flushed: 0)
        #expect(state.pause(now, Self.patience) == 400_000_000)
        state.isBusy = true
        #expect(state.pause(now, Self.patience) == 200_000_000)
        state.wasActedOn()
        #expect(state.pause(now, Self.patience) == 100_000_000)
    }

    @Test func growthIsTheWayOfTheFastestPosition() {
        let before = Self.server(flushed: 100, received: 1000, replayed: 50)
        #expect(Self.server(flushed: 100, received: 1000, replayed: 50).growth(since: before) == 0)
        #expect(Self.server(flushed: 150, received: 1000, replayed: 450).growth(since: before) == 400)
        #expect(Self.server(flushed: nil, received: 900).growth(since: before) == 100, "what is not known has no way")
    }
}
