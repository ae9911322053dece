import Synchronization
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

/// A copy that is given up in order, as the agent is told to stop.
@Suite(.serialized, .timeLimit(.minutes(30))) struct RejoinCopyEndTests {
    @Test(arguments: [Rejoin.Step.copying, .verifying])
    func itEndsAtOnceAndNothingIsLeft(_ step: Rejoin.Step) throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            let data = pair.a.settings.dataDirectory
            let before = try RejoinPair.fingerprint(data)
            var rejoin = pair.rejoin()
            if step == .copying { rejoin.options.maxRateKilobytesPerSecond = 32 }
            let bell = try Bell()
            let rung = Mutex<Int64>(0)
            var work = pair.work { progress in
                guard progress.step == step, step == .verifying || progress.doneBytes > 0 else { return }
                rung.withLock { $0 = $0 == 0 ? SystemClock.now() : $0 }
                bell.ring()
            }
            work.interruption = bell
            let refusal = try #require(setupRefusal { try rejoin.copy(abandoned: Term(7), work: work) })
            #expect(refusal.happened.contains("this agent is told to stop"))
            #expect(!refusal.description.contains("damaged"), "\(refusal)")
            #expect(SystemClock.now() - rung.withLock { $0 } < 3_000_000_000)
            #expect(try RejoinPair.fingerprint(data) == before)

            // The next agent: nobody may want a copy any more.
            #expect(OwnedFiles.exists(data + ".pgtandem-new"))
            try pair.rejoin().endLeftovers(atStart: true)
            #expect(!OwnedFiles.exists(data + ".pgtandem-new"))
            #expect(try pair.rejoin().copy(abandoned: Term(7), work: pair.work()).movedAside == data + ".diverged.7")
        }
    }
}
