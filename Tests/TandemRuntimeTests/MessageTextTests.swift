import TandemCore
import Testing

@testable import TandemRuntime
@testable import TandemWire

/// Messages that come again with nothing new but numbers are written and read by what has not changed: never with another result.
@Suite struct MessageTextTests {
    private static let header = Heartbeat.Header(sender: SessionID(11), receiver: SessionID(12))
    private static let otherHeader = Heartbeat.Header(sender: SessionID(13), receiver: SessionID(12))

    private static func heartbeat(
        _ number: UInt64, _ acknowledged: UInt64? = 5, age: Duration? = .milliseconds(17), _ note: String = "say \"number\":7,"
    ) -> Heartbeat {
        guard case .heartbeat(var heartbeat, _) = JournalStory.heartbeat(3) else { preconditionFailure("no heartbeat") }
        heartbeat.number = number
        heartbeat.acknowledged = acknowledged
        heartbeat.report.dataAge = age
        heartbeat.report.refusals = [RefusalNote(code: "busy", text: note)]
        return heartbeat
    }

    /// The same with other positions, as on a primary with one replica.
    private static func heartbeat(_ number: UInt64, at position: UInt64) -> Heartbeat {
        var heartbeat = heartbeat(number)
        heartbeat.report.postgres.flushed = LSN(position)
        heartbeat.report.postgres.received = position % 2 == 0 ? nil : LSN(position &+ 5)
        heartbeat.report.postgres.replicas = [
            .init(
                applicationName: "b", address: "10.0.0.2", isStreaming: true, isSynchronous: true, flushed: LSN(position),
                replayed: LSN(position / 3))
        ]
        heartbeat.report.postgres.row = HeartbeatRow(beat: number / 2, turn: 0)
        return heartbeat
    }

    /// Calm stretches, each begun by something that is new.
    private static let heartbeats: [(Heartbeat, Heartbeat.Header)] =
        (1...5).map { (heartbeat($0, $0 + 90), header) }
        + (6...9).map { (heartbeat($0, nil), header) }
        + (10...13).map { (heartbeat($0, 7, age: nil), header) }
        + (14...17).map { (heartbeat($0, 7, age: .milliseconds(Int64($0) * 997)), header) }
        + (18...21).map { (heartbeat($0, $0, age: .nanoseconds(Int64($0))), otherHeader) }
        + (22...25).map { (heartbeat($0, $0, "other"), header) }
        + [
            (heartbeat(.max, .max), header), (heartbeat(.max - 1, 0), header), (heartbeat(0, 0), header),
            (heartbeat(1, 1), header),
        ]
        + (26...29).map { (heartbeat($0, NumberedText.standIns(2)[1]), header) }
        + (30...33).map { (heartbeat(30, 40, "\(NumberedText.standIns(1)[0]) \($0)"), header) }
        + (34...37).map { (heartbeat($0, 40, "\(NumberedText.standIns(1)[0])"), header) }
        + (38...41).map { (heartbeat($0, 40, age: .milliseconds(1 << 41)), header) }
        + (42...49).map { (heartbeat($0, at: $0 * 0x1_2345_6789), header) }
        + [0, 1, 2, 0xFFFF_FFFF, 0x1_0000_0000, .max, NumberedText.standIns(4)[3], 0xA_0000_000B].flatMap { position in
            (50...53).map { (heartbeat($0, at: position), header) }
        }

    /// What is not new may be sent by fewer connections.
    @Test func onlyNumbersThatWentOnAreARepetition() throws {
        var writer = HeartbeatWriter()
        func repeats(_ heartbeat: Heartbeat, _ header: Heartbeat.Header = Self.header) throws -> Bool {
            _ = try writer.write(heartbeat, header)
            return writer.isRepetition
        }
        #expect(try !repeats(Self.heartbeat(1)), "the first one")
        #expect(try repeats(Self.heartbeat(2, 6, age: .milliseconds(18))))
        #expect(try !repeats(Self.heartbeat(3, 7, "other")), "a note")
        #expect(try repeats(Self.heartbeat(4, 8, "other")))
        #expect(try !repeats(Self.heartbeat(5, 9, "other"), Self.otherHeader), "another run")
        #expect(try !repeats(Self.heartbeat(6, nil, "other"), Self.otherHeader), "nothing is acknowledged")
        var asking = Self.heartbeat(7, nil, "other")
        asking.ask = .switchover(request: 3)
        #expect(try !repeats(asking, Self.otherHeader), "a question")
    }

    @Test func aHeartbeatIsWrittenAsItsDocument() throws {
        var writer = HeartbeatWriter()
        for (heartbeat, header) in Self.heartbeats {
            #expect(
                try writer.write(heartbeat, header) == JSON.encode(HeartbeatDocument(heartbeat, header)), "\(heartbeat.number)")
        }
    }

    @Test func aHeartbeatIsReadAsItsDocument() throws {
        var texts = try Self.heartbeats.map { try JSON.encode(HeartbeatDocument($0.0, $0.1)) }
        let good = String(decoding: try JSON.encode(HeartbeatDocument(Self.heartbeat(19), Self.header)), as: UTF8.self)
        let others = [
            ("\"number\":19", "\"number\":19.0"), ("\"number\":19", "\"number\":019"), ("\"number\":19", "\"number\":-1"),
            ("\"number\":19", "\"number\":"), ("\"number\":19", "\"number\":99999999999999999999"),
            ("\"number\":19", "\"number\": 19"),
            ("\"number\":19", "\"number\":1000000000000000000"), ("\"data_age_ms\":17", "\"data_age_ms\":-17"),
            ("\"data_age_ms\":17", "\"data_age_ms\":99999999999999999"), ("orders", "others"), ("\"to\":12", "\"to\":13"),
            ("}", "} "),
        ]
        let placed = String(
            decoding: try JSON.encode(HeartbeatDocument(Self.heartbeat(19, at: 0x1A_0000_0B0C), Self.header)), as: UTF8.self)
        texts += [
            ("1A/B0C", "1a/b0c"), ("1A/B0C", "01A/B0C"), ("1A/B0C", "1A/00000B0C"), ("1A/B0C", "1A/"), ("1A/B0C", "/B0C"),
            ("1A/B0C", "1A"),
            ("1A/B0C", "1A/B0G"), ("1A/B0C", "1A/000000B0C"), ("1A/B0C", "123456789/B0C"), ("1A/B0C", "1A/B0C "), ("1A/B0C", ""),
        ].flatMap { [placed, placed, placed.replacing($0.0, with: $0.1)].map { Array($0.utf8) } }
        texts += others.flatMap { [Array(good.utf8), Array(good.utf8), Array(good.replacing($0.0, with: $0.1).utf8)] }
        // Written in other words, again and again.
        texts += (1...4).map { Array(good.replacing("\"number\":19", with: "\"number\": \($0)").utf8) }
        var reader = HeartbeatReader()
        for text in texts {
            let words = String(decoding: text, as: UTF8.self)
            let wanted = Result { try JSON.decode(HeartbeatDocument.self, from: text).heartbeat() }
            let found = Result { try reader.read(text) }
            switch (wanted, found) {
            case (.success(let wanted), .success(let found)): #expect(wanted.0 == found.0 && wanted.1 == found.1, "\(words)")
            case (.failure, .failure): break
            default: Issue.record("\(words): \(wanted), but \(found)")
            }
        }
    }

    @Test func whatIsSaidToTheWitnessAndByItIsThatOfTheDocuments() throws {
        var writer = WitnessRequestWriter()
        var reader = WitnessAnswerReader()
        let ledger = Ledger(
            cluster: "orders", term: Term(9), step: 0, primary: "b", bond: .paired, primaryCopy: JournalStory.copyB,
            standbyCopy: JournalStory.copyA, arbiter: .witness, lease: .milliseconds(2500))
        let kinds: [WitnessRequest.Kind] = [
            .heartbeat(ledger, position: LSN(7)), .heartbeat(ledger, position: LSN(8)), .heartbeat(ledger, position: nil), .read,
            .sole(ledger), .establish(ledger, empty: SessionID(4)),
        ]
        var number: UInt64 = 8
        for header in [Self.header, Self.otherHeader] {
            for kind in kinds {
                for _ in 0..<4 {
                    number += 1
                    let request = WitnessRequest(number: number, node: "a", kind: kind)
                    #expect(try writer.write(request, header) == JSON.encode(WitnessRequestDocument(request, header)))
                }
            }
            for position in [LSN(7), LSN(8), nil] {
                for record in [ledger, ledger.sole(), nil] {
                    for number in [UInt64(1), 2, 3, WireLimit.count - 1, WireLimit.count, 4] {
                        let answer = WitnessAnswer(number: number, generation: 3, record: record, position: position)
                        let text = try JSON.encode(WitnessAnswerDocument(answer, header))
                        let found = Result { try reader.read(text) }
                        guard number < WireLimit.count else {
                            #expect(throws: WireError.self) { try found.get() }
                            continue
                        }
                        #expect(try found.get().0 == answer && found.get().1 == header)
                    }
                }
            }
        }
    }

    @Test func theJournalSaysOfAnEventThatComesAgainWhatItSaysOfTheFirst() throws {
        let witness = (1...9).map { number in
            Event.witness(
                WitnessAnswer(number: number, generation: 2, record: JournalStory.paired, promised: .seconds(2)), Self.header)
        }
        let beats = Self.heartbeats.map { Event.heartbeat($0.0, $0.1) }
        let seen = Event.postgres(JournalStory.instance(.running(isInRecovery: true)))
        var (writing, reading) = (JournalMemory(), JournalMemory())
        for (place, beat) in beats.enumerated() {
            for event in [beat, seen, .tick, witness[place % witness.count]] {
                let recorded = JournalEvent(
                    event: event, moment: Moment(boot: Instant(nanoseconds: 5), raw: Instant(nanoseconds: 6)), wall: 7,
                    effects: event == .tick ? ["send"] : [])
                let line = try recorded.line(&writing)
                let read = try JournalEvent(line.dropLast(), &reading)
                #expect(read.event == event, "\(String(decoding: line, as: UTF8.self))")
                #expect(read.effects == recorded.effects)
            }
        }
    }

    /// All this is of no use if it is not gone the short way.
    @Test func whatComesTheThirdTimeGoesTheShortWay() throws {
        var (writer, reader, memory) = (HeartbeatWriter(), HeartbeatReader(), JournalMemory())
        for number in 1...4 as ClosedRange<UInt64> {
            var heartbeat = Self.heartbeat(number, at: number * 0x2_0000_0004)
            heartbeat.acknowledged = number + 50
            heartbeat.report.dataAge = .milliseconds(Int64(number))
            _ = try reader.read(try writer.write(heartbeat, Self.header))
            let event = Event.heartbeat(heartbeat, Self.header)
            if number < 4 {
                let recorded = JournalEvent(
                    event: event, moment: Moment(boot: Instant(nanoseconds: 5), raw: Instant(nanoseconds: 6)), wall: 7,
                    effects: [])
                _ = try recorded.line(&memory)
            } else {
                let short = try #require(try memory.recurring(event))
                #expect(short.contains("like") && short.count < 240, "\(short)")
            }
        }
        #expect(writer.recurring.text != nil)
        #expect(reader.recurring.text != nil)
        var (requests, answers) = (WitnessRequestWriter(), WitnessAnswerReader())
        for number in 1...3 as ClosedRange<UInt64> {
            let kind = WitnessRequest.Kind.heartbeat(JournalStory.paired, position: LSN(number << 33))
            _ = try requests.write(WitnessRequest(number: number, node: "a", kind: kind), Self.header)
            let answer = WitnessAnswer(number: number, generation: 3, record: nil, position: LSN(number << 33))
            _ = try answers.read(try JSON.encode(WitnessAnswerDocument(answer, Self.header)))
        }
        #expect(requests.recurring.text != nil)
        #expect(answers.recurring.text != nil)
    }
}
