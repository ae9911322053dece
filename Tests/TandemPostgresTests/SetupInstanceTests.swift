import Glibc
import TandemCore
import TandemSystem
import Testing

@testable import TandemPostgres

@Suite(.timeLimit(.minutes(30))) struct SetupInstanceTests {
    @Test func aNewInstanceAppearsWholeAndASecondRunTouchesNothing() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.settings("a")
        #expect(try SetupScratch.creation(settings).create() == .created(notes: []))
        let facts = try DirectoryCheck.requireInstance(settings)
        #expect(try ControlData.read(settings).hasChecksums)
        #expect(try SetupScratch.creation(settings).create() == .alreadyThere)
        #expect(try DirectoryCheck.requireInstance(settings) == facts)
        try LocalAccess.require(settings)
        #expect(!OwnedFiles.exists(settings.dataDirectory + ".pgtandem-new"))
    }

    @Test func anInterruptedCreationIsCompletedByTheNext() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.settings("a")
        for step in ["make", "initdb", "configure", "swap"] {
            var creation = SetupScratch.creation(settings)
            creation.beforeStep = SetupStop(step).before
            #expect(setupRefusal { try creation.create() }?.happened == SetupStop.words)
            #expect(try DirectoryCheck.look(at: settings.dataDirectory) == .missing)
        }
        // What an ended initdb leaves, still running.
        let slow = settings.tool("postgres", ["--single", "-D", settings.dataDirectory + ".pgtandem-new", "postgres"])
        #expect(try !slow.run(deadline: .milliseconds(1)).succeeded)
        #expect(try SetupScratch.creation(settings).create() == .created(notes: []))
        try DirectoryCheck.requireInstance(settings)
    }

    @Test func aDirectoryWithSomebodysFilesIsRefusedAndUntouched() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.settings("a")
        try OwnedFiles(user: settings.osUser).makeFolder(settings.dataDirectory)
        try scratch.put("precious", settings.dataDirectory + "/letter")
        #expect(setupRefusal { try SetupScratch.creation(settings).create() }?.happened.contains("letter") == true)
        #expect(OwnedFiles.names(in: settings.dataDirectory) == ["letter"])
    }

    /// Debian's tools keep their configurations below another root here, so that nothing of this machine is touched.
    private func debian(_ scratch: SetupScratch) throws -> InstanceSettings {
        let name = "pgtandem\(String(Random.word() % 1_000_000))"
        chmod(scratch.root, 0o755)
        let confRoot = scratch.root + "/postgresql"
        try OwnedFiles(user: SetupScratch.user).makeFolder(confRoot, mode: 0o755)
        let folder = "\(confRoot)/15/\(name)"
        var settings = try scratch.settings(
            "a", configFile: folder + "/postgresql.conf", hbaFile: folder + "/pg_hba.conf")
        settings.environment["PG_CLUSTER_CONF_ROOT"] = confRoot
        return settings
    }

    private func removeLog(_ settings: InstanceSettings) {
        let name = DebianCluster(configFile: settings.effectiveConfigFile)?.name ?? "none"
        unlink("/var/log/postgresql/postgresql-15-\(name).log")
    }

    @Test(.enabled(if: access("/usr/bin/pg_createcluster", X_OK) == 0))
    func debiansLayoutIsMadeByDebiansToolAndInterruptedRunsAreUndone() throws {
        let scratch = try SetupScratch()
        let settings = try debian(scratch)
        defer { removeLog(settings) }
        for step in ["intent", "pg_createcluster"] {
            var creation = SetupScratch.creation(settings)
            creation.beforeStep = SetupStop(step).before
            _ = setupRefusal { try creation.create() }
            #expect(try DirectoryCheck.look(at: settings.dataDirectory) == .missing)
        }
        var creation = SetupScratch.creation(settings)
        creation.beforeStep = SetupStop("done").before
        _ = setupRefusal { try creation.create() }
        guard case .created(let notes) = try SetupScratch.creation(settings).create() else {
            Issue.record("It was not made anew.")
            return
        }
        #expect(notes.count == 1)
        #expect(OwnedFiles.names(in: scratch.root)?.contains { $0.hasPrefix("a.unfinished-") } == true)
        #expect(try SetupScratch.creation(settings).create() == .alreadyThere)
        let layout = try Layout.stopped(settings, debianRoot: scratch.root + "/postgresql")
        #expect(layout == Layout(settings))
        #expect(layout.debianCluster?.major == 15)
        var unnamed = settings
        unnamed.configFile = nil
        #expect(try Layout.stopped(unnamed, debianRoot: scratch.root + "/postgresql") == layout)
        #expect(try OtherStarters(settings).disable().isEmpty)
        #expect(try ConfigInclude.ensure(settings))
        try LocalAccess.require(settings)
        try scratch.put("local all all trust\n", settings.effectiveHBAFile)
        try scratch.start(settings)
        #expect(try Layout.running(scratch.session(settings)) == layout)
    }

    @Test(.enabled(if: access("/usr/bin/pg_createcluster", X_OK) == 0))
    func theConfigurationFilesComeToTheOtherHostWithItsOwnPaths() throws {
        let scratch = try SetupScratch()
        let first = try debian(scratch)
        defer { removeLog(first) }
        _ = try SetupScratch.creation(first).create()
        try scratch.put("work_mem = 7MB\n", Layout(first).configFolder + "/conf.d/mine.conf", mode: 0o644)
        let files = try ConfigFiles.collect(Layout(first))
        #expect(files.contents.keys.sorted() == ["conf.d/mine.conf", "pg_hba.conf", "pg_ident.conf", "postgresql.conf"])

        let folder = scratch.root + "/etc/postgresql/15/second"
        var second = try scratch.settings(
            "b", configFile: folder + "/postgresql.conf", hbaFile: folder + "/pg_hba.conf")
        second.socketDirectory = scratch.root
        #expect(try files.write(to: Layout(second), second).isEmpty)
        let text = ConfigText(try scratch.text(folder + "/postgresql.conf"))
        #expect(text.value(of: "data_directory") == second.dataDirectory)
        #expect(text.value(of: "hba_file") == folder + "/pg_hba.conf")
        #expect(text.value(of: "ident_file") == folder + "/pg_ident.conf")
        #expect(text.value(of: "port") == String(second.port))
        #expect(text.value(of: "include_if_exists") == second.includeFile)
        #expect(try FileFacts.of(folder + "/pg_hba.conf")?.mode == 0o640)
        #expect(try FileFacts.of(folder)?.ownerID == Privileges.userID(of: "postgres"))
        let facts = try FileFacts.of(folder + "/postgresql.conf")
        #expect(try files.write(to: Layout(second), second).isEmpty)
        #expect(try FileFacts.of(folder + "/postgresql.conf") == facts)
        #expect(OwnedFiles.names(in: folder)?.contains { $0.hasSuffix(".before-pgtandem") } == false)
        #expect(try !ConfigInclude.ensure(second))

        try scratch.put("local all all trust\n", folder + "/pg_hba.conf", mode: 0o600)
        for _ in 1...2 { _ = try files.write(to: Layout(second), second) }
        #expect(try scratch.text(folder + "/pg_hba.conf.before-pgtandem") == "local all all trust\n")
        #expect(try FileFacts.of(folder + "/pg_hba.conf")?.mode == 0o600)
        for bad in ["conf.d/../../x.conf", "/etc/passwd", "conf.d/x", "start.conf"] {
            let files = ConfigFiles(source: files.source, contents: [bad: []])
            _ = setupRefusal { try files.write(to: Layout(second), second) }
        }
    }

    @Test func theRoleHasWhatTheOtherHostNeedsAndTheClearPasswordReachesNoLog() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.instance("a")
        try scratch.start(settings)
        let session = try scratch.session(settings)
        _ = try session.query("alter system set log_statement = 'all'", deadline: .seconds(10))
        _ = try session.query("select pg_reload_conf()", deadline: .seconds(10))
        let user = "rep \"x\""
        let old = "the first 'secret' \\ one"
        try ReplicationRole.ensure(session, user: user, password: old)
        let password = try PasswordFile.ensure(scratch.root + "/secret", osUser: settings.osUser)
        for _ in 1...2 {
            try ReplicationRole.ensure(session, user: user, password: password)
            try Schema.ensure(session)
        }
        try HBABlock(user: user, database: "postgres", addresses: ["127.0.0.1"]).ensure(settings)
        _ = try session.query("select pg_reload_conf()", deadline: .seconds(10))
        try Passfile.write(settings, user: user, password: password)
        let target = SessionTarget(
            host: "127.0.0.1", port: settings.port, user: user, database: "postgres", passFile: settings.passFile)
        var other: Session?
        #expect(
            SystemClock.wait(upTo: .seconds(10)) {
                do {
                    other = try Session(to: target, deadline: .seconds(5))
                    return true
                } catch {
                    // Until the reload has come about.
                    return false
                }
            })
        let rows = try #require(other).query(
            "select rolsuper, rolreplication, rolcanlogin from pg_roles where rolname = current_user", deadline: .seconds(5))
        #expect(rows.rows == [["f", "t", "t"]])
        for sql in [
            "select count(*) from pg_ls_dir('base', true, false)", "select size from pg_stat_file('PG_VERSION', true)",
            "select pg_read_binary_file('PG_VERSION')", "select pg_read_binary_file('PG_VERSION', 0, 2, true)",
        ] {
            #expect(try other?.query(sql, deadline: .seconds(5)).rows.count == 1)
        }
        let log = try scratch.text(settings.logFile)
        #expect(!log.contains(password) && !log.contains("secret"))
        #expect(
            setupRefusal { try ReplicationRole.ensure(session, user: "postgres", password: "x") }?.happened.contains("superuser")
                == true)

        _ = try session.query("insert into pgtandem.lineage (term, copy, lsn) values (1, 'c', '0/1')", deadline: .seconds(5))
        try Schema.ensure(session)
        #expect(try session.query("select count(*) from pgtandem.lineage", deadline: .seconds(5)).value == "1")
        _ = try session.query(
            "create role mallory; create table pgtandem.trap (); alter table pgtandem.trap owner to mallory",
            deadline: .seconds(5))
        #expect(setupRefusal { try Schema.ensure(session) }?.happened.contains("mallory") == true)
        #expect(session.isOpen)
    }

    @Test func theSetUpWaitsForNoStandby() throws {
        let scratch = try SetupScratch()
        let settings = try scratch.instance("a")
        try scratch.start(settings)
        let setting = try scratch.session(settings)
        _ = try setting.query("alter system set synchronous_standby_names = 'nobody'", deadline: .seconds(10))
        _ = try setting.query("select pg_reload_conf()", deadline: .seconds(10))
        var target = SessionTarget(settings)
        target.synchronousCommit = "on"
        let session = try Session(to: target, deadline: .seconds(10))
        #expect(
            try SystemClock.wait(upTo: .seconds(10)) {
                try session.query("show synchronous_standby_names", deadline: .seconds(5)).value == "nobody"
            })
        try ReplicationRole.ensure(session, user: "rep", password: "x", deadline: .seconds(10))
        try Schema.ensure(session, deadline: .seconds(10))
    }
}

/// Ends a run before one of its steps, as a crash would: nothing is cleaned up after it.
struct SetupStop: Sendable {
    static let words = "The test ends it here."
    let name: String

    init(_ name: String) { self.name = name }

    @Sendable func before(_ step: String) throws(PostgresError) {
        guard step == name else { return }
        throw PostgresError(attempted: "test", happened: SetupStop.words, meaning: "", advice: "")
    }
}
