import ArgumentParser
import Glibc
import TandemConfiguration
import TandemCore
import TandemNetwork
import TandemPostgres
import TandemRuntime
import TandemSystem
import TandemWire

struct JoinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join",
        abstract: "The second host: copy the first host's database, and become its standby.",
        discussion: """
            The first host's agent must run. A data directory that is not empty is never touched. May be given again after an interruption.
            Example: pgtandem join
            """)

    @OptionGroup var common: CommonOptions

    func run() throws {
        let configuration = try common.load()
        guard geteuid() == 0 else { throw CommandFailure.failed("`pgtandem join` writes root's files too: run it as root") }
        do {
            try JoinWork(configuration).run()
        } catch let failure as CommandFailure {
            throw failure
        } catch let error as LinkError {
            throw CommandFailure.unreachable("\(error)")
        } catch {
            throw CommandFailure.failed("\(error)")
        }
    }
}

/// The steps of `join`, each of which may be repeated.
struct JoinWork {
    private let configuration: Configuration
    private let settings: InstanceSettings

    init(_ configuration: Configuration) {
        self.configuration = configuration
        settings = configuration.instance
    }

    func run() throws {
        let problems = SecretFiles.check(configuration, passwordMayBeMissing: true).filter { $0.severity == .error }
        guard problems.isEmpty else { throw CommandFailure.failed(problems.map(\.description).joined(separator: "\n")) }
        let identity = try TLSIdentity.load(
            directory: configuration.tls.directory, cluster: configuration.cluster, node: configuration.node.text)
        let ledgerFile = LedgerFile(stateDirectory: configuration.stateDirectory)
        let existing = try ledgerFile.read()?.ledger
        try HostChecks.requireInterface(configuration)
        try StateDirectory.ensure(configuration.stateDirectory, osUser: settings.osUser)
        let lock = try AgentLock.take(configuration)
        defer { lock.release() }
        try Ownership.give(configuration.stateDirectory + "/lock", to: configuration.postgresql.osUser)
        let mark = try markHere()
        if let existing, let mark, mark.node == configuration.node {
            // It may have been interrupted just before the end.
            try Ownership.give(ledgerFile.path, to: configuration.postgresql.osUser)
            Terminal.say(
                "this host has joined already (\(existing)): start the agent here, systemctl start pgtandem (or `pgtandem run`)")
            return
        }

        if try Instance(settings).postmaster() == nil { try HostChecks.requireFreePort(settings) }
        let first = try FirstHost(configuration, identity)
        defer { first.close() }
        let isCopied = mark?.node == configuration.node
        let copy = isCopied ? mark?.copy ?? newCopy() : newCopy()
        let facts = try first.facts()
        try check(facts)
        guard let password = facts.replicationPassword, let user = facts.replicationUser, let address = facts.replicationAddress
        else {
            throw CommandFailure.failed("the first host's agent sent no replication password: is its version the same?")
        }
        try first.prepare(copy)
        try PasswordFile.write(password, to: configuration.replication.passwordFile, osUser: settings.osUser)
        try Passfile.write(settings, user: user, password: password)
        if !isCopied { try clone(facts, from: address, user: user, copy) }
        try prepare(copy)

        let ledger = try first.ledger(for: copy)
        try ledgerFile.write(ledger, Notes())
        try Ownership.give(ledgerFile.path, to: configuration.postgresql.osUser)
        Terminal.say(
            "\(configuration.node) has joined \(configuration.cluster) as standby of \(ledger.primary). Start the agent here: systemctl start pgtandem (or `pgtandem run`)"
        )
    }

    private func newCopy() -> CopyID { CopyID(high: Random.word(), low: Random.word()) }

    private func markHere() throws -> LocalPostgres.CopyMark? {
        switch try DirectoryCheck.look(
            at: settings.dataDirectory, remembered: try DirectoryIdentity.read(stateDirectory: configuration.stateDirectory))
        {
        case .missing, .empty:
            try BaseCopy.requirePlace(settings, configuration.node)
            return nil
        case .unmounted(let mountPoint):
            throw CommandFailure.failed(
                "\(settings.dataDirectory) is not there: \(mountPoint) is not mounted. Nothing was touched; mount it first")
        case .foreign, .instance:
            let mark = try CopyMarkFile.read(settings.dataDirectory)
            if mark?.node != configuration.node { try BaseCopy.requirePlace(settings, configuration.node) }
            return mark
        }
    }

    /// 5.8: another major version or system is refused before anything is touched.
    private func check(_ facts: JoinAnswerDocument) throws {
        let here = try DirectoryCheck.majorOfPrograms(settings)
        if let there = facts.majorVersion, there != here {
            throw CommandFailure.failed(
                "PostgreSQL \(there) runs on the first host, and \(settings.binDirectory) holds \(here): install PostgreSQL \(there) here, or put "
                    + "`postgresql.bin_directory` right. Nothing was touched")
        }
    }

    private func clone(_ facts: JoinAnswerDocument, from address: String, user: String, _ copy: CopyID) throws {
        if let files = facts.files, let places = facts.places, places.count == 4, !Layout(settings).isConfigInDataDirectory {
            let source = Layout(dataDirectory: places[0], configFile: places[1], hbaFile: places[2], identFile: places[3])
            let there = ConfigFiles(source: source, contents: files.mapValues { Array($0.utf8) })
            for line in try there.write(to: Layout(settings), settings) { Terminal.say(line) }
        }
        Terminal.say("copying the database from \(address)")
        let work = BaseCopy(
            settings: settings, node: configuration.node,
            source: .init(
                host: address, port: facts.port ?? configuration.postgresql.port, user: user,
                database: configuration.postgresql.database,
                passFile: settings.passFile),
            options: .init(slot: copy.applicationName, systemIdentifier: facts.systemIdentifier))
        let progress = CopyProgress()
        // The mark is written last: until then the directory carries the first host's, and is never started (section 1).
        let mark = LocalPostgres.CopyMark(copy: copy, node: configuration.node)
        let report = try work.run(
            onProgress: { progress.report($0) },
            writeMark: { directory throws(PostgresError) in try CopyMarkFile.write(mark, directory, osUser: settings.osUser) })
        for line in report.notes { Terminal.say(line) }
        if let aside = report.movedAside {
            Terminal.say("the unfinished copy that stood there is now \(aside); remove it when you like")
        }
    }

    private func prepare(_ copy: CopyID) throws {
        let instance = Instance(settings)
        try KeptSettings.ensure(settings)
        let kept = try KeptSettings.read(stateDirectory: configuration.stateDirectory)
        _ = try instance.configure(configuration.managed(Settings(copy: copy, synchronous: nil, slot: nil), keeping: kept))
        try ConfigInclude.ensure(settings)
        try configuration.hbaBlock.ensure(settings)
        try instance.writeStandbySignal()
        for line in try OtherStarters(settings).disable() { Terminal.say(line) }
        try DirectoryIdentity.of(settings.dataDirectory).write(
            stateDirectory: configuration.stateDirectory, osUser: settings.osUser)
    }
}

/// The first host's agent, as `join` sees it.
struct FirstHost {
    private let client: LinkClient
    private let name: String

    init(_ configuration: Configuration, _ identity: TLSIdentity) throws {
        name = configuration.peer.name.text
        client = try PeerCall.connect(configuration, identity, deadline: .seconds(5))
        let theirs = try JSON.decode(HelloDocument.self, from: client.peerHello)
        let differing = Configuration.differingKeys(configuration.clusterWideValues(), theirs.configuration)
        guard differing.isEmpty else {
            client.close()
            throw CommandFailure.failed(
                "the configurations of the hosts differ in \(differing.joined(separator: ", ")): make them agree first. Nothing was touched"
            )
        }
    }

    func close() { client.close() }

    /// An agent that has only just started is given time to become primary.
    func facts() throws -> JoinAnswerDocument {
        let request = JoinRequestDocument(step: "facts")
        var found: JoinAnswerDocument?
        var isTold = false
        _ = try SystemClock.wait(upTo: .seconds(30), step: .milliseconds(250)) {
            let answer = try send(request)
            found = answer
            guard answer.reasons?.first?.code == JoinAnswerDocument.notPrimary else { return true }
            if !isTold { Terminal.say("waiting until \(name) is primary") }
            isTold = true
            return false
        }
        guard let found else { throw CommandFailure.failed("\(name) did not answer") }
        return try Self.accepted(found, name)
    }

    func prepare(_ copy: CopyID) throws { _ = try ask(JoinRequestDocument(step: "prepare", copy: copy.text)) }

    func ledger(for copy: CopyID) throws -> Ledger {
        guard let document = try ask(JoinRequestDocument(step: "ledger", copy: copy.text)).ledger else {
            throw CommandFailure.failed("\(name) sent no ledger: is its version the same?")
        }
        return try document.ledger()
    }

    private func ask(_ request: JoinRequestDocument) throws -> JoinAnswerDocument { try Self.accepted(try send(request), name) }

    private static func accepted(_ answer: JoinAnswerDocument, _ name: String) throws -> JoinAnswerDocument {
        guard let reasons = answer.reasons else { return answer }
        throw CommandFailure.failed("\(name) refuses: \(reasons.map(\.text).joined(separator: "; "))")
    }

    private func send(_ request: JoinRequestDocument) throws -> JoinAnswerDocument {
        try client.send(kind: FrameKind.joinRequest, payload: try JSON.encode(request))
        while true {
            let frame = try client.receive(deadline: .seconds(30))
            guard frame.kind == FrameKind.joinAnswer else { continue }
            return try JSON.decode(JoinAnswerDocument.self, from: frame.payload)
        }
    }
}

/// A line for every step and every tenth of the copy, or one line that changes on a terminal.
final class CopyProgress: Sendable {
    private let last = LastTenth()

    func report(_ progress: BaseCopy.Progress) {
        guard progress.totalBytes > 0 else { return }
        let percent = Int(min(100, progress.doneBytes * 100 / progress.totalBytes))
        let text = "  \(percent) %  \(progress.doneBytes >> 20) of \(progress.totalBytes >> 20) MB"
        if Terminal.isInteractive {
            Terminal.write(1, "\r\(text)\(percent == 100 ? "\n" : "")")
        } else if last.advances(to: percent / 10) {
            Terminal.say(text)
        }
    }
}
