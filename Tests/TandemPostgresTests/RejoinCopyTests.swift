import Glibc
import Synchronization
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite(.serialized, .timeLimit(.minutes(30))) struct RejoinCopyTests {
    @Test func aDamagedDirectoryIsCopiedAndKeptWhole() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            let data = pair.a.settings.dataDirectory
            try DurableFile.remove(data + "/global/pg_control")
            try pair.b.sql("alter system set primary_conninfo = 'host=nowhere'")
            let rejoin = pair.rejoin()
            guard case .copy(.noControlFile) = try rejoin.survey().verdict else {
                Issue.record("\(try rejoin.survey().verdict)")
                return
            }
            let before = try RejoinPair.fingerprint(data)
            let outcome = try rejoin.copy(abandoned: Term(7), work: pair.work())
            let aside = try #require(outcome.movedAside)
            #expect(aside == data + ".diverged.7")
            #expect(try RejoinPair.fingerprint(aside) == before)
            #expect(try rejoin.survey().verdict == .plain)
            try pair.expectFollows(outcome.copy)

            // Only what was moved aside is ever removed.
            #expect(setupRefusal { try Rejoin.removeDiverged(pair.a.settings, data) } != nil)
            #expect(setupRefusal { try Rejoin.removeDiverged(pair.a.settings, scratch.folder) } != nil)
            #expect(Rejoin.divergedDirectories(pair.a.settings) == [aside])
            try Rejoin.removeDiverged(pair.a.settings, aside)
            #expect(!OwnedFiles.exists(aside) && OwnedFiles.exists(data + "/PG_VERSION"))
        }
    }

    @Test func aCopyThatIsInterruptedIsCompletedWithTheSameID() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            let data = pair.a.settings.dataDirectory
            // Nothing of it may be read any more.
            try DurableFile.remove(data + "/global/pg_control")
            let own = try DurableFile.read(data + "/postgresql.conf")
            var ids: Set<CopyID> = []
            for step in [Rejoin.Step.preparingSource, .copying, .configuring, .marking] {
                var rejoin = pair.rejoin()
                rejoin.beforeStep = { (next: Rejoin.Step) throws(PostgresError) in
                    try SetupStop(step.rawValue).before(next.rawValue)
                }
                var work = pair.work()
                let prepare = work.prepareSource
                work.prepareSource = { copy throws(PostgresError) in
                    ids.insert(copy)
                    try prepare(copy)
                }
                #expect(setupRefusal { try rejoin.copy(abandoned: Term(7), work: work) }?.happened == SetupStop.words)
                let isSwapped = ![.preparingSource, .copying].contains(step)
                #expect(OwnedFiles.exists(data + ".diverged.7") == isSwapped, "\(step)")
                switch try pair.rejoin().survey().verdict {
                case .copy(.noControlFile): #expect(!isSwapped)
                case .copy(.unfinishedCopy): #expect(isSwapped)
                case let other: Issue.record("\(step): \(other)")
                }
            }
            let outcome = try pair.rejoin().copy(abandoned: Term(7), work: pair.work())
            #expect(ids == [outcome.copy] && outcome.movedAside == data + ".diverged.7")
            let file = KeptFile(path: data + "/postgresql.conf", user: "postgres")
            #expect(
                ConfigText(try file.read("test") ?? []).value(of: "port") == ConfigText(own ?? []).value(of: "port"))
            try pair.expectFollows(outcome.copy)
        }
    }

    @Test func aCopyWhoseProgramIsKilledIsMadeAnew() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            let data = pair.a.settings.dataDirectory
            try DurableFile.remove(data + "/global/pg_control")
            let before = try RejoinPair.fingerprint(data)
            var rejoin = pair.rejoin()
            rejoin.options.maxRateKilobytesPerSecond = 4096
            let killed = Mutex(false)
            let refusal = setupRefusal {
                try rejoin.copy(
                    abandoned: Term(7),
                    work: pair.work { progress in
                        guard progress.doneBytes > 0, !killed.withLock({ $0 }) else { return }
                        killed.withLock { $0 = true }
                        for pid in Leftovers.processes(naming: data + ".pgtandem-new", programs: ["pg_basebackup"]) {
                            ProcessTable.signal(pid, SIGKILL)
                        }
                    })
            }
            #expect(refusal?.happened.contains("signal 9") == true, "\(String(describing: refusal))")
            #expect(try RejoinPair.fingerprint(data) == before)
            rejoin.options.maxRateKilobytesPerSecond = nil
            let outcome = try rejoin.copy(abandoned: Term(7), work: pair.work())
            #expect(!OwnedFiles.exists(data + ".pgtandem-new"))
            try pair.expectFollows(outcome.copy)
        }
    }

    @Test(.enabled(if: geteuid() == 0)) func aDiskThatIsTooSmallIsRefusedAndNothingIsTouched() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            // A file system of its own that holds the old directory and not another one.
            let disk = scratch.folder + "/disk"
            try pair.a.instance.files.makeFolder(disk)
            try succeed(Tool("/usr/bin/mount", ["-t", "tmpfs", "-o", "size=140m,uid=postgres,mode=0700", "none", disk]))
            defer { _ = umount2(disk, Int32(MNT_DETACH)) }
            try succeed(Tool("/bin/cp", ["-a", pair.a.settings.dataDirectory, disk + "/data"]))
            try succeed(Tool("/usr/bin/fallocate", ["-l", "40M", disk + "/ballast"]))
            var settings = pair.a.settings
            settings.dataDirectory = disk + "/data"
            let before = try RejoinPair.fingerprint(settings.dataDirectory)
            let prepared = Mutex(false)
            var work = pair.work()
            work.prepareSource = { _ in prepared.withLock { $0 = true } }
            let refusal = setupRefusal { try pair.rejoin(Instance(settings)).copy(abandoned: Term(1), work: work) }
            #expect(refusal?.happened.contains("MiB free") == true && refusal?.meaning == "Nothing was changed.")
            #expect(!prepared.withLock { $0 })
            #expect(OwnedFiles.names(in: disk) == ["ballast", "data"])
            #expect(try RejoinPair.fingerprint(settings.dataDirectory) == before)
        }
    }

    @Test func aTablespaceThatIsNotOursIsRefusedAndARewindGoesThroughALinkedLog() throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            let data = pair.a.settings.dataDirectory
            let place = scratch.folder + "/space"
            try pair.b.instance.files.makeFolder(place)
            try pair.b.sql("create tablespace extra location '\(place)'")
            let spaced = setupRefusal { try pair.rejoin().copy(abandoned: Term(1), work: pair.work()) }
            #expect(spaced?.happened.contains("The tablespace \(place) exists here") == true)
            try pair.b.sql("drop tablespace extra")

            #expect(rename(data + "/pg_wal", scratch.folder + "/wal") == 0)
            #expect(symlink(scratch.folder + "/wal", data + "/pg_wal") == 0)
            #expect(!OwnedFiles.exists(data + ".diverged.1") && !OwnedFiles.exists(data + ".pgtandem-new"))
            // pg_rewind goes through the link.
            let rejoin = pair.rejoin()
            let outcome = try rejoin.rewind(try rejoin.survey(), abandoned: Term(1), work: pair.work())
            #expect(DirectoryCheck.linkTarget(data + "/pg_wal") == scratch.folder + "/wal")
            #expect(OwnedFiles.names(in: scratch.folder)?.contains("wal.pgtandem-wal") == false)
            try pair.expectFollows(outcome.copy)
        }
    }
}

/// Copies whose parts lie elsewhere, behind links.
@Suite(.serialized, .timeLimit(.minutes(30))) struct RejoinElsewhereTests {
    /// `a` has its WAL in `<folder>/disk/wal`, and a damaged control file.
    private func story(_ body: (Scratch, RejoinPair, _ wal: String) throws -> Void) throws {
        try Scratch.run { scratch in
            let pair = try RejoinPair(scratch)
            try pair.diverge()
            let data = pair.a.settings.dataDirectory
            let disk = scratch.folder + "/disk"
            try pair.a.instance.files.makeFolder(disk)
            #expect(rename(data + "/pg_wal", disk + "/wal") == 0)
            #expect(symlink(disk + "/wal", data + "/pg_wal") == 0)
            try body(scratch, pair, disk + "/wal")
        }
    }

    @Test func aLinkedLogStaysOnItsDiskWhereverTheCopyIsInterrupted() throws {
        try story { _, pair, wal in
            let data = pair.a.settings.dataDirectory
            let folder = KeptFile.folder(of: wal)
            try DurableFile.remove(data + "/global/pg_control")
            let before = try RejoinPair.fingerprint(wal)
            // At the last one its mark stands: it is done.
            for step in BaseCopy.Step.allCases where step != .finishing {
                var rejoin = pair.rejoin()
                rejoin.beforeCopyStep = { (next: BaseCopy.Step) throws(PostgresError) in
                    try SetupStop(step.rawValue).before(next.rawValue)
                }
                #expect(setupRefusal { try rejoin.copy(abandoned: Term(7), work: pair.work()) }?.happened == SetupStop.words)
                // As if it had ended between the two renames.
                if step == .settling { #expect(rename(wal, wal + ".diverged.7") == 0) }
            }
            let outcome = try pair.rejoin().copy(abandoned: Term(7), work: pair.work())
            let aside = try #require(outcome.movedAside)
            #expect(aside == data + ".diverged.7")
            #expect(DirectoryCheck.linkTarget(data + "/pg_wal") == wal)
            #expect(DirectoryCheck.linkTarget(aside + "/pg_wal") == wal + ".diverged.7")
            #expect(try RejoinPair.fingerprint(wal + ".diverged.7") == before)
            #expect(OwnedFiles.names(in: folder) == ["wal", "wal.diverged.7"])
            try pair.expectFollows(outcome.copy)
            try Rejoin.removeDiverged(pair.a.settings, aside)
            #expect(OwnedFiles.names(in: folder) == ["wal"])
        }
    }

    /// Whatever becomes of `rejoin-copy`, the note of where the old directory went.
    @Test func anOldDirectoryNeverLeadsToTheNewLogThoughTheNoteIsLost() throws {
        try story { _, pair, wal in
            let settings = pair.a.settings
            let data = settings.dataDirectory
            try DurableFile.remove(data + "/global/pg_control")
            let before = try RejoinPair.fingerprint(wal)
            for step in [BaseCopy.Step.swapping, .settling, .marking] {
                var rejoin = pair.rejoin()
                rejoin.beforeCopyStep = { (next: BaseCopy.Step) throws(PostgresError) in
                    try SetupStop(step.rawValue).before(next.rawValue)
                }
                #expect(setupRefusal { try rejoin.copy(abandoned: Term(7), work: pair.work()) }?.happened == SetupStop.words)
                try DurableFile.remove(settings.stateDirectory + "/rejoin-copy")
            }
            let outcome = try pair.rejoin().copy(abandoned: Term(7), work: pair.work())
            #expect(DirectoryCheck.linkTarget(data + "/pg_wal") == wal)
            #expect(Rejoin.divergedDirectories(settings) == [data + ".diverged.7"])
            #expect(DirectoryCheck.linkTarget(data + ".diverged.7/pg_wal") == wal + ".diverged.7")
            #expect(try RejoinPair.fingerprint(wal + ".diverged.7") == before)
            #expect(OwnedFiles.names(in: KeptFile.folder(of: wal)) == ["wal", "wal.diverged.7"])
            try pair.expectFollows(outcome.copy)
        }
    }

    @Test func aDirectoryThatIsGonePutsItsLogWhereItWas() throws {
        try story { scratch, pair, wal in
            let settings = pair.a.settings
            try pair.rejoin().endLeftovers(atStart: true)
            #expect(
                try DirectoryIdentity.read(stateDirectory: settings.stateDirectory) == nil, "a stopped instance proves nothing")
            let parts = RunningParts(settings, "a")
            _ = try pair.a.instance.start(.standby, deadline: .seconds(60))
            try parts.seenRunning()
            #expect(pair.a.instance.endAll(deadline: .seconds(10)).isComplete)
            try Leftovers.remove(settings.dataDirectory, settings, "test")
            var memory = try #require(try DirectoryIdentity.read(stateDirectory: settings.stateDirectory))
            #expect(memory.elsewhere.map(\.text) == [wal])
            // The disk that it was on is not mounted now.
            let mount = memory.elsewhere[0].mountPoint
            memory.elsewhere[0].mountPoint = scratch.folder + "/nothing"
            try memory.write(stateDirectory: settings.stateDirectory, osUser: settings.osUser)
            let refusal = setupRefusal { try pair.rejoin().copy(abandoned: Term(7), work: pair.work()) }
            #expect(refusal?.happened.hasPrefix("\(wal), to which a link") == true, "\(String(describing: refusal))")
            #expect(OwnedFiles.names(in: KeptFile.folder(of: wal)) == ["wal"])

            memory.elsewhere[0].mountPoint = mount
            try memory.write(stateDirectory: settings.stateDirectory, osUser: settings.osUser)
            let outcome = try pair.rejoin().copy(abandoned: Term(7), work: pair.work())
            #expect(DirectoryCheck.linkTarget(settings.dataDirectory + "/pg_wal") == wal)
            #expect(OwnedFiles.names(in: KeptFile.folder(of: wal)) == ["wal", "wal.diverged.7"])
            _ = outcome
        }
    }

    @Test func aPlaceThatIsMissingOrCannotBeSwappedIsRefusedAndNothingIsTouched() throws {
        try story { _, pair, wal in
            let data = pair.a.settings.dataDirectory
            func refusal() -> PostgresError? { setupRefusal { try pair.rejoin().copy(abandoned: Term(7), work: pair.work()) } }
            #expect(rename(wal, wal + ".away") == 0)
            guard case .refuse(.missingPart(wal)) = try pair.rejoin().survey().verdict else {
                throw SetupScratchError(description: "\(try pair.rejoin().survey().verdict)")
            }
            #expect(refusal()?.happened.contains("Mount its disk") == true)
            #expect(rename(wal + ".away", wal) == 0)

            // Older files lie below the mount point of its disk.
            let settings = pair.a.settings
            var memory = try DirectoryIdentity.of(data)
            memory.elsewhere[0].mountPoint = KeptFile.folder(of: wal)
            try memory.write(stateDirectory: settings.stateDirectory, osUser: settings.osUser)
            guard case .refuse(.partNotMounted(wal, on: KeptFile.folder(of: wal))) = try pair.rejoin().survey().verdict else {
                throw SetupScratchError(description: "\(try pair.rejoin().survey().verdict)")
            }
            #expect(refusal()?.happened.hasPrefix("\(KeptFile.folder(of: wal)) is not mounted, on which \(wal), ") == true)
            try DurableFile.remove(DirectoryIdentity.file(stateDirectory: settings.stateDirectory))

            let before = try RejoinPair.fingerprint(data)
            try succeed(Tool("/usr/bin/mount", ["--bind", wal, wal]))
            let mounted = refusal()
            _ = umount2(wal, Int32(MNT_DETACH))
            #expect(mounted?.happened == "\(wal), which holds pg_wal, is a mount point.")
            #expect(try RejoinPair.fingerprint(data) == before)
            #expect(OwnedFiles.names(in: KeptFile.folder(of: wal)) == ["wal"])
        }
    }
}

@Suite struct RejoinUnitTests {
    @Test func historiesAreReadAndCompared() throws {
        let text = "1\t0/3000110\tno recovery target specified\n\n# a comment\n2\t0/5000028\tbefore 2026\n"
        let chain = try #require(TimelineChain(timeline: 3, history: text))
        #expect(chain.pieces.map(\.timeline) == [1, 2, 3])
        #expect(chain.pieces.map(\.begin) == [LSN(0), LSN(0x300_0110), LSN(0x500_0028)])
        #expect(chain.past.last?.end == LSN(0x500_0028) && chain.current.end == nil)
        #expect(chain.timelines(ofSegmentAt: LSN(0x300_0000), size: 16 << 20) == [2, 1])
        #expect(chain.timelines(ofSegmentAt: LSN(0x200_0000), size: 16 << 20) == [1])

        let other = try #require(TimelineChain(timeline: 2, history: "1\t0/3000110\tx\n"))
        #expect(chain.lastCommon(with: other)?.own.timeline == 2)
        let early = try #require(TimelineChain(timeline: 2, history: "1\t0/3000100\tx\n"))
        let common = try #require(chain.lastCommon(with: early))
        #expect(common.own.timeline == 1 && common.own.end == LSN(0x300_0110) && common.other.end == LSN(0x300_0100))
        let damages = [(2, ""), (2, "1 nonsense"), (3, "2\t0/2\tx\n1\t0/3\tx"), (2, "2\t0/1\tx"), (3, "1\t0/9\n2\t0/8")]
        for (timeline, damaged) in damages {
            #expect(TimelineChain(timeline: Timeline(timeline), history: damaged) == nil, "\(damaged)")
        }
        #expect(TimelineChain(timeline: 1, history: nil)?.pieces.count == 1)
    }

    /// A control file that is a timeline behind: it left timeline 1 before the source did, and does not know it yet.
    @Test func whatPgRewindWillFindIsToldFromTheControlFilesTimeline() throws {
        let source = try #require(TimelineChain(timeline: 2, history: "1\t0/5000000\tx\n"))
        let known = try #require(TimelineChain(timeline: 3, history: "1\t0/4000000\tx\n"))
        let behind = try #require(TimelineChain(timeline: 1, history: nil))
        #expect(known.fork(with: source) == LSN(0x400_0000))
        #expect(behind.fork(with: source) == LSN(0x500_0000))
        #expect(behind.fork(with: behind) == nil)
        let text = """
            Database system identifier:           7
            Database cluster state:               shut down in recovery
            Latest checkpoint location:           0/3000028
            Latest checkpoint's REDO location:    0/3000028
            Latest checkpoint's TimeLineID:       1
            Minimum recovery ending location:     0/4100000
            Min recovery ending loc's timeline:   3
            Bytes per WAL segment:                16777216
            """
        let control = try #require(ControlData(text))
        #expect(control.timelineOfRewind(major: 15) == 1 && control.timelineOfRewind(major: 16) == 3)
    }

    @Test func lineageProvesOrRefutes() {
        func entry(_ term: UInt64, _ copy: UInt64, _ lsn: UInt64) -> Instance.LineageEntry {
            .init(term: Term(term), copy: CopyID(high: copy, low: 0), parent: nil, lsn: LSN(lsn))
        }
        let own = [entry(4, 1, 100)]
        #expect(Descent.lineage(LSN(100), own, [entry(6, 2, 200), entry(4, 1, 100)]) == .same)
        for theirs in [[entry(5, 2, 100)], [entry(4, 2, 100)]] {
            guard case .different = Descent.lineage(LSN(100), own, theirs) else {
                Issue.record("\(theirs)")
                continue
            }
        }
        for (begin, own, theirs) in [(0, own, own), (100, own, nil), (100, own, []), (100, [], own)]
            as [(UInt64, [Instance.LineageEntry], [Instance.LineageEntry]?)]
        {
            guard case .unknown = Descent.lineage(LSN(begin), own, theirs) else {
                Issue.record("\(begin)")
                continue
            }
        }
    }

    @Test func whatIsKeptInTheStateDirectoryIsReadAgainOrSeenToBeDamaged() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.settings("a")
        let state = settings.stateDirectory
        #expect(try LineageFile.read(stateDirectory: state) == [])
        for number in [3, 5, 3] as [UInt64] {
            try LineageFile.add(
                .init(
                    term: Term(number), copy: RejoinPair.copyA, parent: number == 5 ? Term(3) : nil, lsn: LSN(number << 20)),
                stateDirectory: state, osUser: settings.osUser)
        }
        let entries = try LineageFile.read(stateDirectory: state)
        #expect(entries.map(\.term) == [Term(5), Term(3)] && entries.map(\.parent) == [Term(3), nil])

        let intent = RejoinIntent(phase: .rewinding, target: settings.dataDirectory, copy: RejoinPair.copyA, words: "a\nb")
        try intent.write(settings)
        #expect(try Rejoin.unfinishedRewind(settings)?.hasPrefix("a b, noted in ") == true)
        try scratch.put("rewinding\n", RejoinIntent.path(settings))
        #expect(try Rejoin.unfinishedRewind(settings)?.hasSuffix("is damaged") == true)
        try RejoinIntent.remove(settings)
        #expect(try Rejoin.unfinishedRewind(settings) == nil)
    }
}
