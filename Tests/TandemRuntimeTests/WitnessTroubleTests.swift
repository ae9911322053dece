import Synchronization
import TandemCore
import TandemRuntime
import TandemWire
import Testing

/// Why the witness does not serve: from its frame 11 to `status`.
@Suite struct WitnessTroubleTests {
    private final class Clock: Sendable {
        private let now = Mutex<Int64>(1_000_000_000)
        func pass(_ seconds: Int64) { now.withLock { $0 += seconds * 1_000_000_000 } }
        var read: @Sendable () -> Int64 { { [self] in now.withLock { $0 } } }
    }

    private static let full = RefusalNote(code: "cannotWrite", text: "the witness cannot write: free space")
    private static let closed = RefusalNote(code: "unreachable", text: "no connection")

    private func desk(_ trouble: WitnessTrouble, _ log: SeenLog) throws -> WitnessDesk {
        let agent = try Agent(policy: Policy(cluster: "orders", node: "a", peer: "b", mode: .synchronous), log: log.logger())
        return WitnessDesk(agent: agent, trouble: trouble, log: log.logger()) {
            HelloDocument(program: "t", cluster: "orders", node: "a", session: 1, boot: "b", digest: "", configuration: [:])
        }
    }

    @Test func aRefusalOfTheWitnessIsToldOnceAndStandsInTheStatus() throws {
        let (trouble, log) = (WitnessTrouble(), SeenLog())
        let desk = try desk(trouble, log)
        let note = RefusalNote(code: "otherSystem", text: "the name orders belongs to another pair: give one another `cluster`")
        for _ in 1...3 { desk.receive(FrameKind.witnessRefusal, try JSON.encode(NoteDocument(note))) }
        #expect(log.all == ["warning: the witness does not serve this pair"], "repeated with each connection, told once")
        var node = Node(policy: Policy(cluster: "orders", node: "a", peer: "b", mode: .synchronous))
        var ledger = JournalStory.paired
        ledger.arbiter = .witness
        ledger.lease = .seconds(2)
        let now = Moment.now()
        _ = node.step(.started(.init(session: SessionID(1), boot: BootID("boot"), ledger: ledger)), at: now)
        let status = StatusDocument(node, at: now.boot, addresses: [:], witnessTrouble: trouble.note, version: "test")
        #expect(status.arbiter.reachable == false)
        #expect(status.arbiter.problem == NoteDocument(note))
        let json = String(decoding: try JSON.encode(status), as: UTF8.self)
        #expect(json.contains("\"problem\":{\"code\":\"otherSystem\""), "\(json)")
        #expect(StatusDocument(node, at: now.boot, addresses: [:], version: "test").arbiter.problem == nil)
    }

    @Test func whatCannotBeReadIsNoRefusal() throws {
        let (trouble, log) = (WitnessTrouble(), SeenLog())
        try desk(trouble, log).receive(FrameKind.witnessRefusal, Array("{\"code\":1}".utf8))
        #expect(trouble.note == nil)
        #expect(log.all == ["warning: could not read an answer of the witness"])
    }

    @Test func aConnectionThatComesUpEndsItAndARefusalMustStayAway() {
        let clock = Clock()
        let trouble = WitnessTrouble(clock: clock.read)
        #expect(trouble.notReached(Self.closed))
        #expect(!trouble.notReached(RefusalNote(code: Self.closed.code, text: "in other words")), "known")
        #expect(trouble.answered(), "over")
        #expect(!trouble.answered())
        #expect(trouble.note == nil)

        #expect(trouble.refused(Self.full))
        for _ in 1...5 {
            // Heartbeats are answered, the change of the record is not.
            clock.pass(1)
            trouble.answered()
            #expect(!trouble.refused(Self.full))
        }
        #expect(trouble.note == Self.full)
        clock.pass(4)
        #expect(trouble.note == Self.full, "silence is no answer")
        trouble.answered()
        #expect(trouble.note == nil)
    }
}
