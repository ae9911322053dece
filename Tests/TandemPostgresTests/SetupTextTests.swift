import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite struct SetupTextTests {
    @Test func aLineOfTheConfigurationIsReadAsPostgreSQLReadsIt() {
        func setting(_ line: String) -> ConfigText.Setting? { ConfigText.setting([UInt8](line.utf8)) }
        #expect(setting("port = 5433\t# why") == .init(name: "port", value: "5433", comment: "# why"))
        #expect(setting("Data_Directory '/a b/it''s'")?.value == "/a b/it's")
        #expect(setting("data_directory='/x\\'y'#c") == .init(name: "data_directory", value: "/x'y", comment: "#c"))
        #expect(setting("my.option = on")?.name == "my.option")
        for line in ["# port = 1", "", "   ", "port =", "port = 'open", "port = 1 2", "9port = 1"] {
            #expect(setting(line) == nil, "\(line)")
        }
    }

    @Test func linesThatNobodyChangesStayByteForByteAndTheLastValueCounts() {
        let strange: [UInt8] = [0x23, 0xe4, 0xff, 0x0d, 0x0a]
        var text = ConfigText(strange + [UInt8]("port = 1\nport = 2 # kept".utf8))
        #expect(text.value(of: "port") == "2")
        text.set("port", "5432")
        #expect(Array(text.bytes.prefix(5)) == strange)
        #expect(text.value(of: "port") == "5432")
        #expect(String(decoding: text.bytes, as: UTF8.self).hasSuffix("port = '5432'\nport = '5432'\t# kept\n"))
    }

    @Test func theIncludeLineIsTheLastOneAndStandsOnce() {
        let file = "/var/lib/pgtandem/postgresql.conf.pgtandem"
        let first = ConfigInclude.with([UInt8]("port = 5432".utf8), includeFile: file)
        #expect(
            String(decoding: first, as: UTF8.self).hasSuffix(
                "port = 5432\n\(ConfigInclude.comment)\ninclude_if_exists = '\(file)'\n"))
        #expect(ConfigInclude.with(first, includeFile: file) == first)
        let later = ConfigInclude.with(first + [UInt8]("work_mem = 1GB\n".utf8), includeFile: "/other/postgresql.conf.pgtandem")
        let lines = String(decoding: later, as: UTF8.self).split(separator: "\n")
        #expect(
            lines == [
                "port = 5432", "work_mem = 1GB", Substring(ConfigInclude.comment),
                "include_if_exists = '/other/postgresql.conf.pgtandem'",
            ])
    }

    @Test(arguments: [
        ("local all postgres peer", LocalAccess.works(method: "peer")), ("host all all all trust", .noLine),
        ("local all all md5", .refused(line: 1, method: "md5")), ("local replication all peer", .noLine),
        ("local db,postgres \"x\",postgres trust", .works(method: "trust")), ("local all +dba peer", .unknown),
        ("# local all all trust", .noLine), ("local all all peer map=m", .unknown),
        ("local sameuser all peer", .works(method: "peer")),
        ("include other.conf\nlocal all all peer", .unknown), ("local other all md5\nlocal all all peer", .works(method: "peer")),
    ])
    func theFirstMatchingLocalLineDecides(_ hba: String, _ expected: LocalAccess) {
        let found = LocalAccess.of([UInt8](hba.utf8), database: "postgres", superuser: "postgres", osUser: "postgres")
        #expect(found == expected)
    }

    @Test func theBlockNamesEachAddressOnceWithItsOwnPrefixAndRefusesWhatIsNone() throws {
        let block = HBABlock(user: "re\"p", database: "app db", addresses: ["10.77.0.11", "10.77.0.11", "fd00::1"])
        let lines = try block.lines("test")
        #expect(
            lines == [
                HBABlock.begin, "host replication \"re\"\"p\" 10.77.0.11/32 scram-sha-256",
                "host \"app db\" \"re\"\"p\" 10.77.0.11/32 scram-sha-256",
                "host replication \"re\"\"p\" fd00::1/128 scram-sha-256",
                "host \"app db\" \"re\"\"p\" fd00::1/128 scram-sha-256", HBABlock.end,
            ])
        for bad in ["host.example", "10.0.0.1/24", "", "all"] {
            _ = setupRefusal { try HBABlock(user: "u", database: "d", addresses: [bad]).lines("test") }
        }
        _ = setupRefusal { try HBABlock(user: "u\nhost all all all trust", database: "d", addresses: []).lines("test") }
    }

    @Test func progressOfTheCopyIsReadFromItsLines() throws {
        let found = try #require(BaseCopy.progress("  23456/123456 kB (19%), 0/1 tablespace (...pgtandem-new/base/5/1259)"))
        #expect(found.done == 23456 * 1024 && found.total == 123_456 * 1024)
        for line in ["pg_basebackup: checkpoint completed", "waiting for checkpoint", "", "kB (", "1/2/3 kB (0%)"] {
            #expect(BaseCopy.progress(line) == nil)
        }
    }

    @Test func aDamagedIntentIsNeverGuessed() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.settings("a")
        #expect(try SetupIntent.read(settings, .copy) == nil)
        var intent = SetupIntent(target: "/a b/c")
        intent.wholeDirectory = 7
        intent.tablespaces = ["/t 1", "/t2"]
        try intent.write(settings, .copy)
        #expect(try SetupIntent.read(settings, .copy) == intent)
        try scratch.put("target /a b/c\nwhole 7\n", SetupIntent.path(settings, .copy))
        #expect(setupRefusal { try SetupIntent.read(settings, .copy) }?.happened.contains("damaged") == true)
    }

    @Test func aPasswordFileIsMadeOnceAndRefusedWhenOthersCanReadIt() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.settings("a")
        let path = scratch.root + "/secret"
        let password = try PasswordFile.ensure(path, osUser: settings.osUser)
        #expect(password.count == 64)
        #expect(try PasswordFile.ensure(path, osUser: settings.osUser) == password)
        let facts = try #require(try FileFacts.of(path))
        #expect(facts.mode == 0o600)
        #expect(try facts.ownerID == Privileges.userID(of: "postgres"))
        try scratch.put(password + "\n", path, mode: 0o644)
        #expect(setupRefusal { try PasswordFile.read(path, osUser: settings.osUser) }?.advice.contains("chmod 0600") == true)
        try scratch.put("two\nlines\n", path)
        let refusal = setupRefusal { try PasswordFile.read(path, osUser: settings.osUser) }
        #expect(refusal?.description.contains("two") == false)

        try Passfile.write(settings, user: "a:b", password: "c\\d")
        try Passfile.write(settings, user: "a:b", password: "c\\d")
        #expect(try scratch.text(settings.passFile) == "*:*:*:a\\:b:c\\\\d\n")
        #expect(try FileFacts.of(settings.passFile)?.mode == 0o600)
    }

    @Test func aMountTableKnowsBlanksAndTheNearestPoint() {
        let table = MountTable("1 2 0:1 / / rw\n3 1 0:2 /x /var/lib/a\\040b rw shared:1 - ext4 /dev/sda rw\n")
        #expect(table.point(of: "/var/lib/a b/main") == "/var/lib/a b")
        #expect(table.point(of: "/var/lib") == "/")
        #expect(table.isMountPoint("/var/lib/a b"))
    }

    @Test func theDebianNamesAreReadFromThePath() {
        #expect(DebianCluster(configFile: "/etc/postgresql/15/main/postgresql.conf")?.unit == "postgresql@15-main.service")
        #expect(DebianCluster(configFile: "/var/lib/postgresql/15/main/postgresql.conf") != nil)
        #expect(DebianCluster(configFile: "/data/postgresql.conf") == nil)
        #expect(DebianCluster(configFile: "/etc/postgresql/x/main/postgresql.conf") == nil)
    }
}
