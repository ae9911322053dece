import TandemCore
import Testing

extension Pair {
    /// A start whose first look at PostgreSQL takes a while.
    func startBlind(_ host: Host) {
        host.session += 1
        host.agentRuns = true
        host.node = Node(policy: host.node.policy)
        let session = SessionID(host.session * 2 + (host === a ? 0 : 1))
        feed(
            host,
            .started(
                .init(
                    session: session, boot: BootID("boot \(host.boot)"), ledger: host.ledger,
                    notes: Notes(peerHeardIn: host.notes.peerHeardIn))))
        feed(host, .addresses(host.held))
        heal()
    }
    func align(to rest: Int64, of span: Int64) { run(.seconds(1)) { $0.now.nanoseconds / 1_000_000 % span == rest } }
    var lost: [Int] {
        let all = Set(host(a.held.primary != .none ? "a" : "b").wal); return acknowledged.filter { !all.contains($0) }
    }
}

@Suite struct WhenAnEnemyChoosesTheMoment {
    @Test(arguments: [Policy.ReplicationMode.asynchronous, .synchronous])
    func aStaleAcknowledgementRevivesTheOldPrimary(_ mode: Policy.ReplicationMode) {
        let pair = Pair.whole(mode: mode)
        pair.powerOff(pair.a)
        pair.run(.seconds(3))
        pair.command(pair.b, .failover(acceptDataLoss: false))
        pair.run(.seconds(5)) { $0.b.held == .init(primary: .all, standby: .all) }
        pair.align(to: 10, of: 200)
        pair.a.isUp = true
        pair.a.boot += 1
        pair.startBlind(pair.a)
        pair.run(.milliseconds(5))
        pair.tick(pair.b)
        pair.run(.milliseconds(3))
        pair.cut = ["a>b", "b>a"]
        pair.run(.seconds(5))
        #expect(pair.a.postgres != .running(isInRecovery: false), "A promoted: \(pair.transcript.suffix(6))")
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(2)) \(pair.transcript.suffix(6))")
    }

    @Test func aForeignDatabaseIsNotObeyed() {
        let pair = Pair.whole()
        guard let last = pair.a.node.peer.last, let peer = pair.a.node.peer.session else { return #expect(Bool(false)) }
        var heartbeat = last
        heartbeat.number += 1
        heartbeat.report.postgres.systemIdentifier = 78
        heartbeat.ledger = Ledger(
            cluster: "orders", term: Term(9), step: 1, primary: "b", bond: .sole, primaryCopy: pair.b.copy, standbyCopy: nil,
            arbiter: .manual)
        pair.feed(pair.a, .heartbeat(heartbeat, .init(sender: peer, receiver: pair.a.node.session)))
        pair.run(.milliseconds(100))
        #expect(pair.a.postgres == .running(isInRecovery: false), "5.8 \(pair.transcript.suffix(3))")
        #expect(pair.a.ledger?.term == Term(2))
    }

    @Test func aStartWhoseStandbyCannotStartAsksForConsent() {
        let pair = Pair.whole()
        pair.powerOff(pair.a)
        pair.powerOff(pair.b)
        pair.run(.seconds(1))
        pair.b.failing["start"] = 1_000_000
        pair.boot(pair.a)
        pair.boot(pair.b)
        pair.run(.seconds(30))
        #expect(pair.a.node.role == .primaryStandby, "\(pair.a.node.state) \(pair.transcript.suffix(3))")
    }

    @Test func theSameAfterACrashOfBothInstances() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.b.failing["start"] = 1_000_000
        pair.killPostgres(pair.b)
        pair.killPostgres(pair.a)
        pair.run(.seconds(30))
        #expect(pair.a.node.role == .primaryStandby, "\(pair.a.node.state) \(pair.transcript.suffix(3))")
    }

    @Test func theWordIsTakenWhileTheStartWaitsForTheStandby() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.powerOff(pair.b)
        pair.run(.seconds(2))
        pair.killPostgres(pair.a)
        pair.run(.seconds(5))
        let id = pair.command(pair.a, .failover(acceptDataLoss: false))
        pair.run(.seconds(10))
        #expect(pair.a.node.role == .primaryStandby, "\(pair.a.node.state) \(pair.a.answers[id] ?? [])")
        pair.feed(pair.a, .stopRequested)
        pair.run(.seconds(20))
        #expect(pair.a.exited, "SIGTERM is never obeyed: \(pair.a.node.state)")
    }

    @Test func theEndOfTheHandoverIsNotForgottenByConsent() {
        let pair = Pair.whole()
        pair.align(to: 10, of: 200)
        pair.killPostgres(pair.a)  // its last commit has not been streamed yet
        let wal = pair.a.wal
        pair.run(.milliseconds(15))
        pair.killAgent(pair.b)
        pair.run(.milliseconds(60)) { $0.a.ledger?.primary == "b" }
        pair.b.failing["receiveWAL"] = 1
        pair.startBlind(pair.b)
        pair.run(.milliseconds(4))
        pair.tick(pair.a)
        pair.run(.seconds(10)) { $0.b.held.primary == .all }
        #expect(
            pair.b.wal.starts(with: wal),
            "promoted without WAL that A's host still had: \(wal.count) \(pair.b.wal.count) \(pair.transcript.suffix(8))")
        pair.run(.seconds(60)) { $0.isWhole(primary: "b") }
        #expect(pair.isWhole(primary: "b"))
    }

    @Test func anAsynchronousStandbyTakesOverAfterACrash() {
        let pair = Pair.whole(mode: .asynchronous)
        pair.run(.seconds(1))
        pair.killPostgres(pair.a)
        pair.run(.seconds(1)) { $0.b.held.primary == .all }
        #expect(pair.b.held.primary == .all, "\(pair.a.notices.suffix(4))")
    }

    /// 5.3: the address is still here when the promoted instance opens.
    @Test func theAddressIsGoneBeforeAnUnconfirmedInstanceOpens() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.cut = ["a>b", "b>a"]
        pair.run(.seconds(1))
        pair.a.delays["releaseAddress"] = .seconds(1)
        pair.killPostgres(pair.a)
        var seen = false
        pair.run(.seconds(3)) {
            if $0.a.held.primary != .none, $0.a.node.state.name == "promoting", $0.a.postgres == .running(isInRecovery: false) {
                seen = true
            }; return seen
        }
        #expect(!seen)
    }

    /// 7: consent gives the standby address up too.
    @Test func oneHostHoldsTheStandbyAddressAcrossACut() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.killPostgres(pair.b)
        pair.b.delays["releaseAddress"] = .milliseconds(300)
        pair.run(.milliseconds(8)) { $0.a.ledger?.bond == .sole }
        pair.run(.milliseconds(1))
        pair.cut = ["a>b", "b>a"]
        pair.run(.seconds(5))
        #expect(pair.a.ledger?.bond == .sole)
        #expect(
            pair.b.held.standby == .none,
            "kept under \(pair.b.ledger.map { "\($0)" } ?? "") for seconds; A may take it when its probe is not answered")
    }

    @Test func anAddressOnItsWayIsWaitedForBeforeTheRoleIsGivenAway() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.a.delays["claimAddress"] = .milliseconds(700)
        pair.a.held.primary = .none
        pair.feed(pair.a, .addresses(pair.a.held))
        pair.command(pair.a, .switchover(to: nil, dryRun: false))
        pair.run(.seconds(3))
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(2)) \(pair.transcript.suffix(6))")
    }

    @Test func anAgentExitsWithoutAnAddressOnItsWay() {
        let pair = Pair().founded()
        pair.startAgent(pair.a)
        pair.run(.seconds(4))
        pair.a.delays["claimAddress"] = .milliseconds(700)
        pair.a.held.primary = .none
        pair.feed(pair.a, .addresses(pair.a.held))
        pair.feed(pair.a, .stopRequested)
        pair.run(.seconds(5))
        #expect(pair.a.exited && pair.a.held.primary == .none)
    }

    @Test func aWordThatIsNotDurableYetTellsNobodyPaired() {
        let pair = Pair.whole()
        pair.powerOff(pair.a)
        pair.run(.seconds(2))
        pair.b.failing["writeLedger"] = 3
        pair.command(pair.b, .failover(acceptDataLoss: false))
        pair.boot(pair.a)
        pair.run(.milliseconds(900))
        pair.cut = ["a>b", "b>a"]
        pair.run(.seconds(6))
        #expect(pair.b.held.primary == .all)
        pair.powerOff(pair.b)
        pair.heal()
        pair.run(.seconds(2))
        let id = pair.command(pair.a, .failover(acceptDataLoss: false))
        pair.run(.seconds(5))
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(2)) \(pair.transcript.suffix(8)) \(pair.a.answers[id] ?? [])")
    }

    @Test(arguments: Array(stride(from: 1, through: 250, by: 8))) func theSameAtThePrimary(_ delay: Int) {
        let pair = Pair.whole()
        pair.powerOff(pair.b)
        pair.run(.seconds(2))
        pair.a.delays["writeLedger"] = .seconds(2)
        pair.command(pair.a, .failover(acceptDataLoss: false))
        pair.boot(pair.b)
        pair.run(.milliseconds(delay))
        pair.cut = ["a>b", "b>a"]
        pair.run(.seconds(3))
        pair.powerOff(pair.a)
        pair.heal()
        pair.run(.seconds(2))
        pair.command(pair.b, .failover(acceptDataLoss: false))
        pair.run(.seconds(2))
        #expect(pair.violations.isEmpty, "cut at \(delay) \(pair.violations.prefix(1)) \(pair.transcript.suffix(8))")
    }

    @Test func aHandoverIsCompletedWhenTheOldPrimaryStreamsAtOnce() {
        let pair = Pair.whole()
        pair.b.delays["receiveWAL"] = .milliseconds(600)
        pair.command(pair.a, .switchover(to: nil, dryRun: false))
        pair.run(.seconds(2)) { $0.a.node.state.name == "standby" && $0.a.postgres == .running(isInRecovery: true) }
        pair.killAgent(pair.a)
        pair.run(.seconds(3))
        pair.startAgent(pair.a)
        pair.run(.seconds(60)) { $0.isWhole(primary: "b") }
        #expect(
            pair.isWhole(primary: "b"),
            "\(pair.b.ledger.map { "\($0) \($0.handoverEnd.map { "\($0)" } ?? "")" } ?? "") held \(pair.b.held)")
        print("P10", pair.transcript.suffix(12), pair.b.ledger.map { "\($0)" } ?? "")
    }

    @Test func theStandbysReadersDoNotNoticeARestartOfThePrimarysAgent() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        pair.killAgent(pair.a)
        pair.run(.milliseconds(500))
        pair.startAgent(pair.a)
        var flaps = 0
        pair.run(.seconds(3)) {
            if $0.b.held.standby != .all { flaps += 1 }; return false
        }
        #expect(flaps == 0, "the standby address was away for \(flaps) ms")
    }

    @Test func aHostThatHasNotJoinedDoesNotBlockTheStandbyAddress() {
        let pair = Pair().founded()
        pair.b.ledger = nil
        pair.startAgent(pair.a)
        pair.startAgent(pair.b)
        pair.run(.seconds(20))
        #expect(pair.a.held == .init(primary: .all, standby: .all))
    }

    @Test func aRestartOfTheAgentDoesNotSkipTheConfirmation() {
        let pair = Pair.whole()
        pair.powerOff(pair.a)
        pair.powerOff(pair.b)
        pair.a.failing["confirmPosition"] = 1_000_000
        // No consent either.
        pair.b.failing["writeLedger"] = 1_000_000
        pair.boot(pair.a)
        pair.boot(pair.b)
        pair.run(.seconds(3)) { $0.a.postgres == .running(isInRecovery: false) }
        pair.run(.milliseconds(100))
        #expect(pair.a.held.primary == .none)
        pair.killAgent(pair.a)
        pair.startAgent(pair.a)
        pair.run(.seconds(3))
        #expect(pair.a.held.primary == .none, "5.3: taken without the standby's confirmation")
    }

    /// 4.6: unknown is never zero: an agent that heard no position of the primary cannot say what would be lost.
    @Test func anAsynchronousStandbyThatHeardNoPositionRefusesTheWord() {
        let pair = Pair.whole(mode: .asynchronous)
        pair.powerOff(pair.a)
        pair.killAgent(pair.b)
        pair.startAgent(pair.b)
        pair.run(.seconds(3))
        let id = pair.command(pair.b, .failover(acceptDataLoss: false))
        pair.run(.seconds(3))
        guard case .refused(let notes)? = pair.b.answers[id]?.last else { return #expect(Bool(false), "not refused") }
        #expect(notes.map(\.code) == ["lagUnknown"])
    }

    @Test func pairedIsNotWrittenWhileOlderSettingsAreOnTheirWay() {
        let pair = Pair.whole()
        pair.a.delays["configure"] = .milliseconds(600)
        pair.killPostgres(pair.b)
        var alone = false
        pair.run(.seconds(5)) { p in
            if p.a.ledger?.bond == .paired, p.b.ledger == p.a.ledger, p.a.settings.synchronous == nil { alone = true }
            return alone
        }
        #expect(!alone, "paired \(pair.a.ledger.map { "\($0)" } ?? "") with no synchronous standby")
        guard alone else { return }
        pair.cut = ["a>b", "b>a"]
        pair.run(.milliseconds(100))
        pair.powerOff(pair.a)
        pair.run(.seconds(2))
        pair.heal()
        pair.command(pair.b, .failover(acceptDataLoss: false))
        pair.run(.seconds(4))
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(2))")
    }

    @Test func aStandbyThatLeavesAtTheWorstMomentHandsBack() {
        let pair = Pair.whole()
        pair.command(pair.a, .switchover(to: nil, dryRun: false))
        pair.run(.seconds(1)) {
            if case .handingOver(let h) = $0.a.node.state, case .ending = h.phase { return true }; return false
        }
        pair.feed(pair.b, .stopRequested)
        pair.run(.seconds(30))
        #expect(
            pair.a.held.primary == .all || pair.b.held.primary == .all, "a \(pair.a.node.state.name) b exited \(pair.b.exited)")
    }

    @Test func aStandbyThatCannotPromoteHandsBack() {
        let pair = Pair.whole()
        pair.b.failing["promote"] = 1_000_000
        pair.command(pair.a, .switchover(to: nil, dryRun: false))
        pair.run(.seconds(60))
        #expect(
            pair.a.held.primary == .all || pair.b.held.primary == .all, "a \(pair.a.node.state.name) b \(pair.b.node.state.name)")
    }

    @Test func aSwitchoverAskedByALaterSessionIsHeard() {
        let pair = Pair.whole()
        func again(_ round: Int) -> Bool {
            pair.killAgent(pair.b)
            pair.startAgent(pair.b)
            pair.run(.seconds(20)) { $0.isWhole(primary: "a") }
            pair.run(.seconds(2))
            pair.command(pair.b, .switchover(to: nil, dryRun: false))
            pair.run(.seconds(20)) { $0.isWhole(primary: "b") }
            return pair.isWhole(primary: "b")
        }
        #expect(again(1))
        pair.command(pair.b, .switchover(to: nil, dryRun: false))
        pair.run(.seconds(20)) { $0.isWhole(primary: "a") }
        #expect(again(2), "\(pair.a.node.state.name)")
    }

    @Test func aLateHelloOfADeadSessionDeafensNobody() {
        let pair = Pair.whole()
        pair.feed(pair.b, .hello(session: SessionID(4710)))
        pair.run(.milliseconds(300))
        pair.heal()  // a new connection, the same session of A
        pair.run(.seconds(30))
        #expect(pair.isWhole(primary: "a"), "\(pair.transcript.suffix(4)) b hears \(pair.b.node.peer.last != nil)")
    }

    @Test func aFailedStopIsNotTriedWithoutAPause() {
        let pair = Pair.whole()
        pair.a.failing["stop"] = 1_000_000
        pair.a.delays["stop"] = .zero
        pair.a.failing["stop"] = 500
        pair.command(pair.a, .switchover(to: nil, dryRun: false))
        pair.run(.seconds(1))
        #expect((pair.a.failing["stop"] ?? 0) > 490, "tried \(500 - (pair.a.failing["stop"] ?? 0)) times in a second")
    }

    @Test func aRequestOfALaterSessionIsAnswered() {
        let pair = Pair().founded()
        pair.startAgent(pair.a)
        pair.run(.seconds(4))
        func ask(_ session: UInt64) -> Bool {
            var report = PeerReport(
                role: .standby, boot: BootID("x"), postgres: LocalPostgres(condition: .running(isInRecovery: true)))
            report.isLeaving = false
            let heartbeat = Heartbeat(
                number: 1, ledger: pair.a.ledger, report: report, acknowledged: nil, ask: .switchover(request: 5), answer: nil)
            var node = pair.a.node
            _ = node.step(.hello(session: SessionID(session)), at: Moment(boot: pair.now, raw: pair.now))
            let effects = node.step(
                .heartbeat(heartbeat, .init(sender: SessionID(session), receiver: node.session)),
                at: Moment(boot: pair.now, raw: pair.now))
            pair.a.node = node
            return effects.contains {
                if case .send(let sent, _) = $0, case .requestRefused? = sent.answer { return true } else { return false }
            }
        }
        #expect(ask(101))
        pair.tick(pair.a)
        pair.tick(pair.a)
        #expect(ask(103), "the same number from another session is ignored")
    }
}
