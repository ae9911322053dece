import Foundation
import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// The first host's data directory is on a small disk of its own, with which everything happens that happens to disks.
    @Suite struct WhenStorageIsInTrouble {
        private static let patience = Duration.seconds(3)

        /// - Parameter body: gets the disk of host A, which is primary.
        private static func story(_ body: (PairOnHosts, SmallDisk) throws -> Void) throws {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            configuration.hangPatience = "3s"
            try PairOnHosts.story(configuration, preparing: { host throws(LabError) in try SmallDisk(host).make() }) { pair in
                let disk = SmallDisk(pair.a)
                // A frozen file system would outlive its host.
                defer { disk.goesOn() }
                try pair.wait("the canary has looked") { try pair.status(pair.a).storage == "well" }
                try body(pair, disk)
            }
        }

        /// An I/O error turns the file system read-only. While it is repaired, the directory is not mounted: nothing is made or copied there.
        @Test func thePrimarysFileSystemTurnsReadOnly() throws {
            try Self.story { pair, disk in
                let began = SystemClock.now()
                try disk.turnsReadOnly()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began, atMost: .seconds(3))
                try pair.tellsItsStorage(pair.a, "read_only", "the file system is read-only")
                try pair.wait("the other host says it too") {
                    try pair.status(pair.b).notes.contains { $0.hasPrefix("a: storage: the file system is read-only") }
                }
                try disk.unmount()
                pair.letTimePass(.seconds(3))
                #expect(try disk.names() == [], "nothing is made where nothing is mounted")
                try disk.repair()
                try disk.mount()
                try pair.waitUntilWhole(primary: "b", upTo: .seconds(60))
                // It is believed when it has been well for a while; the pair may be whole before that.
                try pair.wait("its disk is well again") { try pair.status(pair.a).storage == "well" }
                // PostgreSQL may have been the first to notice.
                let given = try #require(try pair.history(pair.a).last { ["storage", "crash"].contains($0.cause) })
                #expect(given.cause == "storage" || given.evidence.contains { $0.hasPrefix("storage: ") }, "\(given)")
            }
        }

        /// Every access fails, also that to the WAL which the other host lacks: the other one has all that was acknowledged.
        @Test func thePrimarysDiskFails() throws {
            try Self.story { pair, disk in
                let began = SystemClock.now()
                try disk.fails()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began, atMost: .seconds(4))
                try pair.tellsItsStorage(pair.a, "failing", "the disk is not to be trusted")
                pair.letTimePass(.seconds(5))
                #expect(pair.a.postgresProcesses().isEmpty, "nothing is started on a disk that fails")
                try disk.unmount()
                try disk.repair()
                try disk.mount()
                try pair.waitUntilWhole(primary: "b", upTo: .seconds(60))
            }
        }

        /// As a person does who takes a file system away that is in use: PostgreSQL goes on in it, and every path leads elsewhere.
        @Test func thePrimarysFileSystemIsTakenAway() throws {
            try Self.story { pair, disk in
                let began = SystemClock.now()
                let served = pair.a.postgresProcesses().map(\.pid)
                #expect(served.count > 5)
                try disk.isTakenAway()
                try pair.waitUntilAlone(pair.b, upTo: .seconds(40))
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began, atMost: .seconds(20))
                #expect(served.allSatisfy { ProcessTable.startTime(of: $0) == nil }, "no process of it is left")
                try pair.tellsItsStorage(pair.a, "gone", "is empty, or gone")
                #expect(try disk.names() == [], "nothing is made where nothing is mounted")
                try disk.repair()
                try disk.mount()
                try pair.waitUntilWhole(primary: "b", upTo: .seconds(60))
            }
        }

        /// Writers stand in the kernel and do not die: the lease ends, the witness grants the role.
        @Test func thePrimarysWritesHang() throws {
            try Self.story { pair, disk in
                let began = SystemClock.now()
                try disk.hangs()
                try pair.tellsItsStorage(pair.a, "hangs", "look what the disk")
                try pair.waitUntilAlone(pair.b, upTo: .seconds(40))
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began, atMost: Self.patience + .seconds(20))
                disk.goesOn()
                try pair.waitUntilWhole(primary: "b", upTo: .seconds(90))
            }
        }

        /// Whether PostgreSQL lives through it depends on what it was about to write. Either way it is named, and nothing is lost.
        @Test func thePrimarysDiskIsFull() throws {
            try Self.story { pair, disk in
                try disk.fill()
                try pair.tellsItsStorage(pair.a, "full", "free space, or enlarge the file system")
                pair.letTimePass(.seconds(10))
                try disk.makeRoom()
                try pair.waitUntilWhole(upTo: .seconds(90))
                try pair.letClientsWrite(100)
                // It is believed when it has been well for a while; the pair may be whole before that.
                try pair.wait("its disk is well again") { try pair.status(pair.a).storage == "well" }
            }
        }

        @Test func theStandbysDiskIsFullAndCommitsGoOn() throws {
            try Self.story { pair, disk in
                _ = try pair.ask(pair.a, "switchover")
                try pair.waitUntilWhole(primary: "b")
                let began = SystemClock.now()
                try disk.fill()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(100)
                try pair.wereOut(since: began, atMost: .seconds(5))
                try pair.tellsItsStorage(pair.a, "full", "free space")
                try disk.makeRoom()
                try pair.waitUntilWhole(primary: "b", upTo: .seconds(60))
            }
        }

        /// The standby is away, and its WAL may not fill the primary's disk.
        @Test func anAbsentStandbysWALIsNotKeptOnADiskThatIsNearlyFull() throws {
            try Self.story { pair, disk in
                let keeps = "select setting from pg_settings where name = 'max_slot_wal_keep_size'"
                let kept = try #require(try LabPostgres.query(keeps, on: pair.a).first.flatMap { Int($0) })
                #expect((80...100).contains(kept), "a quarter of what ext4 leaves of the disk: \(kept) MB")
                let slots = "select count(*) from pg_replication_slots where slot_name like 'pgtandem\\_%'"
                #expect(try LabPostgres.query(slots, on: pair.a) == ["1"])
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                #expect(try LabPostgres.query(slots, on: pair.a) == ["1"])
                try disk.fill(leaving: SmallDisk.megabytes / 20)
                try pair.tellsItsStorage(pair.a, "low", "an absent standby's WAL is not kept any more")
                try pair.wait("the slot is dropped, as the standby has been away for a minute", upTo: .seconds(100)) {
                    try LabPostgres.query(slots, on: pair.a) == ["0"]
                }
                try pair.letClientsWrite(100)
                try disk.makeRoom()
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "a", upTo: .seconds(60))
                #expect(try LabPostgres.query(slots, on: pair.a) == ["1"])
            }
        }

        /// Again and again while the other host is away, which gets the role when it is back.
        @Test func postgresEndsAgainAndAgain() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                for _ in 0..<3 {
                    let before = pair.a.postgresProcesses(.postmaster).map(\.pid)
                    #expect(try pair.a.kill(.postmaster) == 1)
                    // Sessions outlive their postmaster for a moment, and write.
                    try pair.wait("another postmaster runs") {
                        let after = pair.a.postgresProcesses(.postmaster).map(\.pid)
                        return after.count == 1 && after != before
                    }
                    try pair.waitUntilAlone(pair.a)
                    try pair.letClientsWrite(100)
                }
                let notes = try pair.status(pair.a).notes
                #expect(notes.contains { $0.hasPrefix("PostgreSQL has ended 3 times here") }, "\(notes)")
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "b", upTo: .seconds(60))
                #expect(try pair.history(pair.a).contains { $0.cause == "crashLoop" })
            }
        }
    }
}

extension PairOnHosts {
    /// The cause stands in the status, with what to do.
    fileprivate func tellsItsStorage(_ host: LabHost, _ word: String, _ advice: String) throws {
        try wait("\(host.name) tells that its storage is \(word)") {
            let status = try self.status(host)
            return status.storage == word && status.notes.contains { $0.contains("storage: ") && $0.contains(advice) }
        }
    }
}

/// An ext4 file system in a file on the host's disk, mounted over the folder that holds the data directory.
struct SmallDisk {
    /// The whole of it; ext4 keeps a few for itself.
    static let megabytes = 400
    private static let image = "/var/log/postgresql/disk.img"
    private static let folder = "/var/lib/postgresql/\(LabPostgres.version)"

    let host: LabHost

    init(_ host: LabHost) { self.host = host }

    /// On an empty folder.
    func make() throws(LabError) {
        try shell("truncate -s \(Self.megabytes)M \(Self.image) && mkfs.ext4 -q -F -m 0 -E lazy_itable_init=0 \(Self.image)")
        try mount()
        try shell("rmdir \(Self.folder)/lost+found; chown postgres:postgres \(Self.folder)")
    }

    func mount() throws(LabError) { try shell("mount -o loop,errors=remount-ro \(Self.image) \(Self.folder)") }
    /// The canary, and whoever ends just now, may be in it.
    func unmount() throws(LabError) {
        try shell("for i in $(seq 100); do umount \(Self.folder) && exit 0; sleep 0.1; done; exit 1")
    }
    func isTakenAway() throws(LabError) { try shell("umount -l \(Self.folder)") }
    /// Status 1 says that it has corrected something.
    func repair() throws(LabError) { try shell("e2fsck -fy \(Self.image) >/dev/null 2>&1 || test $? -le 1") }
    func names() throws(LabError) -> [String] {
        try host.demand(["/bin/ls", "-A", Self.folder]).split(separator: "\n").map(String.init)
    }

    /// As after an error that the kernel has met.
    func turnsReadOnly() throws(LabError) {
        try shell("echo 1 > /sys/fs/ext4/$(basename $(findmnt -n -o SOURCE \(Self.folder)))/trigger_fs_error")
    }

    /// EXT4_IOC_SHUTDOWN without a last write of the log: everything ends in EIO.
    func fails() throws(LabError) {
        try shell(
            "exec perl -e 'open(F, q(\(Self.folder))) or die; my $flags = pack(q(L), 2); ioctl(F, 0x8004587d, $flags) or die $!'")
    }

    func hangs() throws(LabError) { try shell("fsfreeze -f \(Self.folder)") }
    /// Fine if it does not hang.
    func goesOn() {
        do {
            _ = try host.run(["/sbin/fsfreeze", "-u", Self.folder])
        } catch {
            // The host is off, and its file system with it.
        }
    }

    func fill(leaving left: Int = 0) throws(LabError) {
        try shell(
            """
            free=$(df --output=avail -m \(Self.folder) | tail -1)
            \(left > 0 ? "fallocate -l $((free - \(left)))M \(Self.folder)/ballast" : "dd if=/dev/zero of=\(Self.folder)/ballast bs=64k 2>/dev/null; sync -f \(Self.folder); cat /dev/zero > \(Self.folder)/more 2>/dev/null; true")
            """)
    }

    func makeRoom() throws(LabError) { try shell("rm -f \(Self.folder)/ballast \(Self.folder)/more") }

    private func shell(_ script: String) throws(LabError) { try host.demand(["/bin/sh", "-c", script]) }
}
