import TandemCore
import Testing

@Suite struct WhenTheStandbyIsLost {
    @Test func itsPostgresAloneThePrimaryGoesOnAndTheAddressMoves() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.b.failing["start"] = 2
        pair.killPostgres(pair.b)
        pair.run(.milliseconds(500)) { $0.a.held.standby == .all }
        #expect(pair.a.node.role == .primaryStandby, "\(pair.transcript)")
        #expect(pair.a.held == .init(primary: .all, standby: .all))
        #expect(pair.a.settings.synchronous == nil, "commits wait for nobody")
        #expect(pair.b.ledger?.bond == .sole, "consent is durable at the standby")
        pair.run(.seconds(20)) { $0.isWhole(primary: "a") }
        #expect(pair.isWhole(primary: "a"), "\(pair.transcript)")
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
    }

    @Test func itsAgentIsStoppedInOrder() {
        let pair = Pair.whole()
        pair.feed(pair.b, .stopRequested)
        pair.run(.seconds(5)) { $0.b.exited }
        #expect(pair.b.exited)
        #expect(pair.b.postgres == .stopped)
        pair.run(.seconds(1))
        #expect(pair.a.held == .init(primary: .all, standby: .all))
        #expect(pair.a.ledger?.bond == .sole)
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
        pair.startAgent(pair.b)
        pair.run(.seconds(20)) { $0.isWhole(primary: "a") }
        #expect(pair.isWhole(primary: "a"), "\(pair.transcript)")
    }

    @Test func silentlyCommitsWaitUntilAPersonVouches() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.powerOff(pair.b)
        pair.run(.seconds(1))
        let stuck = pair.acknowledged.count
        pair.run(.seconds(5))
        #expect(pair.acknowledged.count == stuck, "S3: it may still be promoted")
        pair.command(pair.a, .failover(acceptDataLoss: false))
        pair.run(.seconds(2))
        #expect(pair.acknowledged.count > stuck)
        #expect(pair.a.held == .init(primary: .all, standby: .all))
        pair.boot(pair.b)
        pair.run(.seconds(20)) { $0.isWhole(primary: "a") }
        #expect(pair.isWhole(primary: "a"), "\(pair.transcript)")
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
    }

    /// It lacks something that only its own log names, and ends after each start: once a second is enough, and the primary serves both roles.
    @Test func aServerThatEndsAfterEachStartIsNotStartedInALoop() {
        let world = Scene.whole()
        var ends = 0
        world.run(.seconds(10)) { world in
            if world.b.recovers {
                ends += 1
                world.strike(.postmasterDies(.b, orphans: false))
            }
            return false
        }
        #expect((5...12).contains(ends), "it ended \(ends) times within ten seconds")
        world.settle(within: .seconds(60))
        #expect(world.isWhole && world.violation == nil, "\(world.violation?.text ?? "not whole")")
    }
}
