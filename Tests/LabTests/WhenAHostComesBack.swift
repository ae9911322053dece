import Foundation
import TandemLab
import TandemRuntime
import TandemSystem
import TandemWire
import Testing

extension OnHosts {
    /// Failures end by themselves in the state before them, and a DBA can read what happened to the data.
    @Suite struct WhenAHostComesBack {
        /// The power of the preferred host fails: the other one takes over, and gives the role back once everything is well.
        @Test func thePreferredHostGetsItsRoleBackAndTheHistoryTellsIt() throws {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            configuration.more = "preferred_primary: a\nfailback: { notice: 3s }"
            try PairOnHosts.story(configuration) { pair in
                try pair.a.powerOff()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(100)
                // Its side is told while the other host is gone, and what is missing is said.
                let alone = try pair.b.run([PairOnHosts.binaryInside, "history", "--last", "1"], deadline: .seconds(30))
                #expect(alone.ending == .exited(0) && alone.output.contains("b: standby -> primary_standby"), "\(alone)")
                #expect(alone.errors.contains("a was asked for its side: the agent on a cannot be reached"), "\(alone.errors)")
                try pair.a.boot()
                try pair.wait("the failback is announced", upTo: .seconds(60)) {
                    pair.statusIfAny(pair.b)?.notes.contains {
                        $0.contains("a is the preferred primary, and a is ready: it gets the role in")
                    }
                        ?? false
                }
                let began = SystemClock.now()
                try pair.waitUntilWhole(primary: "a")
                try pair.letClientsWrite(100)
                // A handover, not a second failover.
                let outage = try pair.outage(since: began).writes
                #expect(outage.longestGap < .seconds(1), "\(outage.longestGap)")

                let there = try pair.history(pair.b)
                let takeover = try #require(there.first { $0.cause == "granted" }, "\(there)")
                #expect(takeover.from == "standby" && takeover.to == "primary_standby" && takeover.bond == "sole", "\(takeover)")
                #expect(takeover.lost?.acknowledged == .no)
                #expect(takeover.phases.map(\.name) == ["detection", "promotion", "address"], "\(takeover.phases)")
                let out = try #require(takeover.writes_out_ms)
                #expect(out > 1000 && out < 2500, "the lease, and the promotion: \(takeover)")
                #expect(takeover.evidence.contains { $0.hasPrefix("nothing was heard from a for") }, "\(takeover.evidence)")
                #expect(takeover.wal?.fork != nil && takeover.wal?.timeline ?? 0 > 1, "\(takeover)")
                let given = try #require(there.last { $0.cause == "preference" }, "\(there)")
                #expect(given.to == "standby" && given.from.hasPrefix("primary"), "\(given)")
                let taken = try #require(try pair.history(pair.a).last { $0.cause == "handoverTaken" })
                #expect(taken.to.hasPrefix("primary") && taken.lost?.acknowledged == .no, "\(taken)")
                #expect(taken.writes_out_ms.map { $0 < 1000 } ?? false, "\(taken)")

                // For a person.
                let text = try pair.ask(pair.b, "history", "--local", "--last", "2")
                #expect(text.contains("primary_standby"), "\(text)")
                #expect(text.contains("why     "), "\(text)")
                #expect(text.hasSuffix("\nonly b's side; a has its own (`pgtandem history` there)\n"), "\(text)")

                // Either host tells both sides, in the order of time: b's failover, then a's return of the role.
                for host in [pair.a, pair.b] {
                    let both = try pair.history(host, isLocal: false)
                    #expect(both.map(\.at) == both.map(\.at).sorted() && Set(both.map(\.node)) == ["a", "b"], "\(both)")
                    #expect(both.contains(takeover) && both.contains(taken) && both.last?.at ?? "" >= given.at, "\(both)")
                }
            }
        }

        @Test func aPersonSaysNoToTheFailbackAtEitherHost() throws {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            configuration.more = "preferred_primary: b\nfailback: { notice: 15s }"
            try PairOnHosts.story(configuration) { pair in
                let answer = try pair.ask(pair.b, "switchover", "--cancel")
                #expect(answer.contains("a stays primary until the role changes for another reason"), "\(answer)")
                pair.letTimePass(.seconds(17))
                #expect(pair.isWhole(primary: "a"))
                #expect(try pair.status(pair.a).notes.contains { $0.contains("a person keeps the role here") })
                let both = try pair.a.run([PairOnHosts.binaryInside, "switchover", "--cancel", "--dry-run"])
                #expect(both.ending == .exited(2) && both.errors.contains("--cancel stands alone"), "\(both)")
            }
        }

        /// It follows well, and a new copy is made all the same: the old directory stays beside it, and commits go on.
        @Test func aNewCopyIsMadeWhenAPersonAsks() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let old = try pair.copyMark(pair.b)
                let refusal = try pair.refused(pair.a, "rejoin")
                #expect(refusal.contains("only a standby can come back"), "\(refusal)")
                let already = try pair.ask(pair.b, "rejoin")
                #expect(already.contains("b follows a already"), "\(already)")
                #expect(try pair.copyMark(pair.b) == old)

                let began = SystemClock.now()
                let text = try pair.ask(pair.b, "rejoin", "--fresh")
                #expect(text.contains("b gets a new copy of a's data"), "\(text)")
                #expect(text.contains("b is back as the standby, paired"), "\(text)")
                #expect(try pair.copyMark(pair.b) != old)
                try pair.waitUntilWhole(primary: "a")
                let outage = try pair.outage(since: began).writes
                #expect(outage.longestGap < .seconds(1), "commits go on: \(outage.longestGap)")
                let entry = try #require(try pair.history(pair.b).last { $0.kind == .rejoin })
                #expect(entry.cause == "copy", "\(entry)")
                let aside = try #require(entry.lost?.kept_in)
                #expect(access(pair.b.diskPath(of: aside + "/PG_VERSION"), F_OK) == 0, "the old directory is whole: \(aside)")
            }
        }

        /// Somebody promotes the standby by hand: it is stopped, and comes back. What it may have written is kept.
        @Test func aStandbyThatWasPromotedByHandComesBack() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try LabPostgres.debian(pair.b).promote(waiting: false)
                try pair.wait("its data came back") { try pair.history(pair.b).contains { $0.kind == .rejoin } }
                try pair.waitUntilWhole(primary: "a", upTo: .seconds(90))
                let entry = try #require(try pair.history(pair.b).last { $0.kind == .rejoin })
                let kept = try #require(entry.lost?.kept_in, "\(entry)")
                #expect(access(pair.b.diskPath(of: kept), F_OK) == 0, "\(kept)")
                try pair.letClientsWrite(100)
            }
        }

        /// A person asks for a new copy, and there is no room for it: nothing is touched, and the standby goes on following.
        @Test func aDiskThatIsTooSmallIsRefusedBeforeTheFirstByte() throws {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            try PairOnHosts.story(configuration, preparing: { host throws(LabError) in try SmallDisk(host).make() }) { pair in
                let disk = SmallDisk(pair.a)
                _ = try pair.ask(pair.a, "switchover")
                try pair.waitUntilWhole(primary: "b")
                // Its disk is mounted inside the host only.
                let mark = ["/bin/cat", "\(LabPostgres.debianDataDirectory)/pgtandem.copy"]
                let old = try pair.a.demand(mark)
                // More than a tenth, so that its storage is still well.
                try disk.fill(leaving: SmallDisk.megabytes / 6)
                let names = try disk.names()
                let words = try pair.refused(pair.a, "rejoin", "--fresh")
                #expect(words.contains(" MiB free, and a copy of the source needs "), "\(words)")
                #expect(words.contains("Free space there"), "\(words)")
                try pair.waitUntilWhole(primary: "b", upTo: .seconds(60))
                #expect(try disk.names() == names && pair.a.demand(mark) == old)
                #expect(try !pair.history(pair.a).contains { $0.kind == .rejoin })
            }
        }

        /// Somebody has taken a right from the replication role: the statement that gives it back is named, and is all that it takes.
        @Test func aMissingRightIsNamedWithTheStatementToRun() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let old = try pair.copyMark(pair.b)
                _ = try LabPostgres.query("alter role pgtandem_replication noreplication", on: pair.a)
                let statement = "ALTER ROLE \"pgtandem_replication\" REPLICATION;"
                let words = try pair.refused(pair.b, "rejoin", "--fresh")
                #expect(words.contains(statement), "\(words)")
                #expect(try pair.copyMark(pair.b) == old)
                // It cannot stream either; what is missing stands in the status until it is there.
                try pair.wait("the status names it", upTo: .seconds(60)) {
                    pair.statusIfAny(pair.b)?.notes.contains { $0.contains(statement) } ?? false
                }
                _ = try LabPostgres.query(statement, on: pair.a)
                try pair.waitUntilWhole(primary: "a", upTo: .seconds(90))
            }
        }

        /// Its disk is empty after a repair, and mounted: a new copy fills it.
        @Test func anEmptyDirectoryIsFilledByANewCopy() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                try pair.emptyData(of: pair.b)
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "a", upTo: .seconds(90))
            }
        }

        /// The disk that the directory was on is not mounted: nothing is copied into the empty mount point, not even if a person asks.
        @Test func anUnmountedDirectoryIsNeverCopiedInto() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                try pair.emptyData(of: pair.b)
                // As if it had been on a disk of its own when it was last seen sound.
                let memory = pair.b.diskPath(of: "/var/lib/pgtandem/data-directory")
                let text = try String(contentsOfFile: memory, encoding: .utf8)
                let lines = text.split(separator: "\n").map {
                    $0.hasPrefix("mount ") ? "mount \(LabPostgres.debianDataDirectory)" : $0
                }
                try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: memory))
                try pair.b.boot()
                try pair.wait("it says what is missing", upTo: .seconds(60)) {
                    pair.statusIfAny(pair.b)?.notes.contains { $0.contains("not mounted") } ?? false
                }
                _ = try pair.b.run([PairOnHosts.binaryInside, "rejoin", "--fresh", "--no-wait"])
                pair.letTimePass(.seconds(8))
                let directory = pair.b.diskPath(of: LabPostgres.debianDataDirectory)
                #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
                #expect(try pair.status(pair.a).role == "primary_standby")
            }
        }

        /// A file of the directory is damaged, so that PostgreSQL does not start: no person, a new copy.
        @Test func aDamagedDirectoryIsReplacedByANewCopy() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                let control = pair.b.diskPath(of: LabPostgres.debianDataDirectory + "/global/pg_control")
                let bytes = try Data(contentsOf: URL(fileURLWithPath: control))
                try Data(repeating: 0x5A, count: bytes.count).write(to: URL(fileURLWithPath: control))
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "a", upTo: .seconds(120))
                let entry = try #require(try pair.history(pair.b).last { $0.kind == .rejoin })
                #expect(entry.cause == "copy", "\(entry)")
            }
        }

        /// The new primary fails over back and forth twice before the old one returns.
        @Test func theRolesGoBackAndForthAndEachReturnIsWhole() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                for round in 0..<4 {
                    let (lost, other) = round % 2 == 0 ? (pair.a, pair.b) : (pair.b, pair.a)
                    try lost.powerOff()
                    try pair.waitUntilAlone(other)
                    try pair.letClientsWrite(50)
                    try lost.boot()
                    try pair.waitUntilWhole(primary: other.name, upTo: .seconds(90))
                }
                let here = try pair.history(pair.a).filter { $0.cause == "granted" }
                #expect(here.count == 2, "\(here)")
            }
        }
    }
}

extension PairOnHosts {
    /// - Parameter isLocal: only what this host wrote.
    func history(_ host: LabHost, isLocal: Bool = true) throws -> [HistoryEntry] {
        struct Document: Decodable { var entries: [HistoryEntry] }
        let text = try isLocal ? ask(host, "history", "--local", "--json") : ask(host, "history", "--json")
        return try JSON.decode(Document.self, from: Array(text.utf8)).entries
    }

    func emptyData(of host: LabHost) throws {
        let directory = host.diskPath(of: LabPostgres.debianDataDirectory)
        for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
            try FileManager.default.removeItem(atPath: directory + "/" + name)
        }
    }

    /// The text of the mark inside the data directory: whose copy it is.
    func copyMark(_ host: LabHost) throws -> String {
        let path = host.diskPath(of: LabPostgres.debianDataDirectory + "/pgtandem.copy")
        return try String(contentsOfFile: path, encoding: .utf8)
    }
}
