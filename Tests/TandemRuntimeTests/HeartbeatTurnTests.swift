import Foundation
import TandemCore
import TandemSystem
import TandemWire
import Testing

@testable import TandemRuntime

/// Which heartbeats of the real agent take all connections, and which one of them in turn.
@Suite struct HeartbeatTurnTests {
    private static var number: Regex<Substring> { /[0-9A-F]+\/[0-9A-F]+|[0-9]+/ }

    /// The heartbeats that an agent sent until there were so many: how each went, and its words without its numbers.
    private func heartbeats(_ timing: Timing) throws -> [(isInTurn: Bool, words: String)] {
        try withScratch { folder in
            let log = SeenLog().logger()
            let world = ObedientWorld()
            var policy = Policy(cluster: "orders", node: "b", peer: "a", mode: .synchronous)
            policy.timing = timing
            let agent = try Agent(policy: policy, log: log)
            let journal = try Journal(folder: folder, program: "0.1.0", log: log)
            let ended = try Bell()
            let tail = try TailTransfer(postgres: world, link: world)
            agent.post(.postgres(JournalStory.instance(.running(isInRecovery: true))))
            agent.post(.hello(session: SessionID(11)))
            try OwnThread.start("agent") {
                agent.run(
                    .init(session: SessionID(22), boot: BootID("boot"), ledger: JournalStory.paired),
                    .init(
                        postgres: world, addresses: world, ledger: world, link: world, witness: world, guardian: world,
                        tail: tail, journal: journal, history: HistoryKeeper(HistoryFile(stateDirectory: folder, log: log))))
                ended.ring()
            }
            func sent() -> [(isInTurn: Bool, kind: UInt8, payload: [UInt8])] {
                world.sent.frames.withLock { $0 }.filter { $0.kind == FrameKind.heartbeat }
            }
            #expect(SystemClock.wait(upTo: .seconds(20)) { sent().count >= 10 })
            // In the middle of the quiet something is new.
            agent.command(.switchover(to: nil, dryRun: false)) { _ in }
            let before = sent().count
            #expect(SystemClock.wait(upTo: .seconds(20)) { sent().count >= before + 10 })
            agent.post(.stopRequested)
            #expect(ended.wait(upTo: .seconds(30)), "it ends")
            return sent().map {
                ($0.isInTurn, String(decoding: $0.payload, as: UTF8.self).replacing(Self.number, with: "0"))
            }
        }
    }

    @Test func whatIsNewTakesAllOfThemAndNumbersAloneOne() throws {
        let all = try heartbeats(.standard)
        #expect(all.first?.isInTurn == false)
        for (before, heartbeat) in zip(all, all.dropFirst()) {
            #expect(heartbeat.isInTurn == (heartbeat.words == before.words), "\(before.words)\n\(heartbeat.words)")
        }
        #expect(all.count(where: \.isInTurn) >= 10)
        #expect(all.count { !$0.isInTurn } >= 2, "a person asked on the way")
    }

    /// A connection that lost a packet stands still for longer than such a lease allows.
    @Test func withAShortLeaseAllTakeAll() throws {
        let all = try heartbeats(.fast)
        #expect(all.count >= 20)
        #expect(!all.contains { $0.isInTurn })
    }
}
