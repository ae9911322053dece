import Foundation

/// What the load of a lab does: writers through the primary address, readers through the standby address.
public struct LoadSpec: Codable, Sendable {
    /// Each writer takes one of these, in turn.
    public var primaryAddresses = [Lab.primaryAddress]
    public var standbyAddresses = [Lab.standbyAddress]
    public var port = 5432
    public var database = "postgres"
    public var user = "postgres"
    public var password: String?
    /// libpq's words: disable, prefer, require…
    public var sslMode = "disable"
    public var writers = 4
    public var readers = 2
    /// The number of the first writer: a second load on the same table needs others than the first.
    public var firstWriter = 1
    /// Of all writers together; nil: as fast as each can.
    public var writesPerSecond: Double? = 200
    /// Of all readers together; nil: as fast as each can.
    public var readsPerSecond: Double? = 100
    /// A reader connects anew after so many reads, to see who has the address now.
    public var readsPerConnection = 5
    /// One attempt to connect: short, because nobody answers while an address moves, and what is lost then comes again after a
    /// second only (TCP): a longer one would measure the client, not the pair.
    public var connectDeadlineMilliseconds = 60
    /// Longer than the lease: a commit may wait while the pair gives up its standby.
    public var commitDeadlineMilliseconds = 5000
    public var readDeadlineMilliseconds = 1000
    /// libpq's tcp_user_timeout: unanswered data ends the connection.
    public var tcpUserTimeoutMilliseconds = 500
    /// Written by the client process.
    public var logPath = ""
    public var livePath = ""

    public init() {}

    /// Makes the table that the load writes to. Without a unique index: a row that is there twice shall be seen.
    public static let setup = """
        create table if not exists lab_commits (writer int not null, seq bigint not null);
        create index if not exists lab_commits_writer_seq on lab_commits (writer, seq);
        """

    /// All rows of the table, as `writer|seq`; for `Checker`.
    public static let allRows = "select writer, seq from lab_commits;"

    func parameters(_ address: String) -> [(String, String)] {
        let given = [("password", password)].compactMap { name, value in value.map { (name, $0) } }
        return [
            ("hostaddr", address), ("port", "\(port)"), ("dbname", database), ("user", user), ("sslmode", sslMode),
            ("gssencmode", "disable"), ("application_name", "pgtandem lab"), ("keepalives_idle", "1"),
            ("keepalives_interval", "1"), ("keepalives_count", "2"), ("tcp_user_timeout", "\(tcpUserTimeoutMilliseconds)"),
            // The warning of a cancelled wait for the standby must come through, whatever the server's default is.
            ("options", "-c client_min_messages=warning"),
        ] + given
    }

    func write(to path: String) throws(LabError) {
        do {
            try Text.create(path, Array(try JSONEncoder().encode(self)), mode: 0o600)
        } catch let error as LabError {
            throw error
        } catch {
            throw LabError(attempted: "write \(path)", happened: "\(error)")
        }
    }

    static func read(_ path: String) throws(LabError) -> LoadSpec {
        guard let text = Text.read(path) else { throw LabError(attempted: "read \(path)", happened: "it is not there") }
        do {
            return try JSONDecoder().decode(LoadSpec.self, from: Data(text.utf8))
        } catch {
            throw LabError(attempted: "read \(path)", happened: "\(error)")
        }
    }
}
