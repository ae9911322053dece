import TandemSystem
import Testing

@testable import TandemLab

/// Ten minutes of a sound pair: a acknowledges, then b after a failover, then a again; and what can be planted in it.
private struct History {
    var log = ClientLog()
    var rows: [Checker.Row] = []
    var sightings: [Sighting] = []
    private let millisecond: Int64 = 1_000_000

    static let (cardA, cardB) = ("02:77:00:00:00:0b", "02:77:00:00:00:0c")

    /// Commits of two writers every 10 ms in a stretch of time (milliseconds).
    mutating func commits(_ node: String, timeline: UInt32, from: Int64, to: Int64) {
        for at in stride(from: from, to: to, by: 10) {
            for writer in 1...2 {
                commit(writer, at, node, timeline, sent: at, acknowledged: at + 3)
            }
        }
    }

    mutating func commit(
        _ writer: Int, _ seq: Int64, _ node: String, _ timeline: UInt32, sent: Int64, acknowledged: Int64, stored: Bool = true
    ) {
        log.acknowledged.append(
            AcknowledgedCommit(
                writer: writer, seq: seq, node: node, timeline: timeline, sent: sent * millisecond,
                acknowledged: acknowledged * millisecond))
        if stored { rows.append(Checker.Row(writer: writer, seq: seq)) }
    }

    mutating func reads(_ node: String, from: Int64, to: Int64) {
        for at in stride(from: from, to: to, by: 20) {
            log.reads.append(
                AnsweredRead(
                    reader: 1, node: node, inRecovery: true, sent: at * millisecond, answered: (at + 1) * millisecond))
        }
    }

    mutating func answers(_ hardware: String, _ address: String, from: Int64, to: Int64) {
        for at in stride(from: from, to: to, by: 50) {
            sightings.append(
                Sighting(time: at * millisecond, address: address, hardware: hardware, source: .answered))
        }
    }

    /// a is primary for 3 s, dies; b is primary from 4 s on, a comes back as standby at 6 s; they change again at 9 s.
    static func sound() -> History {
        var it = History()
        it.commits("a", timeline: 1, from: 0, to: 3000)
        it.commits("b", timeline: 2, from: 4000, to: 9000)
        it.commits("a", timeline: 3, from: 9200, to: 12000)
        it.reads("b", from: 0, to: 9100)
        it.reads("a", from: 6000, to: 6001)
        it.reads("b", from: 9300, to: 12000)
        it.answers(cardA, "10.77.0.100", from: 0, to: 3000)
        it.answers(cardB, "10.77.0.100", from: 3900, to: 9000)
        it.answers(cardA, "10.77.0.100", from: 9150, to: 12000)
        return it
    }

    func report() -> CheckReport {
        var sorted = log
        sorted.sort()
        return Checker(log: sorted, rows: rows, sightings: sightings).check()
    }

    func broken() -> [Violation.Promise] { report().violations.map(\.promise) }
}

@Suite("The checker")
struct CheckerTests {
    @Test("finds nothing in a sound history with a failover and a switchover")
    func sound() {
        let report = History.sound().report()
        #expect(report.violations == [])
        #expect(report.lost == 0 && report.acknowledged > 2000)
        #expect(report.longestWriteGap == .milliseconds(1010))
    }

    @Test("notices an acknowledged commit that is not there")
    func lostCommit() throws {
        var it = History.sound()
        it.commit(1, 99_999, "a", 1, sent: 2995, acknowledged: 2999, stored: false)
        let report = it.report()
        #expect(report.violations.map(\.promise) == [.acknowledgedCommitsStay])
        #expect(report.lost == 1)
        #expect(try #require(report.violations.first).evidence.contains("acknowledged by a at 2.999 s on timeline 1"))
    }

    @Test("notices a commit that is there twice")
    func duplicate() {
        var it = History.sound()
        it.rows.append(it.rows[17])
        #expect(it.broken() == [.acknowledgedCommitsStay])
    }

    @Test("notices a row that nobody wrote, and one that the server had refused")
    func phantom() {
        var it = History.sound()
        it.rows.append(Checker.Row(writer: 7, seq: 1))
        #expect(it.broken() == [.nothingAppears])
        it = History.sound()
        it.log.refused.append(UnacknowledgedCommit(writer: 2, seq: 77_777, sent: 1, ended: 2, reason: "25006"))
        #expect(it.broken() == [])
        it.rows.append(Checker.Row(writer: 2, seq: 77_777))
        #expect(it.broken() == [.nothingAppears])
    }

    @Test("lets an uncertain commit be there or not, but not twice")
    func uncertain() {
        var it = History.sound()
        it.log.uncertain.append(UnacknowledgedCommit(writer: 2, seq: 88_888, sent: 1, ended: 2, reason: "deadline"))
        #expect(it.broken() == [])
        #expect(it.report().uncertainPresent == 0)
        it.rows.append(Checker.Row(writer: 2, seq: 88_888))
        #expect(it.broken() == [])
        #expect(it.report().uncertainPresent == 1)
        it.rows.append(Checker.Row(writer: 2, seq: 88_888))
        #expect(it.broken() == [.acknowledgedCommitsStay])
    }

    @Test("notices one commit on the old timeline that was sent after the new one had acknowledged")
    func splitBrain() throws {
        var it = History.sound()
        it.commit(1, 99_999, "a", 1, sent: 4010, acknowledged: 4015)
        #expect(it.broken() == [.oneAcknowledgerAtATime])
        #expect(try #require(it.report().violations.first).evidence.contains("(1 such commits)"))
    }

    @Test("does not blame an answer that was only late")
    func lateAnswer() {
        var it = History.sound()
        it.commit(1, 99_999, "a", 1, sent: 2999, acknowledged: 4500)
        #expect(it.broken() == [])
    }

    @Test("notices a timeline that two hosts wrote, even far apart")
    func sharedTimeline() {
        var it = History.sound()
        it.commit(1, 99_999, "b", 1, sent: 3500, acknowledged: 3502)
        #expect(it.broken() == [.oneAcknowledgerAtATime])
    }

    @Test("notices two hosts that answer for one address, and forgives what is shorter than half a second")
    func twoAnswerers() throws {
        var it = History.sound()
        it.answers(History.cardB, "10.77.0.100", from: 2600, to: 3900)
        #expect(it.broken() == [])
        it.answers(History.cardB, "10.77.0.100", from: 2300, to: 2600)
        #expect(it.broken() == [.oneHostPerAddress])
        #expect(try #require(it.report().violations.first).evidence.contains("for 650 ms"))
        // Each host with an address of its own is as it should be.
        it = History.sound()
        it.answers(History.cardB, "10.77.0.101", from: 0, to: 12000)
        #expect(it.broken() == [])
    }

    @Test("notices reads that come from two hosts at a time")
    func twoReaders() {
        var it = History.sound()
        it.reads("a", from: 5000, to: 5700)
        #expect(it.broken() == [.oneReaderAtATime])
    }

    @Test("refuses a table that it cannot read instead of calling it lost")
    func unreadableTable() throws {
        #expect(try Checker.rows(from: ["1|2", "3|4"]) == [.init(writer: 1, seq: 2), .init(writer: 3, seq: 4)])
        #expect(throws: LabError.self) { try Checker.rows(from: ["1|2", "psql: warning"]) }
    }
}
