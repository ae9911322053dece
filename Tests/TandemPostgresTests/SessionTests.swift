import Testing

@testable import TandemPostgres
@testable import TandemSystem

@Suite(.serialized) struct SessionTests {
    @Test func sessionAsksAndIsAnsweredWithOurSettings() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a", "log_statement = all\ndefault_transaction_read_only = on")
            _ = try server.instance.start(.primary, deadline: .seconds(30))
            let session = try server.session()
            let rows = try session.query("select $1::text, null::int", ["it's"], deadline: .seconds(2))
            #expect(rows.rows == [["it's", nil]])
            func setting(_ name: String) throws -> String? {
                try session.query("select current_setting($1)", [name], deadline: .seconds(2)).value
            }
            #expect(try setting("synchronous_commit") == "local")
            #expect(try setting("search_path") == "")
            #expect(try setting("application_name") == "pgtandem agent")
            #expect(try setting("default_transaction_read_only") == "off")
            #expect(try session.majorVersion == Scratch.majorVersion())
            #expect(try server.instance.postmaster()?.pid == session.postmaster)

            // A refused statement leaves the session as it is.
            #expect(throws: SessionError.refused(sqlstate: "22012", message: "division by zero")) {
                _ = try session.query("select 1/0", deadline: .seconds(2))
            }
            #expect(try session.query(prepared: "x", "select 7", deadline: .seconds(2)).value == "7")
            #expect(try session.query(prepared: "x", "select 7", deadline: .seconds(2)).value == "7")

            // A statement that takes too long costs its deadline and the session.
            let begun = SystemClock.now()
            #expect(throws: SessionError.timedOut("select pg_sleep(20)")) {
                _ = try session.query("select pg_sleep(20)", deadline: .milliseconds(200))
            }
            #expect(SystemClock.now() - begun < 1_000_000_000)
            #expect(!session.isOpen)
            let log = String(decoding: try DurableFile.read(server.settings.logFile) ?? [], as: UTF8.self)
            #expect(!log.contains("division by zero\n") || !log.contains("LOG:  statement"))
        }
    }

    @Test func refusalsAreAnswersAndSilenceIsNot() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a", "max_connections = 5\nsuperuser_reserved_connections = 0\nmax_wal_senders = 0")
            var target = SessionTarget(server.settings)
            // Nobody is there.
            let nobody = #expect(throws: SessionError.self) { _ = try Session(to: target, deadline: .seconds(1)) }
            guard case .unreachable = nobody else {
                Issue.record("expected unreachable, was \(String(describing: nobody))")
                return
            }
            let postmaster = try server.instance.start(.primary, deadline: .seconds(30)).postmaster
            // All slots taken.
            var crowd: [Session] = []
            let full = #expect(throws: SessionError.self) {
                while crowd.count < 10 { crowd.append(try server.session()) }
            }
            #expect(full?.sqlstate == "53300")
            #expect(full?.isAnswer == true)
            for session in crowd { session.close() }
            try eventually("slots are free") {
                do {
                    try server.session().close()
                    return true
                } catch { return false }
            }
            // No such database, no such role.
            target.database = "nowhere"
            #expect(throws: SessionError.refused(sqlstate: "3D000", message: "database \"nowhere\" does not exist")) {
                _ = try Session(to: target, deadline: .seconds(1))
            }
            // A password is asked for: the server lives.
            try OwnedFiles(user: "postgres").write(
                "local all all scram-sha-256\n", to: server.settings.effectiveHBAFile)
            _ = ProcessTable.signal(postmaster.pid, 1)
            try eventually("a password is asked for") {
                do {
                    try server.session().close()
                    return false
                } catch let error as SessionError { return error.isAnswer }
            }
            // A stopped postmaster takes the connection into its queue and says nothing.
            _ = ProcessTable.signal(postmaster.pid, 19)
            defer { _ = ProcessTable.signal(postmaster.pid, 18) }
            #expect(throws: SessionError.timedOut("the start of a session")) {
                _ = try Session(to: SessionTarget(server.settings), deadline: .milliseconds(200))
            }
        }
    }

    @Test func messageOfARefusedConnectionIsReadWhateverItsLanguage() {
        let german = "connection to server failed: SCHWERWIEGEND:  57P03: das Datenbanksystem startet\nLOCATION:  x\n"
        #expect(ServerMessage.parse(verbose: german)?.sqlstate == "57P03")
        #expect(ServerMessage.parse(verbose: german)?.message == "das Datenbanksystem startet")
        #expect(ServerMessage.parse(verbose: "could not connect: No such file or directory\n") == nil)
        #expect(ServerMessage.parse(verbose: "") == nil)
    }
}
