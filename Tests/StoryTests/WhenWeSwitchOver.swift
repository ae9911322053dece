import TandemCore
import Testing

@Suite struct WhenWeSwitchOver {
    @Test func theRolesAreExchangedAndNothingIsLost() {
        let pair = Pair.whole()
        pair.run(.seconds(1))
        let before = pair.acknowledged.count
        let id = pair.command(pair.a, .switchover(to: nil, dryRun: false))
        pair.run(.seconds(10)) { $0.isWhole(primary: "b") }
        #expect(pair.isWhole(primary: "b"), "\(pair.transcript)")
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
        pair.run(.seconds(1))
        #expect(pair.acknowledged.count > before)
        #expect(pair.a.answers[id]?.last == .done("b is primary"))
    }

    @Test func thereAndBackAgain() {
        let pair = Pair.whole()
        for target: NodeName in ["b", "a", "b", "a"] {
            pair.command(pair.host(target == "a" ? "b" : "a"), .switchover(to: target, dryRun: false))
            pair.run(.seconds(10)) { $0.isWhole(primary: target) }
            #expect(pair.isWhole(primary: target), "\(pair.transcript)")
            pair.run(.milliseconds(500))
        }
        #expect(pair.violations.isEmpty, "\(pair.violations.prefix(3))")
    }

    @Test func aPersonMayAskAtTheStandby() {
        let pair = Pair.whole()
        let id = pair.command(pair.b, .switchover(to: nil, dryRun: false))
        pair.run(.seconds(10)) { $0.isWhole(primary: "b") }
        #expect(pair.isWhole(primary: "b"))
        #expect(pair.b.answers[id]?.last == .done("b is primary"))
    }

    @Test func aDryRunChangesNothing() {
        let pair = Pair.whole()
        let id = pair.command(pair.a, .switchover(to: nil, dryRun: true))
        pair.run(.seconds(1))
        #expect(pair.isWhole(primary: "a"))
        #expect(pair.a.answers[id] == [.done("b could take over now, without losing a commit")])
    }

    @Test func withoutAStandbyItIsRefusedWithTheReason() {
        let pair = Pair().founded()
        pair.startAgent(pair.a)
        pair.run(.seconds(3))
        let id = pair.command(pair.a, .switchover(to: nil, dryRun: false))
        guard case .refused(let notes)? = pair.a.answers[id]?.last else { return #expect(Bool(false), "not refused") }
        #expect(notes.map(\.code).contains("notPaired"))
        #expect(pair.a.node.role == .primaryStandby)
    }

    /// 4.4: if B dies in between, A is a standby in a `paired` ledger; a person's word makes it primary again.
    @Test func theStandbyDiesAtEveryMomentOfIt() {
        for delay in stride(from: 0, through: 400, by: 7) {
            let pair = Pair.whole()
            pair.command(pair.a, .switchover(to: nil, dryRun: false))
            pair.run(.milliseconds(delay))
            pair.powerOff(pair.b)
            pair.run(.seconds(8))
            pair.boot(pair.b)
            pair.run(.seconds(30)) { $0.isWhole(primary: "a") || $0.isWhole(primary: "b") }
            #expect(pair.isWhole(primary: "a") || pair.isWhole(primary: "b"), "B died \(delay) ms into it: \(pair.transcript)")
            #expect(pair.violations.isEmpty, "B died \(delay) ms into it: \(pair.violations.prefix(3))")
        }
    }

    @Test func theOldPrimaryDiesAtEveryMomentOfIt() {
        for delay in stride(from: 0, through: 400, by: 7) {
            let pair = Pair.whole()
            pair.command(pair.a, .switchover(to: nil, dryRun: false))
            pair.run(.milliseconds(delay))
            pair.powerOff(pair.a)
            pair.run(.seconds(8))
            pair.boot(pair.a)
            pair.run(.seconds(30)) { $0.isWhole(primary: "a") || $0.isWhole(primary: "b") }
            #expect(pair.isWhole(primary: "a") || pair.isWhole(primary: "b"), "A died \(delay) ms into it: \(pair.transcript)")
            #expect(pair.violations.isEmpty, "A died \(delay) ms into it: \(pair.violations.prefix(3))")
        }
    }

    @Test func eitherAgentIsKilledAtEveryMomentOfItAndComesBack() {
        for victim: NodeName in ["a", "b"] {
            for delay in stride(from: 0, through: 400, by: 7) {
                let pair = Pair.whole()
                pair.command(pair.a, .switchover(to: nil, dryRun: false))
                pair.run(.milliseconds(delay))
                pair.killAgent(pair.host(victim))
                pair.run(.milliseconds(300))
                pair.startAgent(pair.host(victim))
                pair.run(.seconds(30)) { $0.isWhole(primary: "a") || $0.isWhole(primary: "b") }
                #expect(
                    pair.isWhole(primary: "a") || pair.isWhole(primary: "b"),
                    "\(victim)'s agent died \(delay) ms into it: \(pair.transcript)")
                #expect(pair.violations.isEmpty, "\(victim)'s agent died \(delay) ms into it: \(pair.violations.prefix(3))")
            }
        }
    }
}

@Suite struct WhenTheOldPrimaryFollows {
    /// What a crash left torn behind the end of its WAL is taken away before the first start, and never after: from then on its WAL
    /// goes on behind the fork.
    @Test func itsFirstStartKnowsTheForkAndLaterOnesDoNot() {
        let pair = Pair.whole()
        pair.killPostgres(pair.a)
        pair.run(.seconds(20)) { $0.isWhole(primary: "b") }
        pair.killPostgres(pair.a)
        pair.run(.seconds(20)) { $0.isWhole(primary: "b") }
        let starts = pair.starts.filter { $0.host == "a" }.map(\.mode)
        guard starts.count == 3 else { return #expect(Bool(false), "\(starts)") }
        #expect(starts[0] == .isolated, "at the bring-up, to be promoted: it follows nobody")
        if case .follower(let fork) = starts[1] { #expect(fork > LSN(1000)) } else { #expect(Bool(false), "\(starts)") }
        #expect(starts[2] == .standby)
    }

    @Test func aPowerLossBetweenTheHandoverAndTheFirstStartForgetsNothing() {
        let pair = Pair.whole()
        pair.a.failing["start"] = 1_000_000
        pair.killPostgres(pair.a)
        pair.run(.seconds(5)) { $0.b.held.primary == .all && $0.a.ledger?.bond == .sole }
        #expect(pair.a.ledger?.handoverEnd == nil, "consent has replaced the handover's ledger")
        pair.powerOff(pair.a)
        pair.a.failing = [:]
        pair.run(.seconds(1))
        pair.boot(pair.a)
        pair.run(.seconds(20)) { $0.isWhole(primary: "b") }
        guard case .follower? = pair.starts.last(where: { $0.host == "a" })?.mode else {
            return #expect(Bool(false), "\(pair.starts)")
        }
        #expect(pair.a.notes.follows == nil, "from its first start on, its WAL goes on behind the fork")
    }

    /// Where its own WAL ended says nothing about a new copy: asked for its fork, it would refuse that for ever.
    @Test func aNewCopyInItsPlaceKnowsNoFork() {
        let pair = Pair.whole()
        pair.a.failing["start"] = 1_000_000
        pair.killPostgres(pair.a)
        pair.run(.seconds(5)) { $0.b.held.primary == .all && $0.a.ledger?.bond == .sole }
        pair.command(pair.a, .rejoin(fresh: true))
        let old = pair.a.copy
        pair.run(.seconds(5)) { $0.a.copy != old }
        pair.a.failing = [:]
        pair.run(.seconds(20)) { $0.isWhole(primary: "b") }
        #expect(pair.isWhole(primary: "b"))
        #expect(pair.starts.last { $0.host == "a" }?.mode == .standby, "\(pair.starts)")
    }
}
