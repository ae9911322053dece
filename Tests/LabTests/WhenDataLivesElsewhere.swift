import Foundation
import Glibc
import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// Configuration below /etc, as Debian's packages make it, `pg_wal` behind a link on a file system of its own, and a tablespace on a
    /// third one: whatever way a host comes back, each of them stays where it is.
    @Suite struct WhenDataLivesElsewhere {
        private static let wal = "/mnt/wal"
        private static let space = "/mnt/space"

        private static func story(_ body: (PairOnHosts) throws -> Void) throws {
            var configuration = LabConfiguration()
            configuration.layout = .debian
            configuration.arbiterKind = "witness"
            configuration.timing = "fast"
            try PairOnHosts.story(
                configuration, disks: [wal, space],
                preparing: { host throws(LabError) in
                    let postgres = LabPostgres.debian(host)
                    try postgres.create()
                    try moveWAL(host)
                    try host.demand(["install", "-d", "-o", "postgres", "-m", "700", "\(space)/fast"])
                    try postgres.start()
                    _ = try postgres.query("create tablespace fast location '\(space)/fast'")
                    _ = try postgres.query(
                        "create table far tablespace fast as select g as n, md5(g::text) as words from generate_series(1, 30000) g"
                    )
                }
            ) { pair in
                // `join` leaves pg_wal in the directory; somebody moves it, as on the first host.
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                pair.b.setServiceStartsAtBoot(false, .agent)
                pair.b.setServiceStartsAtBoot(false, .guardian)
                try pair.b.boot()
                try moveWAL(pair.b)
                for service in [HostService.guardian, .agent] {
                    try pair.b.startService(service)
                    pair.b.setServiceStartsAtBoot(true, service)
                }
                try pair.waitUntilWhole(primary: "a", upTo: .seconds(60))
                try pair.isWhereItWas(asides: 0)
                try body(pair)
            }
        }

        /// Into a folder of its disk, as the manual advises: a disk has a `lost+found`.
        private static func moveWAL(_ host: LabHost) throws(LabError) {
            let data = LabPostgres.debianDataDirectory
            let script = "mv \(data)/pg_wal \(wal)/main && ln -s \(wal)/main \(data)/pg_wal"
            try host.demand(["/bin/sh", "-c", script], user: "postgres")
        }

        @Test func aNewCopyIsMadeOnRequestAndOnceMore() throws {
            try Self.story { pair in
                for number in 1...2 {
                    _ = try LabPostgres.query("insert into far values (-\(number), 'later')", on: pair.a)
                    let text = try pair.ask(pair.b, "rejoin", "--fresh")
                    #expect(text.contains("b is back as the standby, paired"), "\(text)")
                    try pair.waitUntilWhole(primary: "a", upTo: .seconds(60))
                    let entry = try #require(try pair.history(pair.b).last { $0.kind == .rejoin })
                    #expect(entry.cause == "copy", "\(entry)")
                    try pair.isWhereItWas(asides: number)
                    let aside = try #require(entry.lost?.kept_in)
                    try pair.isWholeAside(pair.b, aside)
                }
            }
        }

        /// Its directory is gone, and what lay elsewhere is still there: that is kept, and the new parts are in the old places.
        @Test func anEmptyDirectoryIsFilledWithItsParts() throws {
            try Self.story { pair in
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                try pair.emptyData(of: pair.b)
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "a", upTo: .seconds(90))
                #expect(try pair.history(pair.b).last { $0.kind == .rejoin }?.cause == "copy")
                try pair.isWhereItWas(asides: 1, ofData: 0)
            }
        }

        /// The primary loses power with WAL that the standby never got.
        @Test func aHostThatDivergedIsRewound() throws {
            try Self.story { pair in
                try pair.lab.cut(from: "a", to: "b", tcpPort: 5432)
                _ = try LabPostgres.query(
                    "set synchronous_commit = local; update far set words = 'lost' where n % 7 = 0", on: pair.a)
                try pair.a.powerOff()
                try pair.waitUntilAlone(pair.b)
                try pair.lab.heal()
                _ = try LabPostgres.query("update far set words = 'kept' where n % 11 = 0", on: pair.b)
                try pair.a.boot()
                try pair.waitUntilWhole(primary: "b", upTo: .seconds(90))
                let entry = try #require(try pair.history(pair.a).last { $0.kind == .rejoin })
                #expect(entry.cause == "rewind", "\(entry)")
                #expect(try LabPostgres.query("select count(*) from far where words = 'lost'", on: pair.a) == ["0"])
                try pair.isWhereItWas(asides: 0)
            }
        }

        /// The disk of `pg_wal` is not mounted after a boot: nothing is made in its place, and it is named, also where older files lie below its
        /// mount point.
        @Test(arguments: [false, true]) func aDiskThatIsNotMountedIsNamed(_ isOlderBelow: Bool) throws {
            try Self.story { pair in
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                let services = [HostService.guardian, .agent]
                for service in services { pair.b.setServiceStartsAtBoot(false, service) }
                try pair.b.boot()
                if isOlderBelow { try pair.b.demand(["cp", "-a", "\(Self.wal)/main", "\(Self.space)/older"]) }
                try pair.b.demand(["umount", Self.wal])
                if isOlderBelow { try pair.b.demand(["mv", "\(Self.space)/older", "\(Self.wal)/main"]) }
                for service in services { try pair.b.startService(service) }
                try pair.wait("it says what is missing", upTo: .seconds(60)) {
                    pair.statusIfAny(pair.b)?.notes.contains {
                        $0.contains("\(Self.wal)/main, to which a link") && $0.contains("is not mounted") == isOlderBelow
                    } ?? false
                }
                _ = try pair.b.run([PairOnHosts.binaryInside, "rejoin", "--fresh", "--no-wait"])
                pair.letTimePass(.seconds(5))
                #expect(try pair.status(pair.a).role == "primary_standby")
                #expect(access(pair.b.diskPath(of: LabPostgres.debianDataDirectory + ".pgtandem-new"), F_OK) != 0)
                try pair.b.powerOff()
                for service in services { pair.b.setServiceStartsAtBoot(true, service) }
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "a", upTo: .seconds(60))
                try pair.isWhereItWas(asides: 0)
            }
        }
    }
}

extension PairOnHosts {
    private static let main = LabPostgres.debianDataDirectory

    /// On both hosts: links as they were, configuration outside, nothing beside but old directories, and the same rows.
    fileprivate func isWhereItWas(
        asides: Int, ofData: Int? = nil, at place: SourceLocation = #_sourceLocation
    ) throws {
        for host in [a, b] {
            let links = try host.demand(
                ["/bin/sh", "-c", "readlink \(Self.main)/pg_wal; readlink \(Self.main)/pg_tblspc/*"])
            #expect(links == "/mnt/wal/main\n/mnt/space/fast\n", "\(host.name): \(links)", sourceLocation: place)
            for file in ["postgresql.conf", "pg_hba.conf"] {
                #expect(
                    access(host.diskPath(of: "\(Self.main)/\(file)"), F_OK) != 0, "\(host.name): \(file)", sourceLocation: place)
            }
            let server = try LabPostgres.query("show config_file", on: host)
            #expect(server == ["/etc/postgresql/\(LabPostgres.version)/main/postgresql.conf"], sourceLocation: place)
        }
        for (folder, name, wanted) in [
            ("/mnt/wal", "main", asides), ("/mnt/space", "fast", asides),
            (String(Self.main.dropLast("/main".count)), "main", ofData ?? asides),
        ] {
            for host in [a, b] {
                let names = try FileManager.default.contentsOfDirectory(atPath: host.diskPath(of: folder)).sorted()
                let kept = names.filter { $0.hasPrefix("\(name).diverged.") }
                #expect(names.filter { !kept.contains($0) } == [name], "\(host.name): \(names)", sourceLocation: place)
                #expect(kept.count == (host.name == "b" ? wanted : 0), "\(host.name): \(names)", sourceLocation: place)
            }
        }
        let sum = "select count(*), sum(hashtext(n || words)::bigint) from far"
        let rows = try LabPostgres.query(sum, on: isPrimary(a) ? a : b)
        try wait("both have the same rows") { try LabPostgres.query(sum, on: self.isPrimary(self.a) ? self.b : self.a) == rows }
    }

    private func isPrimary(_ host: LabHost) throws -> Bool { try status(host).role == "primary" }

    /// The old directory has what it had, and none of the new one's.
    fileprivate func isWholeAside(_ host: LabHost, _ aside: String, at place: SourceLocation = #_sourceLocation) throws {
        let ending = aside.dropFirst(Self.main.count)
        let links = try host.demand(["/bin/sh", "-c", "readlink \(aside)/pg_wal; readlink \(aside)/pg_tblspc/*"])
        #expect(links == "/mnt/wal/main\(ending)\n/mnt/space/fast\(ending)\n", "\(links)", sourceLocation: place)
        let files = try host.demand(["/bin/sh", "-c", "ls \(aside)/pg_wal/ | wc -l; ls \(aside)/pg_tblspc/*/*/ | wc -l"])
        #expect(files.split(separator: "\n").allSatisfy { $0 != "0" }, "\(files)", sourceLocation: place)
    }
}
