import Glibc
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite(.timeLimit(.minutes(30))) struct SetupDirectoryTests {
    @Test func eachFaultOfADataDirectoryHasItsOwnMessage() throws {
        let scratch = try SetupScratch()
        var settings = try scratch.instance("a")
        let facts = try DirectoryCheck.requireInstance(settings)
        #expect(facts.major == 15 && facts.systemIdentifier != nil && facts.walDirectory == nil && !facts.isRunning)
        #expect(try ControlData.read(settings).systemIdentifier == facts.systemIdentifier)

        let whole = settings.dataDirectory
        func message(_ path: String, _ remembered: DirectoryIdentity? = nil) -> String? {
            settings.dataDirectory = path
            return setupRefusal { try DirectoryCheck.requireInstance(settings, remembered: remembered) }?.happened
        }
        #expect(message(scratch.root + "/none") == "There is no such directory.")
        let empty = scratch.root + "/empty"
        try OwnedFiles(user: settings.osUser).makeFolder(empty)
        #expect(message(empty) == "It is empty.")
        let identity = DirectoryIdentity(path: empty, mountPoint: empty, systemIdentifier: nil)
        #expect(message(empty, identity)?.contains("is not mounted") == true)
        try scratch.put("x", empty + "/letter")
        #expect(message(empty)?.contains("letter") == true)
        #expect(message(empty + "/letter") == "It is not a directory.")
        try scratch.put("14\n", empty + "/PG_VERSION")
        #expect(message(empty)?.contains("no control file") == true)
        try OwnedFiles(user: settings.osUser).makeFolder(empty + "/global")
        let control = try #require(try DurableFile.read(whole + "/global/pg_control"))
        var damaged = control
        damaged[100] ^= 1
        try DurableFile.write(damaged, to: empty + "/global/pg_control", mode: 0o600)
        #expect(message(empty)?.contains("no control file, or a damaged one") == true)
        try DurableFile.write(control, to: empty + "/global/pg_control", mode: 0o600)
        #expect(message(empty) == "It is of PostgreSQL 14, and the programs in \(SetupScratch.bin) are of 15.")
        chmod(whole, 0o755)
        #expect(message(whole) == "Its mode is 755.")
        chmod(whole, 0o700)
        // Only root can give it away.
        guard geteuid() == 0 else { return }
        chown(whole, 1, 1)
        #expect(message(whole)?.contains("not to postgres") == true)
    }

    @Test func aLinkedWalFolderAndTheMountAreFound() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.instance("a")
        #expect(rename(settings.dataDirectory + "/pg_wal", scratch.root + "/wal") == 0)
        #expect(symlink(scratch.root + "/wal", settings.dataDirectory + "/pg_wal") == 0)
        #expect(try DirectoryCheck.requireInstance(settings).walDirectory == scratch.root + "/wal")
        let identity = try DirectoryIdentity.of(settings.dataDirectory)
        try identity.write(stateDirectory: settings.stateDirectory, osUser: settings.osUser)
        #expect(try DirectoryIdentity.read(stateDirectory: settings.stateDirectory) == identity)
        #expect(settings.dataDirectory.hasPrefix(identity.mountPoint))
    }

    @Test func aServerOfAnotherDirectoryAtTheSamePortIsNoticed() throws {
        let scratch = try SetupScratch()
        let other = try scratch.instance("other")
        try scratch.start(other)
        try DirectoryCheck.requireNoOtherPostmaster(other)
        #expect(try DirectoryCheck.requireInstance(other).isRunning)
        var settings = try scratch.instance("a")
        settings.port = other.port
        let refusal = setupRefusal { try DirectoryCheck.requireInstance(settings) }
        #expect(refusal?.happened.contains(other.dataDirectory) == true)
    }

    @Test func theFilesOfAnInstanceAreFoundRunningAndStopped() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.instance("a")
        #expect(try Layout.stopped(settings) == Layout.plain(dataDirectory: settings.dataDirectory))
        try scratch.start(settings)
        #expect(try Layout.running(scratch.session(settings)) == Layout.plain(dataDirectory: settings.dataDirectory))
        #expect(Layout(settings) == Layout.plain(dataDirectory: settings.dataDirectory))
    }

    @Test func theIncludeLineAndTheBlockKeepOwnerAndModeAndComeTwiceAsOnce() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.instance("a")
        chmod(settings.effectiveConfigFile, 0o640)
        let original = try scratch.text(settings.effectiveConfigFile)
        #expect(try ConfigInclude.ensure(settings))
        let facts = try FileFacts.of(settings.effectiveConfigFile)
        #expect(facts?.mode == 0o640)
        #expect(try facts?.ownerID == Privileges.userID(of: "postgres"))
        #expect(try !ConfigInclude.ensure(settings))
        #expect(try FileFacts.of(settings.effectiveConfigFile) == facts)
        #expect(try scratch.text(settings.effectiveConfigFile + ".before-pgtandem") == original)
        #expect(try ConfigInclude.remove(settings))
        #expect(try scratch.text(settings.effectiveConfigFile) == original)
        #expect(try !ConfigInclude.remove(settings))

        var block = HBABlock(user: "rep", database: "postgres", addresses: ["127.0.0.1"])
        #expect(try block.ensure(settings))
        #expect(try !block.ensure(settings))
        block.addresses = ["127.0.0.1", "::1"]
        #expect(try block.ensure(settings))
        #expect(try scratch.text(settings.effectiveHBAFile).split(separator: "\n").count == 7)
        #expect(try FileFacts.of(settings.effectiveHBAFile)?.mode == 0o600)
        try scratch.start(settings)
        let session = try scratch.session(settings)
        #expect(try HBABlock.problems(session).isEmpty)
        #expect(try HBABlock.remove(settings))
        #expect(try scratch.text(settings.effectiveHBAFile) == "local all all trust\n")
        try scratch.put("# pgtandem begin: torn\nlocal all all trust\nnonsense\n", settings.effectiveHBAFile)
        #expect(try HBABlock.remove(settings))
        #expect(try scratch.text(settings.effectiveHBAFile) == "local all all trust\nnonsense\n")
        #expect(try HBABlock.problems(session).count == 1)
    }

    @Test func aLinkedConfigurationFileStaysALink() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.instance("a")
        let real = scratch.root + "/elsewhere.conf"
        #expect(rename(settings.effectiveConfigFile, real) == 0)
        #expect(symlink(real, settings.effectiveConfigFile) == 0)
        #expect(try ConfigInclude.ensure(settings))
        #expect(try FileFacts.of(settings.effectiveConfigFile, followingLinks: false)?.kind == .symbolicLink)
        #expect(try scratch.text(real).contains("include_if_exists"))
    }

    @Test func otherStartersAreTakenAwayOnceAndTheirSettingKept() throws {
        let scratch = try SetupScratch()
        let folder = scratch.root + "/postgresql/15/x"
        for path in [scratch.root + "/postgresql", scratch.root + "/postgresql/15", folder] {
            try OwnedFiles(user: SetupScratch.user).makeFolder(path, mode: 0o755)
        }
        try scratch.put("port = 1\n", folder + "/postgresql.conf")
        try scratch.put("# words\n\nauto\n", folder + "/start.conf", mode: 0o644)
        let settings = try scratch.settings("a", configFile: folder + "/postgresql.conf")
        let starters = OtherStarters(settings)
        #expect(try starters.disable().count == 1)
        #expect(try scratch.text(folder + "/start.conf") == "# words\n\n\(OtherStarters.comment)\nmanual\n")
        #expect(try starters.disable().isEmpty)
        #expect(unlink(folder + "/start.conf") == 0)
        #expect(try starters.disable().count == 1)
        #expect(try scratch.text(folder + "/start.conf").hasSuffix("manual\n"))
    }

    @Test func aUnitIsDisabledOnlyIfItStartsThisDirectory() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.settings("a")
        let script = """
            #!/bin/sh
            echo "$@" >> \(scratch.root)/calls
            case "$1" in
              is-enabled) [ -e \(scratch.root)/off ] && echo disabled || echo enabled ;;
              show) echo "Environment=PGDATA=$(cat \(scratch.root)/pgdata)" ;;
              disable) touch \(scratch.root)/off ;;
            esac

            """
        try scratch.put(script, scratch.root + "/systemctl", mode: 0o755)
        try scratch.put("systemd\n", scratch.root + "/comm", mode: 0o644)
        chmod(scratch.root, 0o755)
        var starters = OtherStarters(settings)
        starters.systemctl = scratch.root + "/systemctl"
        starters.firstProcessName = scratch.root + "/comm"
        try scratch.put("/somewhere/else\n", scratch.root + "/pgdata", mode: 0o644)
        #expect(try starters.disable().isEmpty)
        try scratch.put(settings.dataDirectory + "\n", scratch.root + "/pgdata", mode: 0o644)
        #expect(try starters.disable() == ["Disabled postgresql.service: the agent starts the instance."])
        #expect(try starters.disable().isEmpty)
        #expect(try scratch.text(scratch.root + "/calls").split(separator: "\n").filter { $0.hasPrefix("disable") }.count == 1)
    }
}
