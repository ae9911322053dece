import TandemSystem
import Testing

@testable import TandemLab

@Suite("The client's log")
struct ClientLogTests {
    @Test("reads back what was written, in the order of acknowledgements, and leaves out a line that is being written")
    func readsBack() throws {
        let entries: [ClientEntry] = [
            .acknowledged(.init(writer: 2, seq: 9, node: "b", timeline: 3, sent: 50, acknowledged: 80)),
            .acknowledged(.init(writer: 1, seq: 8, node: "a", timeline: 2, sent: 40, acknowledged: 60)),
            .uncertain(.init(writer: 1, seq: 10, sent: 1, ended: 2, reason: "deadline")),
            .refused(.init(writer: 1, seq: 11, sent: 1, ended: 2, reason: "25006")),
            .read(.init(reader: 1, node: "b", inRecovery: true, sent: 5, answered: 6)),
            .error(who: "w1", at: 7, kind: "connection", text: "could not connect\nto server"),
        ]
        let text = entries.map { $0.line + "\n" }.joined() + "A 1 12 a 2 41 6"
        let log = ClientLog(text)
        #expect(log.acknowledged.map(\.seq) == [8, 9])
        #expect(log.uncertain.map(\.reason) == ["deadline"])
        #expect(log.refused.map(\.reason) == ["25006"])
        #expect(log.reads.first?.inRecovery == true)
        #expect(log.errors.map(\.text) == ["could not connect to server"])
    }

    @Test("tells the longest gap and the usual one, also over the edges of the window")
    func outages() {
        var log = ClientLog()
        for time: Int64 in [0, 10, 20, 30, 1030, 1040, 1050] {
            log.acknowledged.append(.init(writer: 1, seq: time, node: "a", timeline: 1, sent: time, acknowledged: time))
        }
        let whole = log.writeOutage(from: 0, to: 1050)
        #expect(whole.longestGap == .nanoseconds(1000) && whole.began == 30 && whole.ended == 1030 && whole.hasEnded)
        #expect(whole.usualGap == .nanoseconds(10) && whole.answers == 7)
        // A window that begins in the middle of the outage sees all of it.
        #expect(log.writeOutage(from: 500, to: 1050).longestGap == .nanoseconds(1000))
        #expect(log.writeOutage(from: 5, to: 500).longestGap == .nanoseconds(1000))
        let open = log.writeOutage(from: 1035, to: 5000)
        #expect(open.longestGap == .nanoseconds(3950) && !open.hasEnded)
        #expect(log.readOutage(from: 0, to: 100).longestGap == .nanoseconds(100))
    }

    @Test("has counters that are never read half written")
    func counters() {
        var counters = LoadCounters()
        counters.acknowledged = 12
        counters.lastAcknowledgement = 34
        counters.writeNode = "a"
        let line = String(decoding: counters.line(generation: 7), as: UTF8.self)
        #expect(line.utf8.count == 512)
        #expect(LoadCounters(line: line) == counters)
        #expect(LoadCounters(line: line.replacing(" 7 ", with: " 8 ")) == nil)
    }
}
