import Testing

@testable import TandemCore
@testable import TandemSimulator

/// How old the standby's data is decides about readers (7) and, in asynchronous mode, about promotion (4.6); what it could not become at all,
/// it says beforehand (4.3).
@Suite struct WhenDataIsOld {
    /// Somebody pauses replay and forgets it. The standby receives and confirms WAL, so commits go on; but what its readers see gets older.
    @Test func pausedReplayTakesTheReadersToThePrimaryUntilItGoesOn() {
        let world = Scene.whole()
        world.strike(.replayPaused(.b))
        world.run(.seconds(3))
        for host in [world.a, world.b] {
            #expect(host.reasons(world).contains("replayPaused"), "\(host.name): \(host.reasons(world))")
        }
        #expect(world.b.held.standby == .all, "it serves while its data is young enough")
        world.run(.seconds(30))
        #expect(world.b.held.standby == .none && world.a.held.standby == .all)
        for host in [world.a, world.b] {
            let told = host.node.remarks(at: host.clock.now(world.now).boot).first {
                $0.contains("the standby address is with")
            }
            #expect(told?.contains("old; the limit is 5s") == true, "\(host.name): \(told ?? "nothing")")
        }
        #expect(world.a.ledger?.bond == .paired, "in synchronous mode it has every commit")
        world.b.postgres.pausedAt = nil
        world.expectWhole(primary: "a", within: .seconds(5))
        #expect(world.b.held.standby == .all)
        #expect(world.b.reasons(world).isEmpty)
    }

    /// In synchronous mode too: it could be promoted, and might never open, or die.
    @Test(arguments: [
        (Fault.Kind.replayPaused(.b), "replayPaused"), (.delayed(.b), "delayed"), (.settingsLowered(.b), "settingsTooLow"),
    ])
    func whatCouldNotBecomePrimarySaysSoAndIsNotPromoted(_ fault: Fault.Kind, _ code: String) {
        let world = Scene.whole()
        world.strike(fault)
        world.run(.seconds(1))
        for host in [world.a, world.b] { #expect(host.reasons(world).contains(code), "\(host.name)") }
        world.strike(.switchover(.a))
        world.run(.seconds(3))
        #expect(world.a.role == .primary, "a planned change is refused")
        world.strike(.powerOff(.a), lasting: .seconds(8))
        world.run(.seconds(7))
        #expect(world.b.role == .standby && world.b.reasons(world).contains(code))
        world.run(.seconds(10)) { $0.a.node.role != .none }
        world.heal()
        world.expectWhole(primary: "a")
    }

    /// 4.6, by age: beyond the limit it is `sole`, and paired again only below half of it.
    @Test func anAsynchronousStandbyBeyondTheAgeIsNotPaired() {
        let world = Scene.whole(Setup(mode: .asynchronous), transcript: true)
        world.strike(.replayPaused(.b))
        // The simulator's limit is 4 s.
        world.run(.seconds(3))
        #expect(world.a.ledger?.bond == .paired)
        world.run(.seconds(3))
        #expect(world.a.ledger?.bond == .sole)
        #expect(
            world.a.node.remarks(at: world.a.clock.now(world.now).boot).contains {
                $0.contains("not paired yet") && $0.contains("old; the limit is 2s")
            })
        world.b.postgres.pausedAt = nil
        world.expectWhole(primary: "a")
    }

    /// Unknown is never zero: its agent was restarted, and what it has replayed is older than everything that was said since.
    @Test func anAsynchronousStandbyWhoseAgeIsUnknownIsNotPaired() {
        let world = Scene.whole(Setup(mode: .asynchronous), transcript: true)
        world.strike(.replayPaused(.b))
        world.run(.seconds(2))
        world.strike(.agentDies(.b))
        world.run(.seconds(6))
        #expect(world.b.node.dataAge(at: world.b.clock.now(world.now).boot) == nil)
        #expect(world.a.ledger?.bond == .sole)
        #expect(world.a.notices.contains { $0.contains("how far the standby is behind is not known") })
        #expect(world.b.held.standby == .none && world.a.held.standby == .all, "nor is it shown to readers")
        world.b.postgres.pausedAt = nil
        world.expectWhole(primary: "a")
    }

    /// S4: the hosts were off together, and the primary's recovery takes longer than a lease. Nobody supports it yet, as it does not know its own
    /// position; but its host answers, so what only it has is not given up.
    @Test(arguments: UInt64(1)...10) func anAsynchronousStandbyLeavesTheRoleToAPrimaryThatRecovers(_ seed: UInt64) {
        let world = Scene.whole(Setup(mode: .asynchronous), seed: seed)
        world.strike(.replicaLags(.b), lasting: .seconds(1))
        world.run(.milliseconds(300))
        let there = world.a.postgres.wal
        for host in [world.a, world.b] { world.powerOff(host) }
        world.run(.seconds(3))
        // It is up after the third attempt, seconds later.
        world.strike(.effectsFail(.a, .start, 3))
        for host in [world.a, world.b] { world.boot(host) }
        world.expectWhole(primary: "a", within: .seconds(40))
        #expect(world.a.postgres.wal.starts(with: there))
    }

    /// PostgreSQL of a host that boots may answer nothing for seconds, and its agent may be held up for longer than a silence.
    @Test func aPrimaryThatRecoversMayBeSlow() throws {
        let (node, last, header, now) = try standbyOfAPrimaryThatStarts()
        let ledger = try #require(node.ledger)
        var heard = last
        func holds(_ condition: LocalPostgres.Condition, after wait: Duration) -> Bool {
            var later = node
            heard.number += 1
            heard.report.postgres.condition = condition
            _ = later.step(.heartbeat(heard, header), at: now)
            return later.mayClaim(at: now.boot + wait).refusals.contains { $0.code == "primaryStarts" }
        }
        #expect(holds(.stopped, after: .zero) && holds(.starting("recovery"), after: .zero))
        #expect(holds(.silent(.seconds(2)), after: .zero))
        #expect(!holds(.silent(node.policy.hangPatience + .seconds(1)), after: .zero))
        #expect(!holds(.unusable("not mounted"), after: .zero))
        #expect(holds(.stopped, after: ledger.lease - .milliseconds(100)), "as long as a promise would hold")
        #expect(!holds(.stopped, after: ledger.lease + .milliseconds(100)))
    }

    /// Its agent ends at each attempt to start PostgreSQL, and is started again at once: that begins no new patience. A boot of its host does.
    @Test func anAgentThatEndsAgainAndAgainIsNotWaitedForForEver() throws {
        var (node, heard, header, now) = try standbyOfAPrimaryThatStarts()
        func isWaitedFor(run: UInt64) -> Bool {
            now = now + .milliseconds(300)
            header.sender = SessionID(1_000_000 + run)
            heard.number = 1
            _ = node.step(.hello(session: header.sender), at: now)
            _ = node.step(.heartbeat(heard, header), at: now)
            return node.mayClaim(at: now.boot).refusals.contains { $0.code == "primaryStarts" }
        }
        let runs = UInt64(node.policy.recoveryPatience / .milliseconds(300)) + 1
        #expect(isWaitedFor(run: 1))
        for run in 2...runs { _ = isWaitedFor(run: run) }
        #expect(!isWaitedFor(run: runs + 1))
        heard.report.boot = BootID("another")
        #expect(isWaitedFor(run: runs + 2))
    }

    /// Whoever has asked for a lease knows its position. If it asks no more, because it can neither serve nor hand over, the other one shall claim
    /// (4.4).
    @Test func aPrimaryThatAsksForItsLeaseNoMoreIsNotWaitedFor() throws {
        var (node, heard, header, now) = try standbyOfAPrimaryThatStarts()
        func hear(_ change: (inout Heartbeat) -> Void) -> Bool {
            now = now + .milliseconds(200)
            heard.number += 1
            change(&heard)
            _ = node.step(.heartbeat(heard, header), at: now)
            return node.mayClaim(at: now.boot).refusals.contains { $0.code == "primaryStarts" }
        }
        #expect(hear { _ in })
        _ = hear { $0.asksLease = true }
        #expect(!hear { $0.asksLease = false })
    }

    /// Both hosts have booted, and PostgreSQL of the primary does not come up; the standby, and what it hears.
    private func standbyOfAPrimaryThatStarts() throws -> (
        node: Node, heard: Heartbeat, header: Heartbeat.Header, now: Moment
    ) {
        let world = Scene.whole(Setup(mode: .asynchronous))
        for host in [world.a, world.b] { world.powerOff(host) }
        world.run(.seconds(3))
        world.strike(.effectsFail(.a, .start, 1_000_000))
        for host in [world.a, world.b] { world.boot(host) }
        world.run(.seconds(6))
        let node = world.b.node
        let header = Heartbeat.Header(sender: try #require(node.peer.session), receiver: node.session)
        return (node, try #require(node.peer.last), header, world.b.clock.now(world.now))
    }

    /// And it is on its way at once: who is heard has said all that is newer, so nothing is waited for.
    @Test func aPrimaryThatHearsTheOtherIsStartedAtOnce() {
        let world = Scene.whole(Setup(mode: .asynchronous))
        world.strike(.witnessDies, lasting: .seconds(60))
        world.powerOff(world.a)
        world.run(.seconds(1))
        world.boot(world.a)
        world.run(.seconds(3)) { $0.a.agentRuns }
        world.run(.milliseconds(900))
        #expect(world.a.postgres.condition != .stopped)
        world.expectWhole(primary: "a")
    }

    /// Nor for ever: one that does not come up within its patience lets the other one (3.1).
    @Test func aPrimaryThatDoesNotComeUpIsNotWaitedForForEver() {
        let world = Scene.whole(Setup(mode: .asynchronous), transcript: true)
        world.strike(.effectsFail(.a, .start, 1_000_000))
        world.strike(.bothPowerOff, lasting: .seconds(3))
        world.run(.seconds(10))
        #expect(world.b.reasons(world).contains("primaryStarts"), "\(world.b.reasons(world))")
        #expect(world.b.role == .standby)
        world.expectAlone(world.b, within: .seconds(10))
    }

    /// A cut-off primary leaves the row: what only it writes would make a rewind necessary.
    @Test func onlyAPrimaryThatMayWriteAndIsFollowedWritesTheRow() {
        let world = Scene.whole()
        func term(_ host: SimHost) -> Term? { host.node.heartbeatRowTerm(at: host.clock.now(world.now).boot) }
        #expect(term(world.a) == world.a.ledger?.term)
        #expect(term(world.b) == nil)
        #expect(world.b.postgres.beat > 0, "it reaches the standby")
        world.strike(.isolate(.a), lasting: .seconds(10))
        world.run(world.a.node.policy.silence + .milliseconds(100))
        #expect(world.a.role == .primary && term(world.a) == nil)
        world.run(.seconds(5))
        #expect(world.b.role == .primaryStandby && term(world.b) == world.b.ledger?.term && term(world.a) == nil)
        world.expectWhole(primary: "b")
    }

    /// The age of the row by when the primary said what: no wall clock, and no age where nothing is known.
    @Test func theAgeOfTheRowIsByWhatThePrimarySaid() {
        func at(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }
        var freshness = Freshness()
        freshness.rowWasRead(HeartbeatRow(beat: 7, turn: 1), at: at(0))
        #expect(freshness.rowAge == nil, "nobody has said anything")
        freshness.primaryWas(at: LSN(50), beat: 5, at(0.1))
        #expect(freshness.rowAge == .zero, "ahead of its word")
        freshness.primaryWas(at: LSN(50), beat: nil, at(0.2))
        #expect(freshness.rowAge == nil, "a primary that does not know the row says nothing of it")
        for second in 1...5 {
            for part in 0..<5 {
                freshness.primaryWas(
                    at: LSN(UInt64(second) * 100), beat: UInt64(10 + second), at(Double(second) + Double(part) * 0.2))
            }
        }
        freshness.rowWasRead(HeartbeatRow(beat: 7, turn: 2), at: at(6))
        #expect(freshness.rowAge == nil, "older than everything that was said")
        freshness.rowWasRead(HeartbeatRow(beat: 15, turn: 3), at: at(6))
        #expect(freshness.rowAge == .milliseconds(200), "the newest: as old as the primary's last word")
        freshness.rowWasRead(HeartbeatRow(beat: 12, turn: 4), at: at(6))
        #expect(freshness.rowAge == .milliseconds(3200))
        freshness.rowWasRead(HeartbeatRow(beat: 12, turn: 4), at: at(9))
        #expect(freshness.rowAge == .milliseconds(3200), "the same reading told again is none")
        freshness.rowWasRead(nil, at: at(9))
        #expect(freshness.rowAge == nil)
        #expect(freshness.age(of: LSN(300), at: at(6)) == .milliseconds(2200))
        // The table was made anew.
        freshness.primaryWas(at: LSN(700), beat: 1, at(10))
        freshness.rowWasRead(HeartbeatRow(beat: 1, turn: 5), at: at(10))
        #expect(freshness.rowAge == .zero)
    }
}

extension SimHost {
    fileprivate func reasons(_ world: World) -> [String] {
        node.failoverReadiness(at: clock.now(world.now).boot).map(\.code)
    }
}
