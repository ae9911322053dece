import Foundation
import Logging
import TandemCore
import TandemSystem
import TandemWire
import Testing

@testable import TandemRuntime

/// The real agent on a world that does what it is told: what it decides is in its journal, and is decided again.
@Suite struct JournalAgentTests {
    @Test func whatTheAgentDecidesIsDecidedAgain() throws {
        try withScratch { folder in
            let log = SeenLog().logger()
            let world = ObedientWorld()
            let agent = try Agent(policy: Policy(cluster: "orders", node: "b", peer: "a", mode: .synchronous), log: log)
            let journal = try Journal(folder: folder, program: "0.1.0", log: log)
            let ended = try Bell()
            let tail = try TailTransfer(postgres: world, link: world)
            agent.post(.postgres(JournalStory.instance(.running(isInRecovery: true))))
            try OwnThread.start("agent") {
                agent.run(
                    .init(session: SessionID(22), boot: BootID("boot"), ledger: JournalStory.paired),
                    .init(
                        postgres: world, addresses: world, ledger: world, link: world, witness: world, guardian: world,
                        tail: tail, journal: journal, history: HistoryKeeper(HistoryFile(stateDirectory: folder, log: log))))
                ended.ring()
            }
            #expect(SystemClock.wait(upTo: .seconds(10)) { agent.present.node.state.kind == .standby })
            let answer = SeenLog()
            agent.command(.switchover(to: nil, dryRun: false)) { answer.logger().info("\($0)") }
            #expect(SystemClock.wait(upTo: .seconds(10)) { !answer.all.isEmpty })
            agent.post(.stopRequested)
            #expect(ended.wait(upTo: .seconds(30)), "it ends")
            let replayed = try Replayed(folder + "/current.jsonl")
            #expect(replayed.summary.differing == 0, "\(replayed.text)")
            #expect(replayed.steps.first?.event == "started")
            #expect(
                replayed.steps.contains { $0.event == "command" && $0.decisions.contains { $0.kind == "answer" } },
                "\(replayed.text)")
            #expect(replayed.steps.last?.decisions.contains { $0.kind == "exit" } == true, "to the last event: \(replayed.text)")
        }
    }

    private struct NoJoin: JoinPort {
        func facts() throws -> JoinAnswerDocument { JoinAnswerDocument() }
        func prepare(_ copy: CopyID) throws {}
    }

    /// Every path brings each heartbeat; after a greeting, what was said before it counts anew.
    @Test func aHeartbeatThatComesByTwoPathsIsOneEvent() throws {
        try withScratch { folder in
            let log = SeenLog().logger()
            let world = ObedientWorld()
            let agent = try Agent(policy: Policy(cluster: "orders", node: "b", peer: "a", mode: .synchronous), log: log)
            let journal = try Journal(folder: folder, program: "0.1.0", log: log)
            let ended = try Bell()
            let tail = try TailTransfer(postgres: world, link: world)
            func hello(_ node: String, _ session: UInt64) -> HelloDocument {
                HelloDocument(
                    program: "0.1.0", cluster: "orders", node: node, session: session, boot: "boot", digest: "",
                    configuration: [:])
            }
            let desk = PeerDesk(
                agent: agent, tail: tail, join: NoJoin(), history: HistoryFile(stateDirectory: folder, log: log),
                own: hello("b", 22), peer: "a", log: log
            ) { _ in [] }
            let texts = try (1...3 as ClosedRange<UInt64>).map { number in
                guard case .heartbeat(let heartbeat, let header) = JournalStory.heartbeat(number) else { return [UInt8]() }
                return try JSON.encode(HeartbeatDocument(heartbeat, header))
            }
            var older = hello("a", 11)
            older.versions = [1]
            guard case .refuse(let reason) = desk.judge(try JSON.encode(older)) else {
                throw WireError("an agent that drops how a term began was let in")
            }
            #expect(reason.contains("upgrade the older one"))
            let greeting = try JSON.encode(hello("a", 11))
            _ = desk.judge(greeting)
            for text in [texts[0], texts[0], texts[1], texts[2], texts[1], texts[2]] {
                desk.receive(FrameKind.heartbeat, text) { _, _ in }
            }
            _ = desk.judge(greeting)
            desk.receive(FrameKind.heartbeat, texts[2]) { _, _ in }
            agent.post(.stopRequested)
            try OwnThread.start("agent") {
                agent.run(
                    .init(session: SessionID(22), boot: BootID("boot"), ledger: nil),
                    .init(
                        postgres: world, addresses: world, ledger: world, link: world, witness: world, guardian: world,
                        tail: tail, journal: journal, history: HistoryKeeper(HistoryFile(stateDirectory: folder, log: log))))
                ended.ring()
            }
            #expect(ended.wait(upTo: .seconds(30)), "it ends")
            let replayed = try Replayed(folder + "/current.jsonl")
            #expect(replayed.steps.count { $0.event == "heartbeat" } == 4, "\(replayed.text)")
            #expect(replayed.summary.differing == 0)
        }
    }
}
