import TandemCore
import Testing

@Suite struct WhenAnAgentRestarts {
    @Test func thePrimarysClientsDoNotNotice() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.killAgent(pair.a)
        pair.run(.milliseconds(500))
        pair.startAgent(pair.a)
        let timeline = pair.a.timeline
        pair.run(.seconds(3)) { pair in
            if pair.a.held.primary != .all || pair.a.postgres != .running(isInRecovery: false) {
                pair.violations.append("the primary was disturbed")
            }
            return false
        }
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
        #expect(pair.isWhole(primary: "a"), "\(pair.transcript)")
        #expect(pair.a.timeline == timeline, "adopted, not promoted again")
    }

    @Test func theStandbysAddressComesBack() {
        let pair = Pair.whole()
        pair.killAgent(pair.b)
        pair.run(.seconds(2))
        pair.startAgent(pair.b)
        pair.run(.seconds(20)) { $0.isWhole(primary: "a") }
        #expect(pair.isWhole(primary: "a"), "\(pair.transcript)")
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
    }

    @Test func aPrimaryThatIsToldToStopHandsOver() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.feed(pair.a, .stopRequested)
        pair.run(.seconds(10)) { $0.a.exited }
        #expect(pair.a.exited)
        #expect(pair.a.postgres == .stopped)
        pair.run(.seconds(1))
        #expect(pair.b.node.role == .primaryStandby, "\(pair.transcript)")
        #expect(pair.b.held == .init(primary: .all, standby: .all))
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
    }
}
