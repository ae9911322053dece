import TandemCore
import TandemWire
import Testing

@testable import TandemRuntime

/// What leaves the process comes back as what it was, and what no node can have written is refused.
@Suite struct WireDocumentTests {
    private static let here = CopyID(high: 1, low: 2)
    private static let there = CopyID(high: 3, low: 4)
    private static let paired = Ledger(
        cluster: "orders", term: Term(8), step: 2, primary: "a", bond: .paired, primaryCopy: here, standbyCopy: there,
        arbiter: .witness, lease: .seconds(2))

    private func carried<D: Codable>(_ document: D) throws -> D { try JSON.decode(D.self, from: try JSON.encode(document)) }

    @Test(arguments: [
        paired, paired.sole(), paired.pausing(isAwaited: true), paired.pausing(isAwaited: false),
        paired.sole().pausing(isAwaited: true), paired.renewed(above: Term(11), besides: "b"),
        Ledger(
            cluster: "orders", term: Term(9), step: 0, primary: "b", bond: .paired, primaryCopy: there, standbyCopy: here,
            arbiter: .manual, handoverEnd: LSN(0x305_5400)),
        Ledger(
            cluster: "orders", term: Term(9), step: 1, primary: "b", bond: .sole, primaryCopy: there, standbyCopy: nil,
            arbiter: .manual, forced: true),
    ])
    func aLedgerComesBackAsItWas(ledger: Ledger) throws {
        #expect(try carried(LedgerDocument(ledger)).ledger() == ledger)
    }

    @Test func aLedgerThatNoNodeCanHaveWrittenIsRefused() throws {
        func refused(_ text: String, _ from: Ledger = Self.paired, _ change: (inout LedgerDocument) -> Void) {
            var document = LedgerDocument(from)
            change(&document)
            expect(text) { _ = try document.ledger() }
        }
        let paused = LedgerDocument(Self.paired.pausing(isAwaited: true)).paused
        refused("a paired ledger that is paused") { $0.paused = paused }
        refused("a pause whose commits wait for no copy", Self.paired.pausing(isAwaited: true)) { $0.paused?.standby_copy = nil }
        refused("`no` is no copy id", Self.paired.pausing(isAwaited: true)) { $0.paused?.standby_copy = "no" }
        refused("a sole ledger with the end of a handover", Self.paired.sole()) { $0.handover_end = "0/3055400" }
        refused("without the lease that it lends") { $0.lease_ms = 0 }
        refused("beyond all bounds") { $0.lease_ms = -1 }
        refused("beyond all bounds") { $0.lease_ms = 86_400_001 }
        refused("beyond all bounds") { $0.term = 1 << 62 }
        refused("not known to this version") { $0.arbiter = "etcd" }
        refused("wrong number of copies") { $0.standby_copy = nil }
    }

    /// An agent of before speaks without them: unknown, not zero.
    @Test func theRowAndPausedReplayAreCarriedAndMayBeMissing() throws {
        var postgres = LocalPostgres(condition: .running(isInRecovery: true))
        #expect(try carried(PostgresDocument(postgres)).postgres() == postgres)
        #expect(postgres.row == nil && postgres.isReplayPaused == nil)
        postgres.isReplayPaused = true
        postgres.row = HeartbeatRow(beat: 41, turn: 3, shownAge: .seconds(2))
        let heard = try carried(PostgresDocument(postgres)).postgres()
        #expect(heard.isReplayPaused == true && heard.row?.beat == 41)
    }

    private func heartbeat(_ ask: Heartbeat.Ask?, _ answer: Heartbeat.Answer?) -> Heartbeat {
        var report = PeerReport(
            role: .standby, boot: BootID("boot 1"), postgres: LocalPostgres(condition: .running(isInRecovery: true)))
        report.seesGateway = false
        report.storage = RefusalNote(code: "storage", text: "the disk is full")
        return Heartbeat(
            number: 7, ledger: Self.paired, report: report, acknowledged: 6, promised: .seconds(2), asksLease: true, ask: ask,
            answer: answer)
    }

    @Test(arguments: [
        Heartbeat.Ask.consent(paired.pausing(isAwaited: true)), .prepare(handover: 3), .switchover(request: 4),
        .pause(request: 5, maintenance: true), .pause(request: 5, maintenance: false), .resume(request: 6),
    ])
    func aQuestionComesBackAsItWas(ask: Heartbeat.Ask) throws { try expectSame(heartbeat(ask, nil)) }

    @Test(arguments: [
        Heartbeat.Answer.prepared(handover: 3, replayed: LSN(0x305_5400)),
        .notPrepared(handover: 3, [RefusalNote(code: "delayed", text: "it is delayed")]),
        .requestRefused(request: 5, [RefusalNote(code: "busy", text: "wait")]), .requestDone(request: 5, "paused"),
    ])
    func anAnswerComesBackAsItWas(answer: Heartbeat.Answer) throws { try expectSame(heartbeat(nil, answer)) }

    private func expectSame(_ heartbeat: Heartbeat) throws {
        let header = Heartbeat.Header(sender: SessionID(11), receiver: SessionID(12))
        let (found, to) = try carried(HeartbeatDocument(heartbeat, header)).heartbeat()
        #expect(found == heartbeat)
        #expect(to == header)
    }

    @Test(arguments: [Int64(-1), 86_400_001, .max, .min]) func aPromiseBeyondAllBoundsIsRefused(milliseconds: Int64) {
        var document = HeartbeatDocument(heartbeat(nil, nil), .init(sender: SessionID(1), receiver: SessionID(2)))
        document.promised_ms = milliseconds
        expect("a promise of \(milliseconds) ms is beyond all bounds") { _ = try document.heartbeat() }
    }

    @Test func aPromiseForNoHeartbeatIsRefused() {
        var document = HeartbeatDocument(heartbeat(nil, nil), .init(sender: SessionID(1), receiver: SessionID(2)))
        document.acknowledged = nil
        expect("a promise for no heartbeat") { _ = try document.heartbeat() }
    }

    @Test(arguments: [
        WitnessRequest.Kind.heartbeat(paired, position: LSN(0x305_5400)), .heartbeat(paired, position: nil), .sole(paired),
        .claim(paired, granted: paired.sole()), .read, .establish(paired.sole(), empty: SessionID(.max)),
    ])
    func aRequestToTheWitnessComesBackAsItWas(kind: WitnessRequest.Kind) throws {
        let request = WitnessRequest(number: 7, node: "a", kind: kind)
        let header = Heartbeat.Header(sender: SessionID(11), receiver: SessionID(12))
        let (found, to) = try carried(WitnessRequestDocument(request, header)).request()
        #expect(found == request)
        #expect(to == header)
    }

    @Test func aReaderOfRequestsSaysWhatTheDocumentSays() throws {
        let header = Heartbeat.Header(sender: SessionID(11), receiver: SessionID(12))
        func bytes(_ number: UInt64, _ kind: WitnessRequest.Kind, _ header: Heartbeat.Header) throws -> [UInt8] {
            try JSON.encode(WitnessRequestDocument(WitnessRequest(number: number, node: "a", kind: kind), header))
        }
        func beat(_ number: UInt64, _ ledger: Ledger = Self.paired, _ position: LSN? = LSN(0x305_5400)) throws -> [UInt8] {
            try bytes(number, .heartbeat(ledger, position: position), header)
        }
        var texts = [try beat(9), try beat(10), try beat(10, Self.paired, LSN(.max)), try beat(11, Self.paired, nil)]
        texts += [try beat(12, Self.paired.sole()), try beat(13), try bytes(14, .read, header), try beat(15)]
        texts += [try bytes(16, .heartbeat(Self.paired, position: LSN(1)), .init(sender: SessionID(1), receiver: SessionID(2)))]
        texts += [try beat(17), try bytes(18, .sole(Self.paired), header), try beat(0), try beat(WireLimit.count - 1)]
        let good = String(decoding: try beat(19), as: UTF8.self)
        // The same in other words, and what is none.
        let others = [
            ("19", "19 "), ("19", "19.0"), ("19", "019"), ("19", "-1"), ("19", ""), ("19", "99999999999999999999"),
            ("19", "4611686018427387904"), ("0/3055400", ""), ("0/3055400", "0/g"), ("0/3055400", "0\\/1"),
            ("0/3055400", "0/1\",\"x\":\"1"),
            ("}", "} "), ("\"to\":12", "\"to\":13"), ("orders", "others"), ("\"node\":\"a\"", "\"node\":\"b\""),
        ]
        texts += others.flatMap { other in
            [Array(good.replacing("\"number\":19", with: "\"number\":" + (other.0 == "19" ? other.1 : "19")).utf8)]
                + [Array(good.replacing(other.0, with: other.1).utf8), Array(good.utf8)]
        }
        var reader = WitnessRequestReader()
        for text in texts {
            let words = String(decoding: text, as: UTF8.self)
            let wanted = Result { try JSON.decode(WitnessRequestDocument.self, from: text).request() }
            let found = Result { try reader.read(text) }
            switch (wanted, found) {
            case (.success(let wanted), .success(let found)): #expect(wanted.0 == found.0 && wanted.1 == found.1, "\(words)")
            case (.failure, .failure): break
            default: Issue.record("\(words): \(wanted), but \(found)")
            }
        }
    }

    @Test func aRequestThatNoNodeCanHaveSentIsRefused() {
        func refused(_ text: String, _ kind: WitnessRequest.Kind, _ change: (inout WitnessRequestDocument) -> Void) {
            var document = WitnessRequestDocument(
                WitnessRequest(number: 7, node: "a", kind: kind), .init(sender: SessionID(1), receiver: SessionID(2)))
            change(&document)
            expect(text) { _ = try document.request() }
        }
        let beat = WitnessRequest.Kind.heartbeat(Self.paired, position: LSN(1))
        refused("unknown request `fence`", .read) { $0.kind = "fence" }
        refused("beyond all bounds", .read) { $0.number = 1 << 62 }
        refused("without the name of a node", .read) { $0.node = "" }
        refused("without the name of a node", .read) { $0.node = String(repeating: "a", count: 64) }
        refused("`heartbeat` with other parts", beat) { $0.ledger = nil }
        refused("`heartbeat` with other parts", beat) { $0.granted = $0.ledger }
        refused("`claim` with other parts", .claim(Self.paired, granted: Self.paired.sole())) { $0.granted = nil }
        refused("`establish` with other parts", .establish(Self.paired, empty: SessionID(3))) { $0.empty = nil }
        refused("`read` with other parts", .read) { $0.empty = 3 }
        refused("`read` with a WAL position", .read) { $0.position = "0/1" }
        refused("is no WAL position", beat) { $0.position = "here" }
        refused("beyond all bounds", beat) { $0.ledger?.lease_ms = -1 }
        refused("wrong number of copies", .claim(Self.paired, granted: Self.paired.sole())) { $0.granted?.bond = "paired" }
    }

    @Test(arguments: [
        WitnessAnswer(number: 7, generation: 3, record: nil),
        WitnessAnswer(number: 7, generation: 3, record: paired, promised: .seconds(2), position: LSN(0x305_5400)),
        WitnessAnswer(number: 7, generation: 3, record: paired.sole(), position: LSN(1)),
    ])
    func anAnswerOfTheWitnessComesBackAsItWas(answer: WitnessAnswer) throws {
        let header = Heartbeat.Header(sender: SessionID(11), receiver: SessionID(12))
        let (found, to) = try carried(WitnessAnswerDocument(answer, header)).answer()
        #expect(found == answer)
        #expect(to == header)
        var writer = WitnessAnswerWriter()
        for _ in 0..<2 {
            #expect(try writer.write(answer, header) == JSON.encode(WitnessAnswerDocument(answer, header)))
        }
    }

    @Test func anAnswerThatNoWitnessCanHaveGivenIsRefused() {
        func refused(_ text: String, _ change: (inout WitnessAnswerDocument) -> Void) {
            let answer = WitnessAnswer(number: 7, generation: 3, record: Self.paired, promised: .seconds(2), position: LSN(1))
            var document = WitnessAnswerDocument(answer, .init(sender: SessionID(1), receiver: SessionID(2)))
            change(&document)
            expect(text) { _ = try document.answer() }
        }
        refused("beyond all bounds") { $0.number = 1 << 62 }
        refused("beyond all bounds") { $0.generation = .max }
        refused("a promise of -1 ms is beyond all bounds") { $0.promised_ms = -1 }
        refused("a promise without a record") { $0.record = nil }
        refused("is no WAL position") { $0.position = "1/2/3" }
        refused("unknown bond") { $0.record?.bond = "free" }
    }

    @Test func aHelloCarriesTheSystemIdentifierOrNone() throws {
        func hello(_ system: UInt64?) -> HelloDocument {
            HelloDocument(
                program: "test", cluster: "orders", node: "a", session: 1, boot: "boot", digest: "", configuration: [:],
                systemIdentifier: system)
        }
        #expect(try carried(hello(.max)).system_identifier == .max)
        #expect(try carried(hello(nil)).system_identifier == nil)
        #expect(!String(decoding: try JSON.encode(hello(nil)), as: UTF8.self).contains("system_identifier"), "as before")
    }

    @Test func theStatusSaysWhatTheLedgerSays() throws {
        func status(_ ledger: Ledger) -> StatusDocument {
            var node = Node(policy: Policy(cluster: "orders", node: "a", peer: "b", mode: .synchronous))
            let now = Moment.now()
            _ = node.step(.started(.init(session: SessionID(1), boot: BootID("boot 1"), ledger: ledger)), at: now)
            return StatusDocument(node, at: now.boot, addresses: [:], version: "test")
        }
        let paired = status(Self.paired)
        #expect(!paired.paused)
        #expect(paired.arbiter.kind == "witness", "of the ledger: the configuration says `manual`")
        #expect(paired.arbiter.reachable == false)
        #expect(paired.arbiter.record == nil)
        #expect(paired.lease_ms == nil, "none is held")
        #expect(status(Self.paired.pausing(isAwaited: true)).paused)
        var manual = Self.paired
        manual.arbiter = .manual
        manual.lease = .zero
        #expect(status(manual).arbiter.reachable == nil, "a person is not reached by a link")
    }

    /// The words of a refusal.
    private func expect(_ text: String, _ body: () throws -> Void) {
        do {
            try body()
            Issue.record("not refused: \(text)")
        } catch {
            #expect("\(error)".contains(text), "\(error)")
        }
    }
}
