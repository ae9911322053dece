import TandemCore
import Testing

@testable import TandemSimulator

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

    /// The other one answers before the instance here does: that is no reason to open anew what serves clients already.
    @Test func aPrimaryThatHasNotAnsweredYetIsAdoptedWhenItDoes() throws {
        let world = Scene.whole(Setup(arbiter: .manual))
        let now = world.a.clock.now(world.now)
        var look = world.seen(world.a)
        let whole = look
        look.condition = .starting("a postmaster runs")
        var node = Node(policy: world.a.node.policy)
        let start = Event.Start(
            session: SessionID(4711), boot: world.a.bootID, ledger: world.a.ledger, notes: world.a.notes)
        let session = try #require(world.a.node.peer.session)
        var said = try #require(world.a.node.peer.last)
        said.acknowledged = 1
        var effects: [Effect] = []
        for (place, event) in [
            .started(start), .addresses(world.a.held), .postgres(look), .hello(session: session), .tick,
            .heartbeat(said, .init(sender: session, receiver: SessionID(4711))), .tick, .postgres(whole),
        ].enumerated() as EnumeratedSequence<[Event]> {
            effects += node.step(event, at: now + .milliseconds(place + 1))
        }
        #expect(node.state.kind == .primary)
        #expect(!effects.contains { if case .releaseAddress = $0 { true } else { false } }, "\(effects)")
    }
}
