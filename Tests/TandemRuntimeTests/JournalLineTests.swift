import Glibc
import TandemCore
import TandemWire
import Testing

@testable import TandemRuntime

/// What stands in a line comes back as what it was.
@Suite struct JournalLineTests {
    private static let ledger = JournalStory.paired
    private static let witnessed = Ledger(
        cluster: "orders", term: Term(9), step: 0, primary: "b", bond: .paired, primaryCopy: JournalStory.copyB,
        standbyCopy: JournalStory.copyA, arbiter: .witness, lease: .milliseconds(2500), handoverEnd: LSN(0x16_B374_D848))
    private static let header = Heartbeat.Header(sender: SessionID(.max >> 1), receiver: SessionID(1 << 63 | 5))
    private static let moment = Moment(boot: Instant(nanoseconds: 1 << 52), raw: Instant(nanoseconds: 12_345))
    /// Everything that has a meaning in the file's own grammar.
    private static let nasty = "a \"quoted\", 100:200 {x} [y] \\ / é ☃ \u{1F9EA} \n,\"event\":{\"tick\":{}}}"

    private static func heartbeat(_ ask: Heartbeat.Ask?, _ answer: Heartbeat.Answer?) -> Event {
        guard case .heartbeat(var heartbeat, _) = JournalStory.heartbeat(7) else { return .tick }
        heartbeat.ask = ask
        heartbeat.answer = answer
        heartbeat.promised = .milliseconds(2001)
        heartbeat.report.dataAge = .nanoseconds(1)
        heartbeat.report.refusals = [RefusalNote(code: "busy", text: nasty)]
        heartbeat.report.seesGateway = false
        return .heartbeat(heartbeat, header)
    }

    private static func postgres(_ condition: LocalPostgres.Condition) -> Event {
        var seen = JournalStory.instance(condition)
        seen.capacity = .init(connections: 100, workers: 8, senders: 10, preparedTransactions: 0, locks: 64)
        seen.synchronousStandbyNames = JournalStory.copyA.synchronousStandbyNames
        seen.systemIdentifier = .max
        return .postgres(seen)
    }

    /// Every case of `Event`, with every shape of what is in it.
    static let events: [Event] =
        [
            .started(.init(session: SessionID(1), boot: BootID("b"), ledger: nil)),
            .started(
                .init(
                    session: SessionID(.max), boot: BootID("b"), ledger: witnessed.pausing(isAwaited: true),
                    notes: Notes(
                        peerHeardIn: BootID("b"), follows: LSN(7), witness: WitnessSeen(generation: 3, term: Term(8), step: 1),
                        isForeign: true, roleKeptIn: Term(8)),
                    guardUntil: moment)),
            .tick, .hello(session: SessionID(3)), .linkLost, .witnessHello(session: SessionID(4)), .guardEnded,
            .gateway(isSeen: true), .storage(.well), .storage(.low(nasty)), .storage(.full(nasty)), .storage(.readOnly(nasty)),
            .storage(.failing(nasty)), .storage(.hangs(nasty, for: .seconds(3))), .storage(.gone(nasty)),
            .gateway(isSeen: false), .windows(.init(rejoin: false, failback: true)), .ledgerWritten(ledger),
            .ledgerNotWritten(witnessed, nasty), .stopRequested,
            .witness(WitnessAnswer(number: 1, generation: 2, record: nil), header),
            .witness(WitnessAnswer(number: 1, generation: 2, record: witnessed, promised: .seconds(2), position: LSN(9)), header),
            .addresses(.init(primary: .all, standby: .some)), .configurationsCompared(differing: []),
            .configurationsCompared(differing: ["timing", nasty]),
            .command(.switchover(to: nil, dryRun: true), RequestID(1)),
            .command(.switchover(to: "b", dryRun: false), RequestID(.max)),
            .command(.failover(acceptDataLoss: true), RequestID(2)), .command(.pause(maintenance: true), RequestID(3)),
            .command(.resume, RequestID(4)), .command(.join(copy: JournalStory.copyB), RequestID(5)),
            heartbeat(nil, nil), heartbeat(.consent(ledger.sole()), .prepared(handover: 1, replayed: LSN(2))),
            heartbeat(.prepare(handover: 3), .notPrepared(handover: 4, [RefusalNote(code: "c", text: "t")])),
            heartbeat(.switchover(request: 5), .requestRefused(request: 6, [])),
            heartbeat(.pause(request: 7, maintenance: true), .requestDone(request: 8, nasty)),
            heartbeat(.resume(request: 9), nil),
        ]
        + [Outcome.done, .position(LSN(.max)), .promoted(timeline: .max, fork: LSN(1)), .failed(nasty)].map {
            .completed(OperationID(5), $0)
        }
        + [
            LocalPostgres.Condition.stopped, .starting(nasty), .orphaned(processes: 3), .running(isInRecovery: true),
            .running(isInRecovery: false), .silent(.milliseconds(10_500)), .unusable("not mounted"),
        ].map(postgres)

    private func carried(_ events: [Event]) throws -> [JournalEvent] {
        var (writing, reading) = (JournalMemory(), JournalMemory())
        return try events.map { event in
            let line = try JournalEvent(
                event: event, moment: Self.moment, wall: 1_785_000_000_123, effects: ["send", "start standby"]
            )
            .line(&writing)
            #expect(line.last == UInt8(ascii: "\n") && line.dropLast().allSatisfy { $0 != UInt8(ascii: "\n") }, "one line")
            return try JournalEvent(line.dropLast(), &reading)
        }
    }

    /// Whoever adds a case to `Event` adds it to the list above: this one does not compile then.
    private func isListed(_ event: Event) -> Bool {
        switch event {
        case .started, .tick, .postgres, .hello, .linkLost, .heartbeat, .witnessHello, .witness, .guardEnded, .gateway, .windows,
            .storage, .ledgerWritten,
            .ledgerNotWritten, .completed, .addresses, .configurationsCompared, .command, .stopRequested:
            true
        }
    }

    @Test func everyEventComesBackAsItWas() throws {
        #expect(Self.events.allSatisfy(isListed))
        #expect(Set(Self.events.map(\.word)).count == 19)
        // Twice, and mixed: the second time most of them are written as what differs from the ones before.
        let all = Self.events + Self.events.reversed() + Self.events
        let read = try carried(all)
        #expect(read.map(\.event) == all)
        for event in read {
            #expect(event.moment == Self.moment)
            #expect(event.wall == 1_785_000_000_123)
            #expect(event.effects == ["send", "start standby"])
        }
    }

    @Test func anEventLikeTheLastOneOfItsKindIsShort() throws {
        var memory = JournalMemory()
        var lengths: [Int] = []
        for number in UInt64(1000)...1009 {
            let event = JournalEvent(
                event: JournalStory.heartbeat(number), moment: Self.moment, wall: 1_785_000_000_123, effects: ["send"])
            lengths.append(try event.line(&memory).count)
        }
        #expect(lengths[0] > 1000, "the first one is whole: \(lengths)")
        #expect(lengths[1...].allSatisfy { $0 < 200 }, "the others have what differs: \(lengths)")
    }

    /// The heartbeat row alone moves the positions once a second: that is nothing to write a whole event for, on either host.
    @Test func positionsThatMoveGoTheShortWay() throws {
        func event(_ turn: UInt64, isPrimary: Bool) -> Event {
            guard case .postgres(var seen) = Self.postgres(.running(isInRecovery: !isPrimary)) else { return .tick }
            let position = LSN(0x300_0000 + turn * 0x120)
            (seen.received, seen.replayed) = isPrimary ? (nil, nil) : (position, position)
            seen.flushed = isPrimary ? LSN(position.bytes + 8) : nil
            seen.row = HeartbeatRow(beat: turn, turn: turn * 3, shownAge: isPrimary ? nil : .microseconds(Int64(turn) * 11))
            let replica = LocalPostgres.Replica(
                applicationName: "pgtandem_b", address: "10.0.0.2", isStreaming: true, isSynchronous: true, flushed: position,
                replayed: LSN(position.bytes - 8))
            seen.replicas = isPrimary ? [replica] : []
            return .postgres(seen)
        }
        for isPrimary in [true, false] {
            let events = (1...9).map { event($0, isPrimary: isPrimary) }
            #expect(try carried(events).map(\.event) == events)
            var memory = JournalMemory()
            for (index, event) in events.enumerated() {
                let line = try JournalEvent(event: event, moment: Self.moment, wall: 1, effects: []).line(&memory)
                if index > 1 { #expect(line.count < 250, "\(String(decoding: line, as: UTF8.self))") }
            }
            #expect(try memory.recurring(event(10, isPrimary: isPrimary)) != nil)
        }
    }

    @Test func theWallTimeIsKeptWhenItIsSet() throws {
        var (writing, reading) = (JournalMemory(), JournalMemory())
        let base: Int64 = 1_785_000_000_000
        // Half a second passes each time; then somebody sets the clock back by an hour, and later a little forward.
        let walls = [base, base + 500, base + 1001, base + 1500 - 3_600_000, base + 2000 - 3_600_000, base + 2510 - 3_600_000]
        var lengths: [Int] = []
        for (index, wall) in walls.enumerated() {
            let moment = Moment(boot: Instant(nanoseconds: Int64(index) * 500_000_000), raw: Instant(nanoseconds: 5))
            let line = try JournalEvent(event: .tick, moment: moment, wall: wall, effects: []).line(&writing)
            lengths.append(line.count)
            let read = try JournalEvent(line.dropLast(), &reading)
            #expect(abs(read.wall - wall) <= 1, "to the millisecond: \(index)")
        }
        #expect(lengths[1] < lengths[0] && lengths[4] < lengths[3], "left out where it can be told: \(lengths)")
    }

    @Test(arguments: [
        "", "{", "{\"t\":[1,2]}", "{\"t\":[1],\"wall\":1,\"event\":{\"tick\":{}}}", "{\"t\":[1,2],\"event\":{\"tick\":{}}}",
        "{\"t\":[1,2],\"wall\":1,\"event\":{\"tock\":{}}}", "{\"t\":[1,2],\"wall\":1,\"event\":{\"tick\":{}}",
        "{\"t\":[1,2],\"wall\":1,\"like\":\"tick\"}", "{\"t\":[-1,2],\"wall\":1,\"event\":{\"tick\":{}}}",
        "{\"t\":[1,9223372036854775807],\"wall\":1,\"event\":{\"tick\":{}}}", "\u{0}\u{0}\u{0}",
    ])
    func aLineThatIsNoneIsRefused(line: String) {
        #expect(throws: WireError.self) {
            var memory = JournalMemory()
            _ = try JournalEvent(Array(line.utf8)[...], &memory)
        }
    }

    @Test func aChangeOfWhatIsNotThereIsRefused() throws {
        var (writing, reading) = (JournalMemory(), JournalMemory())
        let tick = try JournalEvent(event: .tick, moment: Self.moment, wall: 1, effects: []).line(&writing)
        _ = try JournalEvent(tick.dropLast(), &reading)
        for place in ["9", "-1", "x"] {
            let line = "{\"t\":[1,2],\"wall\":1,\"like\":\"tick\",\"with\":{\"\(place)\":\"1\"}}"
            #expect(throws: WireError.self) { _ = try JournalEvent(Array(line.utf8)[...], &reading) }
        }
    }

    /// By the thread's own time: other work on this machine does not count.
    @Test func aLineIsMadeInFarLessThanAMillisecond() throws {
        func threadTime() -> Int64 {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
        }
        var memory = JournalMemory()
        let count: UInt64 = 300
        var events: [Event] = []
        for number in 1...count {
            events += [JournalStory.heartbeat(number), Self.postgres(.running(isInRecovery: number % 2 == 0)), .tick]
        }
        let began = threadTime()
        for event in events { _ = try JournalEvent(event: event, moment: Self.moment, wall: 1, effects: ["send"]).line(&memory) }
        let each = (threadTime() - began) / Int64(events.count)
        print("a line of the journal is made in \(each / 1000) µs")
        #expect(each < 1_000_000)
    }
}
