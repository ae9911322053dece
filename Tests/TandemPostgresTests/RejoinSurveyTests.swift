import Glibc
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite(.serialized, .timeLimit(.minutes(30))) struct RejoinSurveyTests {
    @Test func anInstanceThatHasNotDivergedStartsPlainly() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            #expect(setupRefusal { try pair.rejoin().survey() }?.happened.contains("live") == true)
            try pair.a.instance.stop(.fast, deadline: .seconds(30))
            try eventually("b has the end of a's log") {
                let control = try pair.a.instance.controlData()
                return try pair.b.instance.position() > control.checkpoint
            }
            #expect(try pair.rejoin().survey().verdict == .refuse(.sourceIsStandby))
            _ = try pair.b.instance.promote(deadline: .seconds(60))
            let before = try RejoinPair.fingerprint(pair.a.settings.dataDirectory)
            let survey = try pair.rejoin().survey()
            #expect(survey.verdict == .plain)
            #expect(survey.fork == survey.own.end && survey.own.timeline == 1 && survey.source.timeline == 2)
            #expect(try RejoinPair.fingerprint(pair.a.settings.dataDirectory) == before)

            try pair.b.instance.ensureSlot(RejoinPair.copyA.applicationName)
            try RejoinPair.configure(
                pair.a, "a", RejoinPair.copyA, peer: pair.b, slot: RejoinPair.copyA.applicationName)
            try pair.expectFollows(RejoinPair.copyA)
            // Now a standby on the source's timeline.
            try pair.a.instance.stop(.fast, deadline: .seconds(30))
            let later = try pair.rejoin().survey()
            #expect(later.verdict == .plain && later.fork == nil && later.own.timeline == 2)
        }
    }

    @Test func oneNumberOfTwoBranchesIsSeen() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.b.instance.stop(.fast, deadline: .seconds(30))
            try pair.a.instance.stop(.fast, deadline: .seconds(30))
            // Both promoted by hand from the same position: their history files are identical.
            try RejoinPair.configure(pair.b, "b", RejoinPair.copyB, peer: pair.b)
            for server in [pair.a, pair.b] {
                _ = try server.instance.start(.standby, deadline: .seconds(60))
                _ = try server.instance.promote(deadline: .seconds(60))
                try server.sql("insert into public.t values (50000, 'of \(server.settings.port)')")
            }
            func history(_ server: ScratchServer) throws -> [UInt8]? {
                try DurableFile.read(server.settings.dataDirectory + "/pg_wal/00000002.history")
            }
            #expect(try history(pair.a)?.isEmpty == false)
            let identical = try history(pair.a) == history(pair.b)
            try pair.a.sql("checkpoint")
            try pair.b.sql("checkpoint")
            try pair.a.instance.stop(.fast, deadline: .seconds(30))
            let survey = try pair.rejoin().survey()
            guard case .copy(.otherBranch(let timeline, let words)) = survey.verdict else {
                Issue.record("\(survey.verdict)")
                return
            }
            #expect(timeline == 2, "\(words), identical histories: \(identical)")

            // Also when the source has gone on to a timeline that is not here: pg_rewind would take the wrong fork.
            try pair.b.instance.stop(.fast, deadline: .seconds(30))
            _ = try pair.b.instance.start(.standby, deadline: .seconds(60))
            _ = try pair.b.instance.promote(deadline: .seconds(60))
            let again = try pair.rejoin().survey()
            #expect(again.source.timeline == 3)
            switch again.verdict {
            case .copy(.otherBranch): #expect(identical)
            case .rewind: #expect(!identical)
            default: Issue.record("\(again.verdict)")
            }
        }
    }

    @Test func anotherDatabaseAndMissingRightsAreRefused() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            for function in ["pg_read_binary_file(text)", "pg_ls_dir(text, boolean, boolean)"] {
                try pair.b.sql("revoke execute on function \(function) from rep")
            }
            let survey = try pair.rejoin().survey()
            guard case .refuse(let reason) = survey.verdict else {
                Issue.record("\(survey.verdict)")
                return
            }
            let grant = "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text) TO \"rep\";"
            #expect(reason.text.contains(grant) && reason.text.contains("pg_ls_dir(text, boolean, boolean) TO"))
            #expect(!reason.text.contains("pg_stat_file") && !reason.text.contains("ALTER ROLE"))
            // Exactly what it says is what it takes.
            for statement in reason.text.split(separator: ": ", maxSplits: 1)[1].split(separator: ";") {
                try pair.b.sql(String(statement))
            }
            try pair.b.sql("alter role rep noreplication")
            guard case .refuse(let lacking) = try pair.rejoin().survey().verdict else {
                Issue.record("a role that may not stream was not seen")
                return
            }
            #expect(lacking.text.hasSuffix("ALTER ROLE \"rep\" REPLICATION;"), "\(lacking.text)")
            let uncopied = setupRefusal { try pair.rejoin().copy(abandoned: Term(1), work: pair.work()) }
            #expect(
                uncopied?.happened == lacking.text && uncopied?.meaning == "Nothing was changed.",
                "\(String(describing: uncopied))")
            try pair.b.sql("alter role rep replication")
            if case .refuse(let why) = try pair.rejoin().survey().verdict { Issue.record("still refused: \(why.text)") }

            let other = try scratch.server("other")
            try RejoinPair.mark(other, "a", RejoinPair.copyA)
            var rejoin = pair.rejoin(other.instance)
            let foreign = try rejoin.survey().verdict
            guard case .refuse(.otherSystem) = foreign else {
                Issue.record("\(foreign)")
                return
            }
            #expect(setupRefusal { try rejoin.copy(abandoned: Term(1), work: pair.work()) }?.happened.contains("system") == true)
            rejoin.source.port = try ScratchServer.freePort()
            #expect(setupRefusal { try rejoin.survey() }?.advice.contains("pg_hba.conf") == true)
        }
    }

    @Test func whatIsNotSoundIsCopied() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            let data = pair.a.settings.dataDirectory
            func verdict() throws -> Rejoin.Verdict { try pair.rejoin().survey().verdict }
            guard case .rewind = try verdict() else {
                Issue.record("\(try verdict())")
                return
            }
            try pair.a.instance.files.write("", to: data + "/backup_label")
            #expect(try verdict() == .copy(.backupLabel))
            try DurableFile.remove(data + "/backup_label")

            try RejoinPair.mark(pair.a, "b", RejoinPair.copyB)
            #expect(try verdict() == .copy(.markOfOtherNode("b")))
            try CopyMarkFile.remove(data)
            #expect(try verdict() == .copy(.noMark))
            try RejoinPair.mark(pair.a, "a", RejoinPair.copyA)

            var intent = RejoinIntent(phase: .rewinding, target: data, copy: RejoinPair.copyB, words: "begun")
            try intent.write(pair.a.settings)
            guard case .copy(.unfinishedRewind) = try verdict() else { throw SetupScratchError(description: "\(try verdict())") }
            let refusal = setupRefusal { try pair.a.instance.start(.standby, deadline: .seconds(5)) }
            #expect(refusal?.meaning.contains("never") == true)
            // With the new mark it was finished.
            intent.copy = RejoinPair.copyA
            try intent.write(pair.a.settings)
            guard case .rewind = try verdict() else { throw SetupScratchError(description: "\(try verdict())") }
            #expect(!OwnedFiles.exists(RejoinIntent.path(pair.a.settings)))

            #expect(rename(data + "/global/pg_control", data + "/pg_control.away") == 0)
            #expect(try verdict() == .copy(.noControlFile("global/pg_control is missing or damaged")))
            #expect(rename(data + "/pg_control.away", data + "/global/pg_control") == 0)

            // The segment with the last checkpoint before the fork.
            let survey = try pair.rejoin().survey()
            let checkpoint = try #require(survey.commonCheckpoint)
            let name = WALFile.name(timeline: 1, position: checkpoint, segmentSize: 16 << 20)
            #expect(rename("\(data)/pg_wal/\(name)", "\(data)/\(name)") == 0)
            switch try verdict() {
            case .copy(.walMissingHere), .copy(.damagedWAL), .copy(.unknownDescent): break
            default: Issue.record("\(try verdict())")
            }
            #expect(rename("\(data)/\(name)", "\(data)/pg_wal/\(name)") == 0)
            #expect(rename(data, data + ".away") == 0)
            #expect(try verdict() == .copy(.noDirectory))
            #expect(rename(data + ".away", data) == 0)
        }
    }

    @Test func withoutHintsAndChecksumsNothingIsRewound() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            // Its control file as such an instance has it.
            try RejoinRecovery(rejoin: pair.rejoin(), attempted: "test").run(RejoinPair.copyA, pair.a.settings.dataDirectory)
            try succeed(pair.a.settings.tool("pg_checksums", ["--disable", "-N", "-D", pair.a.settings.dataDirectory]))
            guard case .rewind = try pair.rejoin().survey().verdict else {
                Issue.record("wal_log_hints is enough")
                return
            }
            var control = try pair.a.instance.controlData()
            #expect(!control.hasChecksums && control.hasHintLogging)
            control.hasHintLogging = false
            #expect(try RejoinSurveyTests.verdict(pair, control) == .copy(.noHintLogging))
        }
    }

    private static func verdict(_ pair: RejoinPair, _ control: ControlData) throws -> Rejoin.Verdict {
        var survey = Rejoin.Survey(verdict: .plain)
        let source = try RejoinSource(pair.source, "test", deadline: .seconds(20))
        defer { source.close() }
        return try pair.rejoin().judge(source, try source.facts(), control, &survey)
    }
}
