import Synchronization
import TandemCore
import TandemSystem

/// The orders that this host's agent gives to its PostgreSQL. Each blocks up to its deadline, and may be repeated without
/// harm after a crash. Whether an order may be given is decided elsewhere.
public final class Instance: Sendable {
    public let settings: InstanceSettings
    let processes: InstanceProcesses
    /// Kept from call to call: a promotion must not wait for a new backend.
    private let hand = Mutex<Session?>(nil)

    public init(_ settings: InstanceSettings) {
        self.settings = settings
        processes = InstanceProcesses(settings.dataDirectory)
    }

    var files: OwnedFiles { OwnedFiles(user: settings.osUser) }

    /// The kept session, or a new one, warmed. Call it once in a while on a standby that may be promoted.
    public func keepReady(deadline: Duration = .seconds(2)) throws(SessionError) {
        let session = try session(Deadline(deadline))
        _ = try session.query(prepared: "recovery", Instance.recoveryQuestion, deadline: deadline)
    }

    /// Ends the kept session: before a planned stop, so that nothing of ours is in its way.
    public func release() {
        hand.withLock { session in
            session?.close()
            session = nil
        }
    }

    func session(_ deadline: Deadline) throws(SessionError) -> Session {
        if let kept = hand.withLock({ $0 }), kept.isOpen { return kept }
        let new = try Session(to: SessionTarget(settings), deadline: deadline.left)
        hand.withLock { $0 = new }
        return new
    }

    /// Runs a statement on the kept session; once more on a new one if that was found broken before it could be used.
    func ask(
        _ sql: String, _ parameters: [String?] = [], _ deadline: Deadline
    ) throws(SessionError) -> Rows {
        let kept = try session(deadline)
        do throws(SessionError) {
            return try kept.query(sql, parameters, deadline: deadline.left)
        } catch {
            // Every statement that goes through here may run twice. A refusal would be the same again, except
            // the goodbye of a server that has restarted since.
            guard !kept.isOpen, !deadline.isOver else { throw error }
            if case .timedOut = error { throw error }
        }
        return try session(deadline).query(sql, parameters, deadline: deadline.left)
    }

    static let recoveryQuestion = "select pg_catalog.pg_is_in_recovery()"

    /// What `pg_controldata` says of the data directory.
    public func controlData() throws(PostgresError) -> ControlData { try ControlData.read(settings) }

    /// The running postmaster of this directory.
    public func postmaster() throws(PostgresError) -> Postmaster? {
        do throws(SystemError) {
            return try processes.postmaster(settings)
        } catch {
            throw PostgresError(
                "find the postmaster of \(settings.dataDirectory)", error, meaning: "Whether the instance runs is unknown.")
        }
    }

    /// Every process of the data directory that lives, orphans included.
    public func livingProcesses() -> [Int32] { processes.all() }

    // MARK: standby.signal

    var standbySignal: String { settings.inData("standby.signal") }

    /// Puts `standby.signal` there, durably. It is always there, also beside a running primary: whatever else starts the
    /// instance then gets a read-only server (`protocol.md` 9).
    public func writeStandbySignal() throws(PostgresError) {
        do throws(SystemError) {
            try files.write([], to: standbySignal)
            // PostgreSQL reads recovery.signal only without the other, but a person may remove the other.
            try DurableFile.remove(settings.inData("recovery.signal"))
        } catch {
            throw PostgresError(
                "write \(standbySignal)", error,
                meaning: "Whoever starts this instance without the agent would get a server that accepts writes.")
        }
    }

    /// Puts it back where it is missing: a promotion deletes it, and whoever was to write it again may have died.
    public func keepStandbySignal() throws(PostgresError) {
        if !OwnedFiles.exists(standbySignal) { try writeStandbySignal() }
    }

    func removeStandbySignal() throws(PostgresError) {
        do throws(SystemError) {
            try DurableFile.remove(settings.inData("recovery.signal"))
            try DurableFile.remove(standbySignal)
        } catch {
            throw PostgresError("remove \(standbySignal)", error, meaning: "The server cannot be started as a primary.")
        }
    }
}
