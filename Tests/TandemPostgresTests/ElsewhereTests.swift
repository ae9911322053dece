import Glibc
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

/// Parts of a data directory that lie elsewhere: what may be swapped, and what is noticed if it was not.
@Suite(.timeLimit(.minutes(1))) struct ElsewhereTests {
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
        try part.settle(data, old: old, ending: ".diverged.7", "copy")
        #expect(refused { () throws(PostgresError) in try part.requireMark("77", of: data, "copy") } != nil)
        #expect(rename(folder + "/away", part.fresh) == 0)
        try part.settle(data, old: old, ending: ".diverged.7", "copy")
        #expect(refused { () throws(PostgresError) in try part.requireMark("77", of: data, "copy") } == nil)
        #expect(refused { () throws(PostgresError) in try part.requireMark("78", of: data, "copy") } != nil, "another copy's")
        #expect(DirectoryCheck.linkTarget(old + "/pg_wal") == place + ".diverged.7")
        #expect(try DurableFile.read(old + "/pg_wal/000000010000000000000001") != nil)
        try part.unmark("copy")
        #expect(OwnedFiles.names(in: place) == [])
    }
}
