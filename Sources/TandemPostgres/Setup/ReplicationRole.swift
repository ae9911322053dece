import TandemSystem

/// The role by which the other host streams, copies and rewinds: never a superuser.
public enum ReplicationRole {
    /// What pg_rewind reads the source with (PostgreSQL manual, pg_rewind, "Notes").
    static let functions = [
        "pg_ls_dir(text, boolean, boolean)", "pg_stat_file(text, boolean)", "pg_read_binary_file(text)",
        "pg_read_binary_file(text, bigint, bigint, boolean)",
    ]

    /// Makes the role, or gives an existing one what it needs, and this password. The clear password stays here: the
    /// server gets the SCRAM secret only.
    /// - Parameter session: as superuser on the primary, in the database that pg_rewind connects to: grants on functions
    ///   belong to one database.
    /// - Throws: also if the name is that of a superuser, whose password is not ours to change.
    public static func ensure(
        _ session: Session, user: String, password: String, deadline: Duration = .seconds(30)
    ) throws(PostgresError) {
        let sql = SetupSQL(session: session, attempted: "make the replication role \(user)", deadline: deadline)
        let secret = try SetupTool.perform(asking: sql.attempted) { () throws(SessionError) in
            try session.scramSecret(password: password, user: user)
        }
        let name = SetupSQL.identifier(user)
        try sql.transaction { sql throws(PostgresError) in
            // Two at once would both find it absent.
            try sql.run("select pg_advisory_xact_lock(7432, 1)")
            let isSuperuser = try sql.run("select rolsuper from pg_authid where rolname = $1", [user])
            guard !isSuperuser.isTrue else {
                throw sql.refusal(
                    "This role is a superuser.", "Nothing was changed: its password would travel to the other host.",
                    "Choose another name for `replication.user`.")
            }
            if isSuperuser.isEmpty { try sql.run("create role \(name)") }
            try sql.run(
                "alter role \(name) with login replication connection limit -1 valid until 'infinity' "
                    + "password \(SetupSQL.literal(secret))")
            for function in functions { try sql.run("grant execute on function pg_catalog.\(function) to \(name)") }
        }
    }
}

/// The schema `pgtandem`.
public enum Schema {
    /// Makes the schema, the table of the lineage (`protocol.md` 9: what descends from what) and the heartbeat row's.
    /// - Throws: also if somebody who is no superuser owns them: a trigger of his would run with our rights.
    public static func ensure(_ session: Session, deadline: Duration = .seconds(30)) throws(PostgresError) {
        let sql = SetupSQL(session: session, attempted: "make the schema pgtandem", deadline: deadline)
        try sql.transaction { sql throws(PostgresError) in
            try sql.run("select pg_advisory_xact_lock(7432, 2)")
            try sql.run(Instance.lineageSchema)
            try sql.run(HeartbeatTable.schema)
            try sql.run(
                "comment on schema pgtandem is 'Written by pgtandem, the agents of the pair: do not change it.'")
            let owner = try sql.run(HeartbeatTable.strangers)
            if let name = owner.value {
                throw sql.refusal(
                    "The schema, or something in it, belongs to \(name), who is no superuser.",
                    "What \(name) could add to it would run with the agent's rights.",
                    "Drop it if nothing of it is needed, or give it to the superuser with `alter schema pgtandem owner to …`.")
            }
        }
    }
}
