import Glibc
import Synchronization
import Testing

@testable import TandemCore
@testable import TandemPostgres
@testable import TandemSystem

/// What a watch delivered, with the time of each.
private final class Seen: Sendable {
    let all = Mutex<[(at: Int64, facts: LocalPostgres)]>([])
    var last: LocalPostgres? { all.withLock { $0.last?.facts } }
    var count: Int { all.withLock { $0.count } }

    func add(_ facts: LocalPostgres) { all.withLock { $0.append((SystemClock.now(), facts)) } }

    func first(after: Int64, _ condition: (LocalPostgres.Condition) -> Bool) -> Int64? {
        all.withLock { all in all.first { $0.at >= after && condition($0.facts.condition) }?.at }
    }

    func await(_ what: String, within: Duration = .seconds(15), _ fact: (LocalPostgres) -> Bool) throws {
        do {
            try eventually(what, within: within) { last.map(fact) ?? false }
        } catch {
            print("last seen: \(String(describing: last))")
            throw error
        }
    }
}

@Suite(.serialized) struct WatchTests {
    private func watching(
        _ settings: InstanceSettings, _ patience: Watch.Patience = Watch.Patience(), _ body: (Seen, Watch) throws -> Void
    ) throws {
        let seen = Seen()
        let watch = try Watch(settings, patience: patience) { seen.add($0) }
        try watch.start()
        defer { watch.stop() }
        try body(seen, watch)
    }

    @Test func watchSeesPrimaryAndStandbyAndEveryFact() throws {
        try Scratch.run { scratch in
            let primary = try scratch.server("a")
            let copy = try #require(CopyID(String(repeating: "0b", count: 16)))
            try CopyMarkFile.write(
                LocalPostgres.CopyMark(copy: copy, node: "a"), primary.settings.dataDirectory, osUser: "postgres")
            try watching(primary.settings) { seen, _ in
                try seen.await("stopped") { $0.condition == .stopped && $0.copy?.copy == copy }
                #expect(try seen.last?.majorVersion == Scratch.majorVersion())
                let identifier = try primary.instance.controlData().systemIdentifier
                #expect(seen.last?.systemIdentifier == identifier)
                _ = try primary.instance.start(.primary, deadline: .seconds(30))
                try seen.await("running") { $0.isOpen && $0.flushed != nil && $0.capacity != nil }
                #expect(seen.last?.timeline == 1)
                #expect(seen.last?.systemIdentifier == identifier)
                #expect(seen.last?.capacity?.connections == 20)
                #expect(seen.last?.synchronousStandbyNames == "")

                let standby = try scratch.standby(
                    of: primary, "b", "primary_conninfo = '\(primary.conninfo(as: "pgtandem_x"))'")
                _ = try standby.instance.start(.standby, deadline: .seconds(30))
                try seen.await("a replica streams") { facts in
                    facts.replicas.contains { $0.applicationName == "pgtandem_x" && $0.isStreaming && !$0.isSynchronous }
                }
                try watching(standby.settings) { other, _ in
                    try other.await("the standby streams") { $0.isRecovering && $0.isStreaming && $0.received != nil }
                    #expect(other.last?.timeline == 1)
                    #expect(other.last?.isDelayed == false)
                    _ = primary.instance.endAll(deadline: .seconds(5))
                    try seen.await("stopped") { $0.condition == .stopped && $0.flushed == nil && $0.replicas.isEmpty }
                    _ = try standby.instance.promote(deadline: .seconds(20))
                    // The control file still says 1 here.
                    try other.await("open on timeline 2") { $0.isOpen && $0.timeline == 2 }
                }
            }
        }
    }

    /// By a person, and by PostgreSQL itself when a setting is lower than the primary's (section 9).
    @Test func pausedReplayIsSeenWhoeverPausedIt() throws {
        try Scratch.run { scratch in
            let primary = try scratch.server("a")
            _ = try primary.instance.start(.primary, deadline: .seconds(30))
            let standby = try scratch.standby(of: primary, "b", "primary_conninfo = '\(primary.conninfo(as: "pgtandem_x"))'")
            _ = try standby.instance.start(.standby, deadline: .seconds(30))
            try watching(standby.settings) { seen, _ in
                try seen.await("it replays") { $0.isRecovering && $0.isStreaming && $0.isReplayPaused == false }
                try standby.sql("select pg_wal_replay_pause()")
                try seen.await("paused") { $0.isReplayPaused == true }
                try standby.sql("select pg_wal_replay_resume()")
                try seen.await("it replays again") { $0.isReplayPaused == false }
                try primary.sql("alter system set max_connections = 40")
                _ = try primary.instance.stop(.fast, deadline: .seconds(30))
                _ = try primary.instance.start(.primary, deadline: .seconds(30))
                try seen.await("paused by PostgreSQL") { $0.isReplayPaused == true && $0.isRecovering }
                #expect(try #require(seen.last?.capacity).connections == 20)
                try watching(primary.settings) { there, _ in
                    try there.await("the primary's settings") { $0.capacity?.connections == 40 && $0.isReplayPaused == nil }
                    #expect(there.last?.capacity.flatMap { seen.last?.capacity?.shortfalls(against: $0) } == ["max_connections"])
                }
            }
        }
    }

    @Test func endOfThePostmasterIsDeliveredAtOnceWithItsOrphans() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a")
            let postmaster = try server.instance.start(.primary, deadline: .seconds(30)).postmaster
            var patience = Watch.Patience()
            patience.interval = .seconds(1)
            try watching(server.settings, patience) { seen, _ in
                try seen.await("running") { $0.isOpen }
                let busy = try server.session()
                try busy.begin("select count(*) from generate_series(1, 1000000000)")
                let killed = SystemClock.now()
                _ = ProcessTable.signal(postmaster.pid, SIGKILL)
                try seen.await("orphaned") { if case .orphaned = $0.condition { true } else { false } }
                let noticed = try #require(
                    seen.first(after: killed) { if case .orphaned = $0 { true } else { $0 == .stopped } })
                print("end of the postmaster delivered after \((noticed - killed) / 1000) us")
                #expect(noticed - killed < 500_000_000)
                _ = server.instance.endAll(deadline: .seconds(5))
                try seen.await("stopped", within: .seconds(1)) { $0.condition == .stopped }
            }
        }
    }

    @Test func silenceIsToldAndEndsWithTheFirstAnswer() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a")
            let postmaster = try server.instance.start(.primary, deadline: .seconds(30)).postmaster
            var patience = Watch.Patience()
            patience.newSessionAnswer = .seconds(3)
            patience.statement = .seconds(1)
            try watching(server.settings, patience) { seen, _ in
                try seen.await("running") { $0.isOpen && $0.flushed != nil }
                // The postmaster is stopped, and old sessions go on: first it is running, then silent.
                _ = ProcessTable.signal(postmaster.pid, SIGSTOP)
                defer { _ = ProcessTable.signal(postmaster.pid, SIGCONT) }
                let stopped = SystemClock.now()
                try seen.await("silent") { if case .silent = $0.condition { true } else { false } }
                let silent = try #require(
                    seen.first(after: stopped) { if case .silent = $0 { true } else { false } })
                #expect(silent - stopped > 1_500_000_000)
                let before = seen.count
                try eventually("it keeps telling") { seen.count > before + 5 }
                _ = ProcessTable.signal(postmaster.pid, SIGCONT)
                try seen.await("running again") { $0.isOpen }
                // Every process is stopped: silent at once.
                let all = server.instance.livingProcesses()
                for pid in all { _ = ProcessTable.signal(pid, SIGSTOP) }
                defer { for pid in all { _ = ProcessTable.signal(pid, SIGCONT) } }
                try seen.await("silent", within: .seconds(3)) { if case .silent = $0.condition { true } else { false } }
                for pid in all { _ = ProcessTable.signal(pid, SIGCONT) }
                try seen.await("running again") { $0.isOpen }
            }
        }
    }

    @Test func outOfConnectionSlotsIsRunning() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a", "max_connections = 6\nsuperuser_reserved_connections = 0\nmax_wal_senders = 0")
            _ = try server.instance.start(.primary, deadline: .seconds(30))
            var crowd: [Session] = []
            #expect(throws: SessionError.self) {
                while crowd.count < 20 { crowd.append(try server.session()) }
            }
            var patience = Watch.Patience()
            patience.newSessionAnswer = .seconds(1)
            try watching(server.settings, patience) { seen, _ in
                try seen.await("running") { $0.isOpen }
                // For longer than any patience.
                let until = SystemClock.now() + 2_000_000_000
                try eventually("time goes by") { SystemClock.now() > until }
                #expect(seen.last?.isOpen == true)
                for session in crowd { session.close() }
                try seen.await("its facts are there") { $0.isOpen && $0.flushed != nil }
            }
        }
    }

    @Test func anUnusableDataDirectoryIsNamed() throws {
        try Scratch.run { scratch in
            let settings = try scratch.settings("a")
            try watching(settings) { seen, watch in
                func text() -> String { if case .unusable(let text) = seen.last?.condition { text } else { "" } }
                try eventually("missing") { text().contains("does not exist") }
                #expect(mkdir(settings.dataDirectory, 0o700) == 0)
                watch.poke()
                try eventually("empty") { text().contains("is empty") }
                try DurableFile.write([], to: settings.dataDirectory + "/x", mode: 0o600)
                try eventually("no data directory") { text().contains("PG_VERSION") }
            }
        }
    }

    @Test func anotherServerAtTheSameSocketIsNotOurs() throws {
        try Scratch.run { scratch in
            let other = try scratch.server("other")
            _ = try other.instance.start(.primary, deadline: .seconds(30))
            // Ours hears elsewhere, and the settings lead to the other one.
            let ours = try scratch.server("ours")
            _ = try ours.instance.start(.primary, deadline: .seconds(30))
            var wrong = ours.settings
            wrong.port = other.settings.port
            wrong.socketDirectory = other.settings.socketDirectory
            try watching(wrong) { seen, _ in
                try seen.await("silent") { if case .silent = $0.condition { true } else { false } }
                #expect(!seen.all.withLock { $0.contains { $0.facts.isRunning } })
            }
        }
    }

    @Test func whatHasNotChangedIsToldSeldomAndWhatHasAtTheNextLook() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a")
            _ = try server.instance.start(.primary, deadline: .seconds(30))
            try watching(server.settings) { seen, watch in
                try seen.await("running") { $0.isOpen && $0.flushed != nil && $0.capacity != nil }
                let session = try server.session()
                defer { session.close() }
                let (begun, before) = (SystemClock.now(), seen.count)
                let until = begun + 3_000_000_000
                try eventually("time goes by") { SystemClock.now() > until }
                let told = seen.count - before
                #expect((2...15).contains(told), "30 looks in 3 s, and hardly any news: told \(told) times")
                _ = try session.query("select pg_switch_wal()", deadline: .seconds(5))
                _ = try session.query("checkpoint", deadline: .seconds(5))
                let flushed = try session.query("select pg_current_wal_flush_lsn()", deadline: .seconds(5)).rows.first?.first
                let position = try #require(flushed.flatMap { $0.flatMap { LSN($0) } })
                try seen.await("the new position", within: .seconds(2)) { ($0.flushed ?? LSN(0)) >= position }
                // After something was done to the instance, it is told at each interval for a while.
                let count = seen.count
                watch.poke()
                try eventually("told again and again", within: .seconds(2)) { seen.count >= count + 5 }
            }
        }
    }
}
