import Glibc
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

/// Parts of a data directory that lie elsewhere: what may be swapped, and what is noticed if it was not.
@Suite(.timeLimit(.minutes(30))) struct ElsewhereTests {
    let scratch: SetupScratch
    let settings: InstanceSettings
    private var folder: String { scratch.root }

    init() throws {
        scratch = try SetupScratch()
        settings = try scratch.settings("a")
    }

    /// nil: it was not.
    private func refused(_ body: () throws(PostgresError) -> Void) -> PostgresError? {
        do throws(PostgresError) {
            try body()
            return nil
        } catch {
            return error
        }
    }

    /// One rename would carry the other away.
    @Test func partsThatLieInEachOtherAreNotSwapped() throws {
        let spaces = Elsewhere(.tablespace, "/ts", place: "/ts")
        let inside = Elsewhere(.tablespace, "/ts/b", place: "/ts/b")
        let log = Elsewhere(.wal, "/ts-2/wal", place: "/ts-2/wal")
        func refusal(_ parts: [Elsewhere], _ others: [String] = ["/data"]) -> String? {
            refused { () throws(PostgresError) in try Elsewhere.requireApart(parts, others, "copy") }?.happened
        }
        #expect(refusal([spaces, log]) == nil, "names that begin alike are not inside each other")
        #expect(refusal([spaces, inside]) != nil)
        #expect(refusal([inside, log, spaces]) != nil)
        #expect(refusal([Elsewhere(.tablespace, "/data/x", place: "/data/x")]) != nil)
        #expect(refusal([Elsewhere(.tablespace, "/srv", place: "/srv")], ["/srv/pg/15"]) != nil)
    }

    /// It would be moved aside with the rest.
    @Test(arguments: [
        (Elsewhere.Kind.tablespace, "PG_14_202107181", false), (.tablespace, "PG_15_202209061", true),
        (.tablespace, "letters", false),
        (.wal, "000000010000000000000001", true), (.wal, "archive_status", true), (.wal, "letters", false),
    ])
    func whatIsSomebodyElsesIsNotMovedAside(_ kind: Elsewhere.Kind, _ name: String, _ isOwn: Bool) throws {
        let place = folder + "/part"
        try OwnedFiles(user: settings.osUser).makeFolder(place)
        try scratch.put("x", place + "/" + name)
        let part = Elsewhere(kind, place, place: place)
        let refusal = refused { () throws(PostgresError) in try part.requireSwap("copy", settings, major: 15) }
        #expect((refusal == nil) == isOwn, "\(refusal?.happened ?? "nothing was said")")
    }

    /// Old in a new directory: the disk went away between the copy and the swap, or somebody changed a link.
    @Test func anOldPartBehindTheLinkOfANewDirectoryIsNoticed() throws {
        let (data, place, old) = (folder + "/data", folder + "/wal", folder + "/data.diverged.7")
        let files = OwnedFiles(user: settings.osUser)
        for path in [data, place, old] { try files.makeFolder(path) }
        try scratch.put("old", place + "/000000010000000000000001")
        let part = Elsewhere(.wal, place, place: place)
        try files.makeFolder(part.fresh)
        try part.mark("77", settings, "copy")
        #expect(symlink(part.fresh, data + "/pg_wal") == 0 && symlink(place, old + "/pg_wal") == 0)
        // As if its disk were gone: nothing is there to be swapped in.
        #expect(rename(part.fresh, folder + "/away") == 0)
        try part.settle(data, ending: ".diverged.7", "copy")
        #expect(refused { () throws(PostgresError) in try part.requireMark("77", of: data, "copy") } != nil)
        #expect(rename(folder + "/away", part.fresh) == 0)
        try part.settle(data, ending: ".diverged.7", "copy")
        #expect(refused { () throws(PostgresError) in try part.requireMark("77", of: data, "copy") } == nil)
        #expect(refused { () throws(PostgresError) in try part.requireMark("78", of: data, "copy") } != nil, "another copy's")
        #expect(DirectoryCheck.linkTarget(old + "/pg_wal") == place + ".diverged.7")
        #expect(try DurableFile.read(old + "/pg_wal/000000010000000000000001") != nil)
        try part.unmark("copy")
        #expect(OwnedFiles.names(in: place) == [])
    }

    /// A new directory with its part beside the place, and the old one aside.
    private struct Swap {
        let data: String
        let place: String
        let old: String
        let part: Elsewhere
        let segment = "/000000010000000000000001"

        init(_ scratch: SetupScratch, _ settings: InstanceSettings) throws {
            (data, place, old) = (settings.dataDirectory, scratch.root + "/wal", settings.dataDirectory + ".diverged.7")
            part = Elsewhere(.wal, place, place: place)
            for path in [data, place, old, part.fresh] { try OwnedFiles(user: settings.osUser).makeFolder(path) }
            try scratch.put("old", place + segment)
            try scratch.put("new", part.fresh + segment)
            #expect(symlink(part.fresh, data + "/pg_wal") == 0 && symlink(place, old + "/pg_wal") == 0)
        }

        func text(_ path: String) throws -> String? {
            try DurableFile.read(path + segment).map { String(decoding: $0, as: UTF8.self) }
        }
    }

    /// The note of where the old directory went is lost, wherever the swap was interrupted.
    @Test(arguments: ["before", "between the renames", "before the links"])
    func theOldDirectoryNeverLeadsToANewPartThoughTheNoteIsLost(_ moment: String) throws {
        let swap = try Swap(scratch, settings)
        let part = swap.part
        if moment != "before" { #expect(rename(part.place, part.place + ".diverged.7") == 0) }
        if moment == "before the links" { #expect(rename(part.fresh, part.place) == 0) }
        // A name that is free, as a copy that knows nothing would take it.
        try part.settle(swap.data, ending: ".diverged.7-2", "copy")
        if moment == "before the links" {
            #expect(try FormerDirectories(of: swap.data).turnAway("copy") == [swap.old + "/pg_wal"])
        }
        #expect(DirectoryCheck.linkTarget(swap.old + "/pg_wal") == part.place + ".diverged.7")
        #expect(DirectoryCheck.linkTarget(swap.data + "/pg_wal") == part.place)
        #expect(try swap.text(swap.old + "/pg_wal") == "old")
        #expect(try swap.text(swap.data + "/pg_wal") == "new")
        #expect(try FormerDirectories(of: swap.data).turnAway("copy").isEmpty)
    }

    /// Also if its own part is nowhere: then it leads nowhere.
    @Test func anAgentsStartTurnsLinksOfOldDirectoriesAway() throws {
        let swap = try Swap(scratch, settings)
        try Leftovers.remove(swap.place, settings, "test")
        #expect(rename(swap.part.fresh, swap.place) == 0)
        #expect(unlink(swap.data + "/pg_wal") == 0 && symlink(swap.place, swap.data + "/pg_wal") == 0)
        let source = Rejoin.Source(host: "127.0.0.1", port: 1, user: "rep", database: "postgres", passFile: settings.passFile)
        let rejoin = Rejoin(instance: Instance(settings), node: "a", source: source)
        try rejoin.endLeftovers(atStart: true)
        #expect(DirectoryCheck.linkTarget(swap.old + "/pg_wal") == swap.place, "a directory without our mark says nothing")
        try CopyMarkFile.write(.init(copy: CopyID(high: 1, low: 1), node: "a"), swap.data, osUser: settings.osUser)
        try rejoin.endLeftovers(atStart: true)
        #expect(DirectoryCheck.linkTarget(swap.old + "/pg_wal") == swap.place + ".diverged.7")
        #expect(!OwnedFiles.exists(swap.old + "/pg_wal"))
        #expect(try swap.text(swap.data + "/pg_wal") == "new")
    }

    /// Neither what is in use, though its name has the ending, nor what its stamp gives to another directory.
    @Test(arguments: ["its own", "in use", "stamped for another"])
    func aCleanUpRemovesOnlyTheOldDirectorysOwnParts(_ what: String) throws {
        let swap = try Swap(scratch, settings)
        let aside = swap.place + ".diverged.7"
        #expect(rename(swap.place, aside) == 0)
        #expect(unlink(swap.old + "/pg_wal") == 0 && symlink(aside, swap.old + "/pg_wal") == 0)
        if what == "in use" { #expect(unlink(swap.data + "/pg_wal") == 0 && symlink(aside, swap.data + "/pg_wal") == 0) }
        if what == "stamped for another" { try scratch.put("1", aside + "/" + Elsewhere.stamp) }
        try Rejoin.removeDiverged(settings, swap.old)
        #expect(!OwnedFiles.exists(swap.old))
        #expect(OwnedFiles.exists(aside) == (what != "its own"))
    }

    // MARK: disks

    /// A directory of this node whose `pg_wal` lies elsewhere.
    private func linked() throws -> (data: String, wal: String) {
        let (data, wal) = (settings.dataDirectory, folder + "/wal")
        for path in [data, wal, data + "/pg_tblspc"] { try OwnedFiles(user: settings.osUser).makeFolder(path) }
        #expect(symlink(wal, data + "/pg_wal") == 0)
        try CopyMarkFile.write(.init(copy: CopyID(high: 1, low: 1), node: "a"), data, osUser: settings.osUser)
        return (data, wal)
    }

    private func memory() throws -> DirectoryIdentity? { try DirectoryIdentity.read(stateDirectory: settings.stateDirectory) }

    private func remember(_ change: (inout DirectoryIdentity) -> Void) throws {
        var identity = try DirectoryIdentity.of(settings.dataDirectory)
        identity.systemIdentifier = 7
        change(&identity)
        try identity.write(stateDirectory: settings.stateDirectory, osUser: settings.osUser)
    }

    /// Older files below the mount point look like the part itself.
    @Test func aStartOnAPartWhoseDiskIsNotMountedIsRefused() throws {
        let (data, wal) = try linked()
        let away = folder + "/disk"
        try remember { $0.elsewhere[0].mountPoint = away }
        let instance = Instance(settings)
        let refusal = setupRefusal { try instance.start(.standby, deadline: .seconds(5)) }
        #expect(
            refusal?.happened.hasPrefix("\(away) is not mounted, on which \(wal), ") == true, "\(String(describing: refusal))")
        #expect(refusal?.advice.contains(settings.stateDirectory + "/data-directory") == true)
        #expect(!OwnedFiles.exists(data + "/standby.signal"), "nothing was touched")
        // A link that says something else is of another part: somebody moved it.
        #expect(unlink(data + "/pg_wal") == 0 && symlink(folder + "/./wal", data + "/pg_wal") == 0)
        #expect(try DirectoryIdentity.strayed(settings) == nil)
    }

    /// A tablespace is made at any time, and one that was dropped is nobody's.
    @Test func partsAreRememberedWhileTheInstanceRuns() throws {
        let (data, wal) = try linked()
        try remember { $0.elsewhere = [] }
        let parts = RunningParts(settings, "a")
        try parts.seenRunning()
        #expect(try memory()?.elsewhere.map(\.text) == [wal])
        let space = folder + "/space"
        try OwnedFiles(user: settings.osUser).makeFolder(space)
        #expect(symlink(space, data + "/pg_tblspc/16400") == 0)
        try parts.seenRunning()
        #expect(try memory()?.elsewhere.map(\.text) == [wal, space])
        #expect(unlink(data + "/pg_tblspc/16400") == 0)
        try parts.seenRunning()
        #expect(try memory()?.elsewhere.map(\.text) == [wal] && memory()?.systemIdentifier == 7)
        try RunningParts(settings, "b").seenRunning()
        #expect(try memory()?.elsewhere.map(\.text) == [wal], "the directory carries the other node's mark")
    }

    /// A server may outlive its disk.
    @Test func aMountPointIsNotForgottenForADiskThatIsMissing() throws {
        let (_, wal) = try linked()
        let mounts = MountTable("1 1 0:1 / / rw - x x rw\n2 1 0:2 / /mnt rw - x x rw")
        func identity(_ point: String) -> DirectoryIdentity {
            var identity = DirectoryIdentity(path: settings.dataDirectory, mountPoint: "/", systemIdentifier: 7)
            identity.elsewhere = [.init(kind: .wal, text: wal, mountPoint: point)]
            return identity
        }
        #expect(identity("/away").followed(by: identity("/"), mounts) == identity("/away"))
        #expect(identity("/").followed(by: identity("/mnt"), mounts) == identity("/mnt"), "moved to a disk of its own")
        try remember { $0.elsewhere[0].mountPoint = folder + "/disk" }
        try RunningParts(settings, "a").seenRunning()
        #expect(try memory()?.elsewhere.map(\.mountPoint) == [folder + "/disk"])
    }
}
