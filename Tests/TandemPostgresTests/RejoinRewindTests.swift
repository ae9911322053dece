import Glibc
import Synchronization
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite(.serialized, .timeLimit(.minutes(30))) struct RejoinRewindTests {
    @Test func aDivergedPrimaryIsRewoundAndFollows() throws {
        try Scratch.run { scratch in
            // The source keeps no WAL of before the fork: it must come from here.
            let pair = try RejoinPair(scratch, "wal_keep_size = 0")
            try pair.a.sql("checkpoint")
            try pair.a.sql("select pg_switch_wal()")
            try pair.a.sql("insert into public.t values (5000, 'both')")
            try pair.caughtUp()
            try pair.diverge()
            try pair.b.sql("checkpoint")
            // Other values than the source's, which must not come along from there.
            try pair.a.instance.files.write(
                "work_mem = '7MB'\n", to: pair.a.settings.dataDirectory + "/postgresql.auto.conf")
            try pair.b.sql("alter system set work_mem = '9MB'")
            try pair.b.sql("alter system set primary_conninfo = 'host=nowhere'")
            let rejoin = pair.rejoin()
            let survey = try rejoin.survey()
            guard case .rewind(let fork, let end, let bytes) = survey.verdict else {
                Issue.record("\(survey.verdict)")
                return
            }
            #expect(survey.fork == fork && survey.own.end == end && bytes == end.bytes - fork.bytes && bytes > 10_000)
            #expect(survey.own.state == "in production")
            let redo = WALFile.name(timeline: 1, position: try #require(survey.commonRedo), segmentSize: 16 << 20)
            #expect(!OwnedFiles.exists("\(pair.b.settings.dataDirectory)/pg_wal/\(redo)"))

            // Of another branch, which the same term names.
            let other = pair.a.settings.stateDirectory + "/diverged"
            for folder in [other, other + "/4"] { try pair.a.instance.files.makeFolder(folder) }
            try pair.a.instance.files.write("another", to: other + "/4/report.txt")

            let seen = Mutex<[Rejoin.Step]>([])
            let outcome = try rejoin.rewind(
                survey, abandoned: Term(4), work: pair.work { progress in seen.withLock { $0.append(progress.step) } })
            let steps = seen.withLock { $0 }
            #expect(Set(steps) == Set(Rejoin.Step.allCases).subtracting([.copying, .verifying]))
            #expect(steps.filter { $0 == .rewinding }.count > 1)

            let saved = try #require(outcome.saved)
            #expect(saved.folder == other + "/4-2" && OwnedFiles.names(in: other + "/4") == ["report.txt"])
            let report = String(decoding: try DurableFile.read(saved.folder + "/report.txt") ?? [], as: UTF8.self)
            #expect(
                report.contains("fork            \(fork)\nend             \(end)\nbytes           \(bytes)\ncommits         2\n"))
            #expect(saved.sequence == 1)
            #expect(SavedBranch.sequence(of: saved.folder) == 1)
            #expect(saved.commits == 2 && saved.firstCommit?.hasSuffix("UTC") == true && saved.lostBytes == bytes)
            let names = try #require(OwnedFiles.names(in: saved.folder))
            #expect(names.contains("report.txt") && names.contains { WALFile.parse($0, segmentSize: 16 << 20) != nil })
            let dump = try pair.a.settings.tool(
                "pg_waldump", ["-p", saved.folder, "-t", "1", "-s", fork.description, "-e", end.description, "-r", "Transaction"]
            ).run(deadline: .seconds(30))
            #expect(dump.output.split(separator: "\n").filter { $0.contains("COMMIT") }.count == 2, "\(dump.errors)")

            #expect(!OwnedFiles.exists(pair.a.settings.dataDirectory + ".pgtandem-wal"))
            #expect(!OwnedFiles.exists(pair.a.settings.stateDirectory + "/rejoin-files"))
            try pair.expectFollows(outcome.copy)
            #expect(try pair.a.sql("show work_mem") == "7MB")
            #expect(try pair.a.sql("select count(*) from public.t where n between 10000 and 19999") == "0")
            #expect(try pair.a.sql("select count(*) from public.t where n <= 10") == "10")
        }
    }

    @Test func configurationOutsideTheDirectoryAndACleanEndAreFine() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.b.instance.stop(.fast, deadline: .seconds(30))
            try pair.a.sql("insert into public.t values (10001, 'a')")
            try pair.a.instance.stop(.fast, deadline: .seconds(30))
            _ = try pair.b.instance.start(.standby, deadline: .seconds(60))
            _ = try pair.b.instance.promote(deadline: .seconds(60))
            try pair.b.sql("insert into public.t values (20001, 'b')")
            // Debian's layout.
            var settings = pair.a.settings
            let folder = scratch.folder + "/etc"
            try pair.a.instance.files.makeFolder(folder)
            for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
                #expect(rename("\(settings.dataDirectory)/\(name)", "\(folder)/\(name)") == 0)
            }
            settings.configFile = folder + "/postgresql.conf"
            settings.hbaFile = folder + "/pg_hba.conf"
            let file = KeptFile(path: folder + "/postgresql.conf", user: "postgres")
            var text = ConfigText(try file.read("test") ?? [])
            text.set("data_directory", settings.dataDirectory)
            text.set("hba_file", folder + "/pg_hba.conf")
            text.set("ident_file", folder + "/pg_ident.conf")
            try file.write(text.bytes, newMode: 0o644, "test")

            let instance = Instance(settings)
            let rejoin = pair.rejoin(instance)
            let survey = try rejoin.survey()
            #expect(survey.own.state == "shut down")
            let outcome = try rejoin.rewind(survey, abandoned: Term(1), work: pair.work())
            try pair.expectFollows(outcome.copy, instance)
            _ = instance.endAll(deadline: .seconds(10))
        }
    }

    @Test func aBranchWithItsOwnPromotionIsRewoundToo() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            let rejoin = pair.rejoin()
            // It was started thrice without authority, promoted each time, and crashed, twice before its first checkpoint.
            try RejoinPair.configure(pair.a, "a", RejoinPair.copyA, peer: pair.a)
            for number in 1...3 {
                _ = try pair.a.instance.start(.standby, deadline: .seconds(60))
                _ = try pair.a.instance.promote(deadline: .seconds(60))
                if number == 3 { try pair.a.sql("checkpoint") }
                try pair.a.sql("insert into public.t select max(n) + 1, 'a' from public.t")
                #expect(pair.a.instance.endAll(deadline: .seconds(10)).isComplete)
                switch (number, try rejoin.survey().verdict) {
                // The number of the source's timeline.
                case (1, .copy(.otherBranch(2, _))): break
                // The promotion's own checkpoint takes its time, but may have been faster.
                case (2, .copy(.noCheckpoint(3))), (2, .rewind): break
                case (3, .rewind): break
                case (_, let other): Issue.record("\(number): \(other)")
                }
            }
            let survey = try rejoin.survey()
            guard case .rewind(_, let end, _) = survey.verdict else {
                Issue.record("\(survey)")
                return
            }
            #expect(survey.own.timeline == 4 && survey.own.end == end)
            let outcome = try rejoin.rewind(survey, abandoned: Term(2), work: pair.work())
            #expect((outcome.saved?.commits ?? 0) >= 4)
            try pair.expectFollows(outcome.copy)
        }
    }

    @Test func aRewindThatIsKilledIsNeverStartedAndACopyHelps() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge(rowsOfB: 60_000)
            let data = pair.a.settings.dataDirectory
            let whole = scratch.folder + "/whole"
            #expect(rename(data, whole) == 0)
            func takeBack() throws {
                try succeed(Tool("/bin/rm", ["-rf", data]))
                try RejoinIntent.remove(pair.a.settings)
                try succeed(Tool("/bin/cp", ["-a", whole, data]))
            }
            func expectGarbage(_ when: String) throws {
                let verdict = try pair.rejoin().survey().verdict
                guard case .copy(.unfinishedRewind) = verdict else {
                    Issue.record("\(when): \(verdict)")
                    return
                }
                let refusal = setupRefusal { try pair.a.instance.start(.standby, deadline: .seconds(5)) }
                #expect(refusal?.meaning.contains("never") == true)
            }
            var kills = 0
            for moment in [0, 40, 120, 300] {
                try takeBack()
                let rejoin = pair.rejoin()
                let survey = try rejoin.survey()
                let killer = Killer(data, after: .milliseconds(moment))
                defer { killer.stop() }
                do {
                    _ = try rejoin.rewind(survey, abandoned: Term(4), work: pair.work { killer.see($0) })
                    // It was faster.
                } catch let error as PostgresError {
                    #expect(error.happened.contains("signal 9") && error.meaning.contains("never"), "\(error)")
                    kills += 1
                    try expectGarbage("killed after \(moment) ms")
                    #expect(setupRefusal { try rejoin.rewind(survey, abandoned: Term(4), work: pair.work()) } != nil)
                }
            }
            #expect(kills > 1)
            // It had begun to write the source's mark.
            try RejoinIntent(phase: .rewinding, target: data, copy: CopyID(high: 9, low: 9), words: "begun").write(
                pair.a.settings)
            try OwnedFiles(user: "postgres").write("pgtandem copy mark 1\nco", to: data + "/" + CopyMarkFile.name)
            try expectGarbage("with half of a mark")
            // Whoever called it is ended before a step.
            for step in [Rejoin.Step.finishing, .rewinding, .tidying, .marking] {
                try takeBack()
                var rejoin = pair.rejoin()
                let survey = try rejoin.survey()
                rejoin.beforeStep = { (next: Rejoin.Step) throws(PostgresError) in
                    try SetupStop(step.rawValue).before(next.rawValue)
                }
                let refusal = setupRefusal { try rejoin.rewind(survey, abandoned: Term(4), work: pair.work()) }
                #expect(refusal?.happened == SetupStop.words)
                if step == .finishing {
                    #expect(try pair.rejoin().survey().verdict == .plain)
                    #expect(!OwnedFiles.exists(RejoinIntent.path(pair.a.settings)))
                } else {
                    try expectGarbage("ended before \(step)")
                }
            }
            let outcome = try pair.rejoin().copy(abandoned: Term(4), work: pair.work())
            try pair.expectFollows(outcome.copy)
            let aside = try #require(outcome.movedAside)
            #expect(aside == pair.a.settings.dataDirectory + ".diverged.4")
            #expect(Rejoin.divergedDirectories(pair.a.settings) == [aside])
        }
    }

    @Test func whatAnInterruptedCallLeftRunningIsEnded() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            let data = pair.a.settings.dataDirectory
            try RejoinIntent(phase: .recovering, target: data, copy: RejoinPair.copyB, words: "x").write(pair.a.settings)
            _ = try pair.a.instance.start(.standby, deadline: .seconds(60), options: ["hot_standby=off", "primary_conninfo="])
            guard case .rewind = try pair.rejoin().survey().verdict else {
                Issue.record("\(try pair.rejoin().survey().verdict)")
                return
            }
            #expect(pair.a.instance.livingProcesses().isEmpty && !OwnedFiles.exists(RejoinIntent.path(pair.a.settings)))

            // pg_rewind that outlived its agent.
            let orphan = Tool("/bin/bash", ["-c", "exec -a pg_rewind tail -f /dev/null $0", data], user: "postgres")
            let lane = Lane(name: "orphan")
            lane.submit {
                do { _ = try orphan.run(deadline: .seconds(60)) } catch { Issue.record("\(error)") }
            }
            func left() -> [Int32] { Leftovers.processes(naming: data, programs: ["pg_rewind"]) }
            try eventually("it runs") { !left().isEmpty }
            let lock = try SetupLock(pair.a.settings, "test")
            #expect(setupRefusal { try pair.rejoin().endLeftovers() }?.happened.contains("Another run") == true)
            #expect(!left().isEmpty)
            lock.release()
            try pair.rejoin().endLeftovers()
            #expect(left().isEmpty)
            lane.stop()
        }
    }

    @Test func pgRewindThatCannotIsNotAskedTwice() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            try pair.b.sql("alter system set full_page_writes = off")
            try pair.b.sql("select pg_reload_conf()")
            try eventually("it is off") { try pair.b.sql("show full_page_writes") == "off" }
            let rejoin = pair.rejoin()
            let survey = try rejoin.survey()
            let refusal = setupRefusal { try rejoin.rewind(survey, abandoned: Term(1), work: pair.work()) }
            #expect(refusal?.happened.contains("full_page_writes") == true)
            #expect(refusal?.meaning.hasPrefix("The directory is unchanged") == true)
            #expect(try CopyMarkFile.read(pair.a.settings.dataDirectory)?.copy == RejoinPair.copyA)
            guard case .copy(.rewindRefused(let words)) = try rejoin.survey().verdict else {
                Issue.record("\(try rejoin.survey().verdict)")
                return
            }
            #expect(words.contains("full_page_writes"))
            let outcome = try rejoin.copy(abandoned: Term(1), work: pair.work())
            try pair.expectFollows(outcome.copy)
        }
    }

    @Test func anotherForkThanOursIsNeverTakenForASuccess() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            let rejoin = pair.rejoin()
            var survey = try rejoin.survey()
            guard case .rewind(let fork, let end, let lost) = survey.verdict else {
                throw SetupScratchError(description: "\(survey)")
            }
            survey.verdict = .rewind(fork: LSN(fork.bytes + 8), end: end, lostBytes: lost - 8)
            // It is told from the histories, before it begins.
            let early = setupRefusal { try rejoin.rewind(survey, abandoned: Term(1), work: pair.work()) }
            let words = "would not find the fork at \(LSN(fork.bytes + 8)), but at \(fork)"
            #expect(early?.happened.contains(words) == true, "\(String(describing: early))")
            guard case .copy(.rewindRefused) = try rejoin.survey().verdict else {
                throw SetupScratchError(description: "\(try rejoin.survey().verdict)")
            }
            #expect(try CopyMarkFile.read(pair.a.settings.dataDirectory)?.copy == RejoinPair.copyA)
            try RejoinIntent.remove(pair.a.settings)
            let again = try rejoin.survey()
            #expect(again.fork == fork)

            // The source's history is another one when pg_rewind reads it.
            let files = OwnedFiles(user: "postgres")
            let history = pair.b.settings.dataDirectory + "/pg_wal/00000002.history"
            let right = try #require(try DurableFile.read(history))
            let other = "1\t\(try #require(again.commonRedo))\tno recovery target specified\n"
            var late = rejoin
            late.beforeStep = { (next: Rejoin.Step) throws(PostgresError) in
                guard next == .rewinding else { return }
                try SetupTool.perform("test") { () throws(SystemError) in try files.write(other, to: history) }
            }
            let refusal = setupRefusal { try late.rewind(again, abandoned: Term(1), work: pair.work()) }
            try files.write(right, to: history)
            #expect(refusal?.happened.contains("it does not find the fork at ") == true, "\(String(describing: refusal))")
            guard case .copy(.unfinishedRewind) = try rejoin.survey().verdict else {
                throw SetupScratchError(description: "\(try rejoin.survey().verdict)")
            }
            let outcome = try rejoin.copy(abandoned: Term(1), work: pair.work())
            try pair.expectFollows(outcome.copy)
        }
    }

    /// Then pg_rewind is tried without a change first, which tells how much it will fetch.
    @Test(.enabled(if: geteuid() == 0)) func aDiskWithLittleRoomIsLookedAtBeforeTheRewind() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            let data = pair.a.settings.dataDirectory
            let disk = scratch.folder + "/disk"
            try pair.a.instance.files.makeFolder(disk)
            try succeed(Tool("/usr/bin/mount", ["-t", "tmpfs", "-o", "size=300m,uid=postgres,mode=0700", "none", disk]))
            defer { _ = umount2(disk, Int32(MNT_DETACH)) }
            try succeed(Tool("/bin/mv", [data, disk + "/data"]))
            #expect(symlink(disk + "/data", data) == 0)
            // An agent that starts now: where a directory is, is looked up once.
            let instance = Instance(pair.a.settings)
            let free = try FileFacts.space(onFileSystemOf: disk).freeBytes >> 20
            try succeed(Tool("/usr/bin/fallocate", ["-l", "\(free - 70)M", disk + "/ballast"]))
            let rejoin = pair.rejoin(instance)
            let refusal = setupRefusal { try rejoin.rewind(try rejoin.survey(), abandoned: Term(1), work: pair.work()) }
            #expect(refusal?.happened.hasPrefix("pg_rewind will fetch up to ") == true, "\(String(describing: refusal))")
            #expect(refusal?.meaning.hasPrefix("Nothing was changed") == true)
            try DurableFile.remove(disk + "/ballast")
            try succeed(Tool("/usr/bin/fallocate", ["-l", "\(free - 150)M", disk + "/ballast"]))
            let outcome = try rejoin.rewind(try rejoin.survey(), abandoned: Term(1), work: pair.work())
            try pair.expectFollows(outcome.copy, instance)
            _ = instance.endAll(deadline: .seconds(10))
        }
    }

    @Test func aBranchThatIsTooLargeToSaveIsNotTakenBack() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            var rejoin = pair.rejoin()
            rejoin.options.savedBytesLimit = 1 << 20
            let survey = try rejoin.survey()
            let refusal = setupRefusal { try rejoin.rewind(survey, abandoned: Term(1), work: pair.work()) }
            #expect(refusal?.meaning.contains("new copy") == true)
            guard case .copy(.rewindRefused) = try rejoin.survey().verdict else {
                Issue.record("\(try rejoin.survey().verdict)")
                return
            }
        }
    }
}

/// Kills pg_rewind of a directory a while after it was seen to run.
private final class Killer: Sendable {
    private let lane = Lane(name: "killer")
    private let isOver = Mutex(false)
    private let isBegun = Mutex(false)
    private let directory: String
    private let pause: Duration

    init(_ directory: String, after pause: Duration) {
        self.directory = directory
        self.pause = pause
    }

    func see(_ progress: Rejoin.Progress) {
        guard progress.step == .rewinding else { return }
        let isFirst = isBegun.withLock { begun in
            defer { begun = true }
            return !begun
        }
        guard isFirst else { return }
        lane.submit { [self] in
            func found() -> [Int32] { Leftovers.processes(naming: directory, programs: ["pg_rewind"]) }
            _ = SystemClock.wait(upTo: .seconds(20)) { isOver.withLock { $0 } || !found().isEmpty }
            _ = SystemClock.wait(upTo: pause) { isOver.withLock { $0 } }
            for pid in found() { ProcessTable.signal(pid, SIGKILL) }
        }
    }

    func stop() {
        isOver.withLock { $0 = true }
        lane.stop()
    }
}
