import Glibc
import TandemCore
import TandemSystem

extension Instance {
    public struct ConfigureResult: Hashable, Sendable {
        /// The file had another content before.
        public var wasWritten: Bool
        /// The server has read the file as it is now; false: no server runs, or it has not confirmed it by the deadline.
        public var isLoaded: Bool
        /// Settings of ours that count only after a restart.
        public var pendingRestart: [String]
        public var overrides: [Override]
    }

    /// A setting of ours whose value comes from somewhere else.
    public struct Override: Hashable, Sendable {
        public var name: String
        public var value: String
        /// Nil for a value from the command line, the environment, a database or a role.
        public var file: String?
        public var line: Int?
        /// PostgreSQL's word: `configuration file`, `command line`, …
        public var source: String

        public var text: String {
            let place = file.map { "\($0), line \(line ?? 0)" } ?? source
            return "\(name) = \(value) (\(place))"
        }
    }

    /// Writes the include file if its content differs, durably, and makes a running server read it (SIGHUP to the
    /// postmaster; no session is needed for that).
    ///
    /// `isLoaded` speaks of new statements of sessions. The checkpointer, which switches waiting for a standby on, may be
    /// later: `confirmSynchronous` proves that.
    public func configure(
        _ wanted: ManagedSettings, deadline: Duration = .seconds(5)
    ) throws(PostgresError) -> ConfigureResult {
        let attempted = "write \(settings.includeFile)"
        let end = Deadline(deadline)
        var wasWritten = false
        do throws(SystemError) {
            let bytes = [UInt8](wanted.text.utf8)
            if try DurableFile.read(settings.includeFile) != bytes {
                // Readable for the group as PostgreSQL's own configuration on Debian; the password is in another file.
                try files.write(bytes, to: settings.includeFile, mode: 0o640)
                wasWritten = true
            }
        } catch {
            throw PostgresError(attempted, error, meaning: "The server keeps its former settings.")
        }
        var result = ConfigureResult(wasWritten: wasWritten, isLoaded: false, pendingRestart: [], overrides: [])
        guard let postmaster = try postmaster() else { return result }
        do throws(SessionError) {
            result.isLoaded = try load(postmaster, changed: wasWritten, end)
            result.pendingRestart = try pendingRestart(wanted, end)
            result.overrides = try overrides(wanted, deadline: end.atMost(.seconds(5)))
        } catch {
            // A server that takes no sessions now (recovery without hot standby, no free slot) has the signal all the same.
            result.isLoaded = false
        }
        return result
    }

    /// Writes the include file if its content differs, durably, and signals a running server; waits for nothing. For the moments in
    /// which clients wait.
    public func write(_ wanted: ManagedSettings) throws(PostgresError) {
        do throws(SystemError) {
            let bytes = [UInt8](wanted.text.utf8)
            if try DurableFile.read(settings.includeFile) != bytes {
                try files.write(bytes, to: settings.includeFile, mode: 0o640)
            }
        } catch {
            throw PostgresError("write \(settings.includeFile)", error, meaning: "The server keeps its former settings.")
        }
        if let postmaster = try postmaster() { _ = ProcessTable.signal(postmaster.pid, SIGHUP) }
    }

    /// Signals and waits until the time of the last load has moved. A run that crashed between writing and signalling is
    /// made good: the file is newer than the last load then.
    private func load(_ postmaster: Postmaster, changed: Bool, _ end: Deadline) throws(SessionError) -> Bool {
        let before: Double
        do throws(SessionError) {
            before = try loadTime(end)
        } catch {
            // When it was loaded is unknown; the signal needs no session.
            _ = ProcessTable.signal(postmaster.pid, SIGHUP)
            throw error
        }
        if !changed, before > fileTime() { return true }
        return try signalAndWait(postmaster, before, end)
    }

    private func signalAndWait(_ postmaster: Postmaster, _ before: Double, _ end: Deadline) throws(SessionError) -> Bool {
        _ = ProcessTable.signal(postmaster.pid, SIGHUP)
        while !end.isOver {
            if try loadTime(end) > before { return true }
            _ = SystemClock.wait(upTo: .milliseconds(2)) { false }
        }
        return false
    }

    private func loadTime(_ end: Deadline) throws(SessionError) -> Double {
        let sql = "select extract(epoch from pg_catalog.pg_conf_load_time())"
        return try ask(sql, [], end).value.flatMap { Double($0) } ?? 0
    }

    /// When the include file was last changed, by the same wall clock as PostgreSQL's.
    private func fileTime() -> Double {
        var facts = stat()
        guard stat(settings.includeFile, &facts) == 0 else { return .infinity }
        return Double(facts.st_mtim.tv_sec) + Double(facts.st_mtim.tv_nsec) / 1e9
    }

    private func pendingRestart(_ wanted: ManagedSettings, _ end: Deadline) throws(SessionError) -> [String] {
        let sql = "select name from pg_catalog.pg_settings where pending_restart and name = any($1::text[]) order by name"
        return try ask(sql, [Instance.arrayText(wanted.values.map(\.name))], end).rows.compactMap { $0[0] }
    }

    /// Settings of ours that do not come from our file: with file and line where PostgreSQL knows them. Asked of a running
    /// server; a value that waits for a restart counts by its place in the files.
    public func overrides(_ wanted: ManagedSettings, deadline: Duration) throws(SessionError) -> [Override] {
        // The last line of all files wins; an erroneous or waiting one still has its place.
        let sql = """
            with ours as (select pg_catalog.unnest($1::text[]) as name),
            last as (select distinct on (name) name, setting, sourcefile, sourceline
              from pg_catalog.pg_file_settings where name is not null order by name, seqno desc)
            select o.name,
              case when s.source in ('configuration file', 'default') then l.setting else s.setting end,
              case when s.source in ('configuration file', 'default') then l.sourcefile else s.sourcefile end,
              case when s.source in ('configuration file', 'default') then l.sourceline else s.sourceline end,
              s.source
            from ours o join pg_catalog.pg_settings s on s.name = o.name left join last l on l.name = o.name
            where case when s.source in ('configuration file', 'default') then l.sourcefile is distinct from $2
              else not (s.source = 'override' and l.sourcefile is not distinct from $2) end
            order by 1
            """
        let names = Instance.arrayText(wanted.values.map(\.name))
        return try ask(sql, [names, settings.includeFile], Deadline(deadline)).rows.map { row in
            Override(
                name: row[0] ?? "", value: row[1] ?? "", file: row[2], line: row[3].flatMap { Int($0) },
                source: row[4] ?? "")
        }
    }

    /// For `$1::text[]`; our names need no more than quotes.
    static func arrayText(_ texts: [String]) -> String {
        "{" + texts.map { "\"" + $0.filter { $0 != "\"" && $0 != "\\" } + "\"" }.joined(separator: ",") + "}"
    }
}
