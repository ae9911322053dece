import Foundation
import Glibc
import Synchronization
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite(.serialized, .timeLimit(.minutes(30))) struct SetupBaseCopyTests {
    /// A primary with data, a replication role that comes in by TCP and password, and the place for a copy.
    private struct Pair {
        let scratch: SetupScratch
        let source: InstanceSettings
        let target: InstanceSettings
        var copy: BaseCopy

        init() throws {
            scratch = try SetupScratch()
            source = try scratch.instance("source")
            let password = try PasswordFile.ensure(scratch.root + "/secret", osUser: source.osUser)
            try HBABlock(user: "rep", database: "postgres", addresses: ["127.0.0.1"]).ensure(source)
            try scratch.start(source)
            let session = try scratch.session(source)
            try ReplicationRole.ensure(session, user: "rep", password: password)
            for sql in [
                "create table public.numbers as select g from generate_series(1, 50000) g",
                "alter system set primary_conninfo = 'host=nowhere'", "alter system set work_mem = '5MB'",
                "alter system set recovery_target_name = 'old'",
            ] {
                _ = try session.query(sql, deadline: .seconds(30))
            }
            try scratch.put("the source's", source.dataDirectory + "/pgtandem.copy")
            target = try scratch.settings("target")
            try Passfile.write(target, user: "rep", password: password)
            copy = BaseCopy(
                settings: target, node: NodeName("b"),
                source: .init(
                    host: "127.0.0.1", port: source.port, user: "rep", database: "postgres", passFile: target.passFile),
                options: .init(systemIdentifier: try ControlData.read(source).systemIdentifier, deadline: .seconds(120)))
            copy.moreArguments = ["--no-sync"]
        }

        func mark(_ directory: String) throws(PostgresError) {
            try CopyMarkFile.write(
                LocalPostgres.CopyMark(copy: Pair.copyID, node: NodeName("b")), directory, osUser: target.osUser)
        }

        static let copyID = CopyID(high: 7, low: 7)

        func run(onProgress: @escaping @Sendable (BaseCopy.Progress) -> Void = { _ in }) throws -> BaseCopy.Report {
            try copy.run(onProgress: onProgress) { directory throws(PostgresError) in try mark(directory) }
        }

        /// The copy is whole, ours, and a standby.
        func expectWhole() throws {
            let facts = try DirectoryCheck.requireInstance(target)
            #expect(facts.systemIdentifier == copy.options.systemIdentifier)
            #expect(try CopyMarkFile.read(target.dataDirectory)?.node == NodeName("b"))
            #expect(OwnedFiles.exists(target.dataDirectory + "/standby.signal"))
            #expect(!OwnedFiles.exists(target.dataDirectory + ".pgtandem-new"))
            #expect(try SetupIntent.read(target, .copy) == nil)
            let automatic = ConfigText(try scratch.text(target.dataDirectory + "/postgresql.auto.conf"))
            #expect(automatic.value(of: "primary_conninfo") == nil && automatic.value(of: "work_mem") == "5MB")
            #expect(automatic.value(of: "recovery_target_name") == nil)
        }

        func removeTarget() throws {
            try Leftovers.remove(target.dataDirectory, target, "clean up")
        }
    }

    /// pg_basebackup leaves that to us: a copy that may be gone after a loss of power takes nobody's place.
    @Test func aCopyThatCannotBeSyncedIsNotUsed() throws {
        var pair = try Pair()
        let bin = pair.scratch.root + "/bin"
        try FileManager.default.createDirectory(atPath: bin, withIntermediateDirectories: true)
        let old = pair.target.binDirectory
        for name in try FileManager.default.contentsOfDirectory(atPath: old) where name != "initdb" {
            try FileManager.default.createSymbolicLink(atPath: "\(bin)/\(name)", withDestinationPath: "\(old)/\(name)")
        }
        try Data("#!/bin/sh\necho \"$1: no space\" >&2; exit 1\n".utf8).write(to: URL(fileURLWithPath: bin + "/initdb"))
        for path in [bin, bin + "/initdb"] {
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        }
        pair.copy.settings.binDirectory = bin
        let error = try #require(throws: PostgresError.self) { _ = try pair.run() }
        #expect(error.happened.contains("--sync-only: no space") && error.meaning.contains("a loss of power"), "\(error)")
        #expect(!OwnedFiles.exists(pair.target.dataDirectory))
        pair.copy.settings.binDirectory = old
        _ = try pair.run()
        try pair.expectWhole()
    }

    @Test func aCopyIsMadeVerifiedAndStartsAsAStandby() throws {
        let pair = try Pair()
        let seen = Mutex<[BaseCopy.Progress]>([])
        let report = try pair.run { progress in seen.withLock { $0.append(progress) } }
        #expect(report.movedAside == nil && !report.wasCompleted)
        #expect(report.notes == ["Left out of the copy's postgresql.auto.conf: recovery_target_name."])
        try pair.expectWhole()
        let progress = seen.withLock { $0 }
        #expect(Set(progress.map(\.step)) == Set(BaseCopy.Step.allCases))
        let last = try #require(progress.last { $0.step == .copying })
        #expect(last.doneBytes > 20 << 20 && last.doneBytes <= last.totalBytes)

        let again = setupRefusal { try pair.run() }
        #expect(again?.advice.contains("mv \(pair.target.dataDirectory) ") == true)
        try pair.expectWhole()

        let file = KeptFile(path: pair.target.effectiveConfigFile, user: pair.target.osUser)
        var text = ConfigText(try pair.scratch.text(pair.target.effectiveConfigFile))
        text.set("port", String(pair.target.port))
        try file.write(text.bytes, newMode: 0o600, "give it its port")
        try pair.scratch.start(pair.target)
        let session = try pair.scratch.session(pair.target)
        #expect(
            try session.query("select count(*), pg_is_in_recovery() from public.numbers", deadline: .seconds(10)).rows == [
                ["50000", "t"]
            ])
    }

    @Test func aLinkedPlaceStaysALinkToTheNewContent() throws {
        let pair = try Pair()
        let real = pair.scratch.root + "/disk/real"
        try OwnedFiles(user: SetupScratch.user).makeFolder(pair.scratch.root + "/disk")
        try OwnedFiles(user: SetupScratch.user).makeFolder(real)
        #expect(symlink(real, pair.target.dataDirectory) == 0)
        _ = try pair.run()
        try pair.expectWhole()
        #expect(try FileFacts.of(pair.target.dataDirectory, followingLinks: false)?.kind == .symbolicLink)
        #expect(OwnedFiles.names(in: pair.scratch.root + "/disk") == ["real"])
    }

    @Test func whatAnInterruptedRunPutIntoTablespacesIsRemovedAndNothingElse() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.settings("a")
        let place = scratch.root + "/space"
        for folder in [place, place + "/PG_15_202209061", place + "/PG_14_202107181"] {
            try OwnedFiles(user: SetupScratch.user).makeFolder(folder)
        }
        try scratch.put("x", place + "/PG_15_202209061/1")
        let tablespaces = BaseCopyTablespaces(settings: settings, attempted: "test")
        for _ in 1...2 { try tablespaces.clear([place, scratch.root + "/none"], major: 15) }
        #expect(OwnedFiles.names(in: place) == ["PG_14_202107181"])
        #expect(setupRefusal { try tablespaces.requireEmpty([place]) } != nil)
    }

    @Test func aRunThatEndsBeforeAnyStepIsCompletedByTheNext() throws {
        var pair = try Pair()
        for step in BaseCopy.Step.allCases {
            pair.copy.beforeStep = { (next: BaseCopy.Step) throws(PostgresError) in
                try SetupStop(step.rawValue).before(next.rawValue)
            }
            #expect(setupRefusal { try pair.run() }?.happened == SetupStop.words)
            let isSwapped = [.settling, .marking, .finishing].contains(step)
            #expect(OwnedFiles.exists(pair.target.dataDirectory) == isSwapped, "\(step)")
            // The source's mark must not arrive: it would say that this copy is whole.
            if step == .marking { #expect(try CopyMarkFile.read(pair.target.dataDirectory) == nil) }
            pair.copy.beforeStep = nil
            #expect(try pair.run().wasCompleted == isSwapped, "\(step)")
            try pair.expectWhole()
            try pair.removeTarget()
        }
    }

    @Test func aCopyWhoseProgramIsKilledIsMadeAnew() throws {
        var pair = try Pair()
        let place = pair.target.dataDirectory + ".pgtandem-new"
        // Slow enough that the program says something thrice before it is done, on any machine.
        pair.copy.options.maxRateKilobytesPerSecond = 3072
        let killer = Lane(name: "killer")
        defer { killer.stop() }
        for moment in 0...2 {
            let count = Mutex(0)
            let refusal = setupRefusal {
                try pair.run { progress in
                    guard progress.step == .copying,
                        count.withLock({
                            $0 += 1; return $0
                        }) == moment + 1
                    else { return }
                    let kill: @Sendable () -> Void = {
                        _ = SystemClock.wait(upTo: .seconds(20)) {
                            let found = Leftovers.processes(naming: place)
                            for pid in found { ProcessTable.signal(pid, SIGKILL) }
                            return !found.isEmpty
                        }
                    }
                    // The first call comes before the program is there, the others while it runs.
                    if moment == 0 { killer.submit(kill) } else { kill() }
                }
            }
            #expect(refusal?.happened.contains("signal 9") == true, "\(moment): \(String(describing: refusal))")
            #expect(!OwnedFiles.exists(pair.target.dataDirectory))
        }
        pair.copy.options.maxRateKilobytesPerSecond = nil
        #expect(try !pair.run().wasCompleted)
        try pair.expectWhole()
    }

    @Test func aProgramThatOutlivedItsAgentIsEndedBeforeTheNextCopy() throws {
        let pair = try Pair()
        let place = pair.target.dataDirectory + ".pgtandem-new"
        let orphan = pair.target.tool(
            "pg_basebackup",
            [
                "-D", place, "-d", BaseCopySource.connection(pair.copy.source), "-X", "stream", "-c", "fast", "-w",
                "--max-rate=1024",
            ])
        let lane = Lane(name: "orphan")
        lane.submit { _ = try? orphan.run(deadline: .seconds(60)) }
        #expect(SystemClock.wait(upTo: .seconds(20)) { OwnedFiles.exists(place + "/base") })
        _ = try pair.run()
        try pair.expectWhole()
        #expect(Leftovers.processes(naming: place).isEmpty)
        lane.stop()
    }

    @Test(.enabled(if: geteuid() == 0))
    func aProgramThatMeansAnotherFileSystemByTheSamePathIsLeftAlone() throws {
        let scratch = try SetupScratch()
        let path = scratch.root + "/target.pgtandem-new"
        // As in a container: its own file system at the same path, and a command line that would be ended here.
        let script = "mount -t tmpfs none $0 && touch $0/up && exec -a initdb tail -f /dev/null $1"
        let container = Tool("/usr/bin/unshare", ["-m", "/bin/bash", "-c", script, scratch.root, path])
        let lane = Lane(name: "container")
        lane.submit { _ = try? container.run(deadline: .seconds(60)) }
        func inside() -> [Int32] {
            (OwnedFiles.names(in: "/proc") ?? []).compactMap { Int32($0) }.filter { pid in
                OwnedFiles.exists("/proc/\(pid)/root\(scratch.root)/up")
                    && InstanceProcesses.link("/proc/\(pid)/exe")?.hasSuffix("/tail") == true
            }
        }
        #expect(SystemClock.wait(upTo: .seconds(20)) { !inside().isEmpty })
        #expect(Leftovers.processes(naming: path).isEmpty)
        for pid in inside() { ProcessTable.signal(pid, SIGKILL) }
        lane.stop()
    }

    @Test func whatStandsInThePlaceIsRefusedAndUntouched() throws {
        let pair = try Pair()
        let data = pair.target.dataDirectory
        try OwnedFiles(user: SetupScratch.user).makeFolder(data)
        try pair.scratch.put("precious", data + "/letter")
        #expect(setupRefusal { try pair.run() }?.happened == "The target holds letter.")
        #expect(OwnedFiles.names(in: data) == ["letter"])
        #expect(unlink(data + "/letter") == 0)
        // Empty is fine. Then somebody's own instance, also with an old intent of ours that names this path.
        _ = try pair.run()
        try pair.removeTarget()
        _ = try SetupScratch.creation(pair.target).create()
        try pair.scratch.put("", data + "/standby.signal")
        var intent = SetupIntent(target: data)
        intent.wholeDirectory = 1
        try intent.write(pair.target, .copy)
        let identifier = try ControlData.read(pair.target).systemIdentifier
        #expect(
            setupRefusal { try pair.run() }?.happened
                == "The target holds an instance of PostgreSQL \(try DirectoryCheck.majorOfPrograms(pair.target)).")
        #expect(try ControlData.read(pair.target).systemIdentifier == identifier)
        // The mark of the other node: an unfinished copy. It is moved aside, not deleted.
        try CopyMarkFile.write(
            LocalPostgres.CopyMark(copy: Pair.copyID, node: NodeName("a")), data, osUser: pair.target.osUser)
        let aside = try #require(try pair.run().movedAside)
        #expect(try ControlData.read(pair.target, directory: aside).systemIdentifier == identifier)
        try pair.expectWhole()
    }

    @Test func anotherDatabaseAnotherPasswordAndFullTablespacesAreRefused() throws {
        var pair = try Pair()
        let place = pair.scratch.root + "/space"
        try OwnedFiles(user: SetupScratch.user).makeFolder(place)
        let session = try pair.scratch.session(pair.source)
        _ = try session.query("create tablespace extra location '\(place)'", deadline: .seconds(10))
        #expect(setupRefusal { try pair.run() }?.happened.contains("tablespace \(place)") == true)
        _ = try session.query("drop tablespace extra", deadline: .seconds(10))

        pair.copy.options.systemIdentifier = 42
        #expect(setupRefusal { try pair.run() }?.happened.contains("the pair's is 42") == true)
        try Passfile.write(pair.target, user: "rep", password: "wrong")
        let refusal = try #require(setupRefusal { try pair.run() })
        #expect(refusal.happened.contains("password authentication failed") && !refusal.description.contains("wrong"))
        #expect(!OwnedFiles.exists(pair.target.dataDirectory))
        #expect(!OwnedFiles.exists(pair.target.dataDirectory + ".pgtandem-new"))
    }

    @Test func aMountPointAndASecondRunAtOnceAreRefused() throws {
        let pair = try Pair()
        let lock = try SetupLock(pair.target, "test")
        #expect(setupRefusal { try pair.run() }?.happened.contains("Another run") == true)
        lock.release()
        var settings = pair.target
        settings.dataDirectory = "/proc"
        #expect(setupRefusal { try NewDirectory(settings, "test") }?.happened == "/proc is a mount point.")
    }
}
