import ArgumentParser
import Glibc
import TandemConfiguration
import TandemCore
import TandemNetwork
import TandemPostgres
import TandemRuntime
import TandemSystem

struct InitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "The first host: make this host's PostgreSQL the first half of a pair.",
        discussion: """
            Takes a running or stopped instance, or makes a new one when the data directory is empty. A running one goes on running. May \
            be given again: what is done already is left as it is.
            Example: pgtandem init --dry-run
            """)

    @OptionGroup var common: CommonOptions
    @Flag(help: "Say what would be done, and change nothing.") var dryRun = false

    func run() throws {
        let configuration = try common.load()
        guard geteuid() == 0 else { throw CommandFailure.failed("`pgtandem init` writes root's files too: run it as root") }
        do {
            let work = try InitWork(configuration, isDryRun: dryRun)
            try work.run()
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw CommandFailure.failed("\(error)")
        }
    }
}

/// The steps of `init`, each of which may be repeated.
struct InitWork {
    private let configuration: Configuration
    private let settings: InstanceSettings
    private let isDryRun: Bool

    init(_ configuration: Configuration, isDryRun: Bool) throws {
        self.configuration = configuration
        self.isDryRun = isDryRun
        settings = configuration.instance
    }

    func run() throws {
        let problems = SecretFiles.check(configuration, passwordMayBeMissing: true).filter { $0.severity == .error }
        guard problems.isEmpty else { throw CommandFailure.failed(problems.map(\.description).joined(separator: "\n")) }
        _ = try TLSIdentity.load(
            directory: configuration.tls.directory, cluster: configuration.cluster, node: configuration.node.text)
        let before = try LedgerFile(stateDirectory: configuration.stateDirectory).read()?.ledger
        try refuseForeign(before)
        try HostChecks.requireInterface(configuration)
        let isNew = try look(before)
        if try isNew || Instance(settings).postmaster() == nil { try HostChecks.requireFreePort(settings) }
        if isDryRun { return explain(isNew: isNew, before) }

        try StateDirectory.ensure(configuration.stateDirectory, osUser: settings.osUser)
        let lock = try AgentLock.take(configuration)
        defer { lock.release() }
        // The lock file is root's until now; the agent is PostgreSQL's user.
        try Ownership.give(configuration.stateDirectory + "/lock", to: configuration.postgresql.osUser)
        // Once more, under the lock: an agent that has just ended may have given the role away.
        let ledger = try LedgerFile(stateDirectory: configuration.stateDirectory).read()?.ledger
        try refuseForeign(ledger)

        if isNew {
            Terminal.say("making a new instance in \(settings.dataDirectory)")
            if case .created(let notes) = try NewInstance(settings).create() {
                for line in notes { Terminal.say("  \(line)") }
            }
        }
        try LocalAccess.require(settings)
        let instance = Instance(settings)
        let copy = try mark(ledger)
        let wasRunning = try instance.postmaster() != nil
        let wanted = try managed(ledger, copy)
        try prepareFiles(instance, wanted)
        for line in try OtherStarters(settings).disable() { Terminal.say(line) }
        // From here on as PostgreSQL's user: the server lets that one in through its socket (`peer`), and nothing more needs root.
        try Privileges.become(user: configuration.postgresql.osUser, keeping: [])
        if ledger == nil || wasRunning {
            try prepareServer(instance, wanted, wasRunning: wasRunning)
        } else {
            // A node of a pair opens only with authority (5.1), which the agent alone can tell.
            Terminal.say("PostgreSQL stays down: the agent will start it, as what the pair then says")
        }
        try writeLedger(ledger, copy)
        if ledger == nil, !wasRunning { _ = try instance.stop(.fast, deadline: .seconds(60)) }
        Terminal.say(
            "\(configuration.node) is the first node of \(configuration.cluster). Now start the agent here: systemctl start pgtandem (or `pgtandem run`)"
        )
        Terminal.say("Then, on the second host: pgtandem join")
    }

    private func refuseForeign(_ ledger: Ledger?) throws {
        guard let ledger else { return }
        guard ledger.cluster == configuration.cluster else {
            throw CommandFailure.failed(
                "this host belongs to the cluster `\(ledger.cluster)` (\(configuration.stateDirectory)/ledger), and the configuration says "
                    + "`\(configuration.cluster)`: put `cluster:` right, or name another `state_directory`")
        }
        guard ledger.primary == configuration.node else {
            throw CommandFailure.failed(
                "this host is a standby by its ledger \(ledger): `init` is for the first host. Nothing was changed")
        }
    }

    /// Whether an instance has to be made; everything that forbids to go on is found before anything is touched.
    private func look(_ ledger: Ledger?) throws -> Bool {
        let remembered = try DirectoryIdentity.read(stateDirectory: configuration.stateDirectory)
        switch try DirectoryCheck.look(at: settings.dataDirectory, remembered: remembered) {
        case .missing, .empty:
            guard remembered == nil else {
                throw CommandFailure.failed(
                    "\(settings.dataDirectory) is empty, and it was not: is a disk missing? Nothing was touched. If the database is gone for good, "
                        + "remove \(configuration.stateDirectory)/ledger and \(configuration.stateDirectory)/data-directory first"
                )
            }
            try NewDirectory.requirePlace(settings)
            return true
        case .unmounted(let mountPoint):
            throw CommandFailure.failed(
                "\(settings.dataDirectory) is not there: \(mountPoint) is not mounted. Nothing was touched; mount it first")
        case .foreign(let names):
            throw CommandFailure.failed(
                "\(settings.dataDirectory) is neither empty nor an instance of PostgreSQL (\(names.prefix(4).joined(separator: ", "))): nothing was "
                    + "touched; put `postgresql.data_directory` right")
        case .instance:
            _ = try DirectoryCheck.requireInstance(settings, remembered: remembered)
            if ledger == nil { try refuseStandby() }
            return false
        }
    }

    /// Asked of its files, as it may be stopped. One whose ledger names this node may well have recovered last (section 9).
    private func refuseStandby() throws {
        let advice = "run `pgtandem init` on its primary, and `pgtandem join` here. Nothing was touched"
        if access(settings.dataDirectory + "/backup_label", F_OK) == 0 {
            throw CommandFailure.failed(
                "\(settings.dataDirectory) is a copy of another instance that was never started: \(advice)")
        }
        guard try ControlData.read(settings).isStandby else { return }
        throw CommandFailure.failed(
            "the instance in \(settings.dataDirectory) is a standby: \(advice); or promote it first (`pg_ctl promote`)")
    }

    private func explain(isNew: Bool, _ ledger: Ledger?) {
        Terminal.say("init would, on this host:")
        Terminal.say(
            isNew ? "  make a new instance in \(settings.dataDirectory)" : "  take the instance in \(settings.dataDirectory)")
        Terminal.say(
            "  put one line at the end of \(settings.effectiveConfigFile): include_if_exists = '\(settings.includeFile)'")
        Terminal.say("  put one marked block at the top of \(settings.effectiveHBAFile)")
        Terminal.say(
            "  make the role \(configuration.replication.user), the schema pgtandem, and \(configuration.replication.passwordFile) if it is absent"
        )
        Terminal.say("  keep anything else from starting this instance")
        Terminal.say(
            ledger.map { "  keep the ledger \($0)" } ?? "  write the first ledger, with \(configuration.node) as primary")
    }

    private func mark(_ ledger: Ledger?) throws -> CopyID {
        if let mark = try CopyMarkFile.read(settings.dataDirectory) {
            guard mark.node == configuration.node else {
                throw CommandFailure.failed(
                    "\(settings.dataDirectory) is an unfinished copy of \(mark.node)'s directory: it must not be started. Run `pgtandem join` here, or "
                        + "put the right directory in place")
            }
            guard let ledger, ledger.primaryCopy != mark.copy else { return mark.copy }
            throw CommandFailure.failed(
                "the ledger \(ledger) names another directory (copy \(ledger.primaryCopy.text.prefix(8))) than the one that is here (copy "
                    + "\(mark.copy.text.prefix(8))): a person must decide which one stands. Nothing was changed")
        }
        guard ledger == nil else {
            throw CommandFailure.failed(
                "there is a ledger, \(ledger.map { $0.description } ?? ""), but the data directory carries no mark of ours: it was replaced. Nothing was "
                    + "changed; move \(configuration.stateDirectory)/ledger away if this directory shall stand")
        }
        let copy = CopyID(high: Random.word(), low: Random.word())
        try CopyMarkFile.write(.init(copy: copy, node: configuration.node), settings.dataDirectory, osUser: settings.osUser)
        return copy
    }

    /// A pair that exists keeps waiting for its standby: to empty `synchronous_standby_names` under `paired` would acknowledge
    /// commits that the standby does not have (4.1).
    private func managed(_ ledger: Ledger?, _ copy: CopyID) throws -> ManagedSettings {
        try KeptSettings.ensure(settings)
        let waitsFor = configuration.replication.mode == .synchronous ? ledger?.standbyCopy : nil
        return configuration.managed(
            Settings(copy: copy, synchronous: waitsFor, slot: nil),
            keeping: try KeptSettings.read(stateDirectory: configuration.stateDirectory))
    }

    private func prepareFiles(_ instance: Instance, _ wanted: ManagedSettings) throws {
        let password = try PasswordFile.ensure(configuration.replication.passwordFile, osUser: settings.osUser)
        try Passfile.write(settings, user: configuration.replication.user, password: password)
        // Written before the line that includes it, so that a start in between finds it.
        _ = try instance.configure(wanted)
        if try ConfigInclude.ensure(settings) {
            Terminal.say("included \(settings.includeFile) in \(settings.effectiveConfigFile)")
        }
        if try configuration.hbaBlock.ensure(settings) { Terminal.say("wrote our block into \(settings.effectiveHBAFile)") }
        try DirectoryIdentity.of(settings.dataDirectory).write(
            stateDirectory: configuration.stateDirectory, osUser: settings.osUser)
    }

    private func prepareServer(_ instance: Instance, _ wanted: ManagedSettings, wasRunning: Bool) throws {
        if !wasRunning {
            try DirectoryCheck.requireNoOtherPostmaster(settings)
            // Nobody else has this instance yet: no ledger names it.
            _ = try instance.start(.primary, deadline: .seconds(120))
        }
        let session = try Session(to: SessionTarget(settings), deadline: .seconds(10))
        defer { session.close() }
        let found = try Layout.running(session)
        guard found.configFile == settings.effectiveConfigFile || wasRunning == false else {
            throw CommandFailure.failed(
                "the running server reads \(found.configFile), and the configuration means \(settings.effectiveConfigFile): write\n"
                    + "  config_file: \(found.configFile)\n  hba_file: \(found.hbaFile)\nbelow `postgresql:` in \(configuration.file)"
            )
        }
        let loaded = try instance.configure(wanted)
        let isStandby = try session.query("select pg_catalog.pg_is_in_recovery()", [], deadline: .seconds(5))
        guard !isStandby.isTrue else {
            throw CommandFailure.failed(
                "the instance here is a standby: run `pgtandem init` on its primary, and `pgtandem join` here")
        }
        let password = try PasswordFile.ensure(configuration.replication.passwordFile, osUser: settings.osUser)
        // What `ALTER SYSTEM` says beats every file, ours too.
        try instance.resetSystemSettings(wanted)
        try ReplicationRole.ensure(session, user: configuration.replication.user, password: password)
        try Schema.ensure(session)
        try instance.writeStandbySignal()
        let pending = loaded.pendingRestart
        for override in loaded.overrides { Terminal.say("overridden elsewhere, please remove it there: \(override.text)") }
        if !pending.isEmpty {
            Terminal.say(
                "these settings take effect when PostgreSQL is restarted, which must be before `join`: \(pending.joined(separator: ", "))\n"
                    + "  Stop PostgreSQL when its clients can miss it for some seconds, then start the agent: it starts PostgreSQL. Nothing else may"
                    + " start it from now on: by itself it would come up as a standby"
            )
        }
    }

    private func writeLedger(_ existing: Ledger?, _ copy: CopyID) throws {
        let file = LedgerFile(stateDirectory: configuration.stateDirectory)
        if existing == nil {
            let first = Ledger(
                cluster: configuration.cluster, term: Term(0).next(for: configuration.node, besides: configuration.peer.name),
                step: 1,
                primary: configuration.node, bond: .sole, primaryCopy: copy, standbyCopy: nil,
                arbiter: configuration.arbiter.kind,
                lease: configuration.policy.lease)
            try file.write(first, Notes())
        }
    }
}

/// Files that root made for PostgreSQL's user.
enum Ownership {
    /// Before anything is made for that user.
    static func require(_ user: String) throws {
        do {
            _ = try Privileges.userID(of: user)
        } catch {
            throw CommandFailure.failed(
                "there is no user `\(user)` on this host: name the owner of PostgreSQL's data directory in `postgresql.os_user`. Nothing was touched"
            )
        }
    }

    static func give(_ path: String, to user: String) throws {
        guard chown(path, try Privileges.userID(of: user), try Privileges.groupID(of: user)) == 0 else {
            throw SystemError(attempted: "give \(path) to \(user)", code: errno, advice: nil)
        }
    }
}
