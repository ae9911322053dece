import TandemCore
import Testing

@testable import TandemSimulator

/// Section 6: a standby whose instance is stopped, and cannot follow as it is. Its primary mostly asks for its consent before it comes to this,
/// so the rule is told step by step, on a node taken out of a pair that runs.
@Suite struct WhenItCannotFollow {
    /// Whoever is named as fit to be promoted gives that up durably before the directory that it is named for is touched.
    @Test(arguments: [Survey.copy("WAL is missing"), .rewind(fork: LSN(1), lost: 100)])
    func itConsentsBeforeItsDirectoryIsTouched(_ survey: Survey) throws {
        let (effects, ledger) = try after(survey)
        #expect(effects.contains { if case .writeLedger(let new, _) = $0 { new == ledger.sole() } else { false } })
        #expect(!effects.contains { if case .rejoin = $0 { true } else { false } })
    }

    /// The verdict outlives the consent: nobody is shown a branch that is given up a moment later.
    @Test func itIsNotStartedOnceMoreBetweenConsentAndReturn() throws {
        var (node, look, at) = try stoppedStandby()
        let ledger = try #require(node.ledger)
        let operation = try #require(surveyOrdered(by: node.step(.postgres(look), at: at(1))))
        _ = node.step(.completed(operation, .surveyed(.rewind(fork: LSN(1), lost: 100))), at: at(2))
        _ = node.step(.postgres(look), at: at(3))
        var effects = node.step(.ledgerWritten(ledger.sole()), at: at(4))
        effects += node.step(.postgres(look), at: at(100))
        #expect(!effects.contains { if case .start = $0 { true } else { false } }, "\(effects)")
        // The primary has taken the consent up.
        var heard = try #require(node.peer.last)
        heard.number += 1
        heard.ledger = ledger.sole()
        let peer = try #require(node.peer.session)
        effects = node.step(.heartbeat(heard, .init(sender: peer, receiver: node.session)), at: at(200))
        effects += node.step(.postgres(look), at: at(201))
        #expect(effects.contains { if case .rejoin(.rewind, _) = $0 { true } else { false } }, "\(effects)")
    }

    /// Nor where a person asks for a new copy: there is no survey then.
    @Test func itIsNotStartedOnceMoreBeforeACopyThatAPersonAskedFor() throws {
        var (node, look, at) = try stoppedStandby()
        let ledger = try #require(node.ledger)
        let operation = try #require(surveyOrdered(by: node.step(.postgres(look), at: at(1))))
        _ = node.step(.command(.rejoin(fresh: true), RequestID(1)), at: at(2))
        _ = node.step(.completed(operation, .failed("the primary did not answer")), at: at(3))
        var heard = try #require(node.peer.last)
        heard.number += 1
        let peer = try #require(node.peer.session)
        // After the pause that a look that failed asks for.
        var effects = node.step(.heartbeat(heard, .init(sender: peer, receiver: node.session)), at: at(1100))
        effects += node.step(.postgres(look), at: at(1101))
        #expect(effects.contains { if case .writeLedger(let new, _) = $0 { new == ledger.sole() } else { false } }, "\(effects)")
        effects = node.step(.ledgerWritten(ledger.sole()), at: at(1102))
        effects += node.step(.postgres(look), at: at(1200))
        #expect(!effects.contains { if case .start = $0 { true } else { false } }, "\(effects)")
    }

    /// Nor is it kept stopped for a primary that says nothing more.
    @Test func aConsentThatNobodyTakesUpDoesNotKeepItDown() throws {
        var (node, look, at) = try stoppedStandby()
        let ledger = try #require(node.ledger)
        let operation = try #require(surveyOrdered(by: node.step(.postgres(look), at: at(1))))
        _ = node.step(.completed(operation, .surveyed(.copy("WAL is missing"))), at: at(2))
        _ = node.step(.postgres(look), at: at(3))
        var effects = node.step(.ledgerWritten(ledger.sole()), at: at(4))
        effects += node.step(.postgres(look), at: at(5000))
        #expect(effects.contains { if case .start(.isolated, _) = $0 { true } else { false } }, "\(effects)")
    }

    /// What was found is about the instance as it was stopped then: once it has run, it is looked at anew.
    @Test func aVerdictDoesNotOutliveAStart() throws {
        var (node, look, at) = try stoppedStandby()
        let first = try #require(surveyOrdered(by: node.step(.postgres(look), at: at(1))))
        var running = look
        running.condition = .running(isInRecovery: true)
        _ = node.step(.completed(first, .surveyed(.copy("WAL is missing"))), at: at(2))
        _ = node.step(.postgres(running), at: at(3))
        #expect(surveyOrdered(by: node.step(.postgres(look), at: at(4))) != nil)
    }

    /// Somebody put another directory in the primary's place, and it is open there: it is nobody's primary (5.7). The standby is not compared with it,
    /// and not kept stopped for it either.
    @Test func anotherDirectoryThatIsOpenThereIsNotFollowed() throws {
        var (node, look, at) = try stoppedStandby()
        var heard = try #require(node.peer.last)
        heard.number += 1
        heard.report.postgres.copy?.copy = CopyID(high: 77, low: 77)
        let peer = try #require(node.peer.session)
        _ = node.step(.heartbeat(heard, .init(sender: peer, receiver: node.session)), at: at(1))
        let effects = node.step(.postgres(look), at: at(2))
        #expect(surveyOrdered(by: effects) == nil)
        #expect(effects.contains { if case .start(.isolated, _) = $0 { true } else { false } })
    }

    private func after(_ survey: Survey) throws -> (effects: [Effect], ledger: Ledger) {
        var (node, look, at) = try stoppedStandby()
        let ledger = try #require(node.ledger)
        let operation = try #require(surveyOrdered(by: node.step(.postgres(look), at: at(1))))
        let answer = node.step(.completed(operation, .surveyed(survey)), at: at(2))
        return (answer + node.step(.postgres(look), at: at(3)), ledger)
    }

    /// The paired standby, what is seen of its stopped instance, and the time in milliseconds from now on.
    private func stoppedStandby() throws -> (node: Node, look: LocalPostgres, at: (Int) -> Moment) {
        let world = Scene.whole()
        world.run(.seconds(5))
        let now = world.b.clock.now(world.now)
        var look = world.seen(world.b)
        look.condition = .stopped
        return (world.b.node, look, { now + .milliseconds($0) })
    }

    private func surveyOrdered(by effects: [Effect]) -> OperationID? {
        effects.lazy.compactMap { if case .survey(let operation) = $0 { operation } else { nil } }.first
    }
}
