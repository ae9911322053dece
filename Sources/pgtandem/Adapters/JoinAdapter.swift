import TandemConfiguration
import TandemCore
import TandemPostgres
import TandemRuntime
import TandemWire

/// What the second host's `join` needs of this one.
struct JoinAdapter: JoinPort {
    private let configuration: Configuration
    private let postgres: PostgresAdapter

    init(_ configuration: Configuration, _ postgres: PostgresAdapter) {
        self.configuration = configuration
        self.postgres = postgres
    }

    func facts() throws -> JoinAnswerDocument {
        let settings = configuration.instance
        var answer = JoinAnswerDocument()
        let now = postgres.look()
        answer.majorVersion = now.majorVersion
        answer.systemIdentifier = now.systemIdentifier
        answer.replicationUser = configuration.replication.user
        guard let password = try PasswordFile.read(configuration.replication.passwordFile, osUser: settings.osUser) else {
            throw CommandFailure.failed(
                "\(configuration.replication.passwordFile) is missing on the first host: run `pgtandem init` there again")
        }
        answer.replicationPassword = password
        answer.replicationAddress = configuration.thisNode.addresses[0].description
        answer.port = configuration.postgresql.port
        let files = try ConfigFiles.collect(Layout(settings))
        if !files.contents.isEmpty {
            answer.files = files.contents.mapValues { String(decoding: $0, as: UTF8.self) }
            let source = files.source
            answer.places = [source.dataDirectory, source.configFile, source.hbaFile, source.identFile]
        }
        return answer
    }

    func prepare(_ copy: CopyID) throws {
        try postgres.instance.ensureSlot(copy.applicationName)
        // Of joins that were interrupted: each had a copy of its own.
        try postgres.instance.dropAbandonedSlots(prefix: "pgtandem_", keeping: [copy.applicationName])
    }
}
