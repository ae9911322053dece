import Synchronization
import TandemCore
import TandemSystem

/// Writes the heartbeat row on a primary that may, reads it on a standby: once a second, over a session and a thread of its own, so that
/// nothing that happens to the row or its table holds up the watch or the agent. What fails is told, and is never a reason to fail over
/// (`hazards.md` H63).
public final class HeartbeatKeeper: Sendable {
    public struct Patience: Hashable, Sendable {
        /// From one writing or reading to the next.
        public var interval: Duration = .seconds(1)
        /// How long a lock of somebody else's is waited for.
        public var lock: Duration = .milliseconds(300)
        /// One statement; the start of the session.
        public var statement: Duration = .seconds(1)
        /// A table that was there and is missing is made again after this: a restored dump that drops it first makes it itself.
        public var recreation: Duration = .seconds(10)
        public init() {}
    }

    /// As what the row is written.
    public struct Writer: Hashable, Sendable {
        public var node: NodeName
        public var term: Term
        public init(node: NodeName, term: Term) {
            self.node = node
            self.term = term
        }
    }

    /// What came of it. Both nil: nothing is known, and nothing is wrong.
    public struct Finding: Hashable, Sendable {
        public var row: HeartbeatRow?
        public var trouble: String?
    }

    private struct Memory: Sendable {
        var sight = Sight.other
        var session: Session?
        /// Who owns the table was looked at over this session.
        var isJudged = false
        /// The last beat that was written or read here.
        var beat: UInt64 = 0
        var turns: UInt64 = 0
        /// What was committed last, while the instance is open.
        var written: HeartbeatRow?
        var wasThere = false
        var missingSince: Int64?
        var isStopping = false
    }
    private enum Sight { case open, recovering, other }

    private let settings: InstanceSettings
    private let patience: Patience
    private let writer: @Sendable () -> Writer?
    private let deliver: @Sendable (Finding) -> Void
    private let memory = Mutex(Memory())
    private let lane = Lane(name: "pg heartbeat", isPatient: true)

    /// - Parameters:
    ///   - writer: asked before each writing, on a thread that may wait: nil where this node does not write now.
    ///   - deliver: called on that thread after each turn.
    public init(
        _ settings: InstanceSettings, patience: Patience = Patience(), writer: @escaping @Sendable () -> Writer?,
        deliver: @escaping @Sendable (Finding) -> Void
    ) {
        self.settings = settings
        self.patience = patience
        self.writer = writer
        self.deliver = deliver
    }

    public func start() { lane.submit { self.turn() } }

    /// Ends the session too; nothing is delivered after it returned.
    public func stop() {
        memory.withLock { $0.isStopping = true }
        lane.stop()
        end()
    }

    /// What the watch sees: quick, from any thread.
    public func observed(_ postgres: LocalPostgres) {
        memory.withLock { memory in
            switch postgres.condition {
            case .running(isInRecovery: false): memory.sight = .open
            case .running(isInRecovery: true):
                memory.sight = .recovering
                memory.written = nil
            // It has not ended: what it was, it is.
            case .silent: break
            case .stopped, .starting, .orphaned, .unusable:
                memory.sight = .other
                memory.written = nil
            }
        }
    }

    private func turn() {
        let begun = SystemClock.now()
        let finding = look()
        guard !memory.withLock({ $0.isStopping }) else { return }
        deliver(finding)
        lane.submit(at: begun + patience.interval.inNanoseconds) { self.turn() }
    }

    private func look() -> Finding {
        do throws(SessionError) {
            switch memory.withLock({ $0.sight }) {
            case .other:
                end()
                return Finding()
            case .recovering:
                let answer = try session().query(prepared: "read", HeartbeatTable.read, deadline: patience.statement)
                return took(answer)
            case .open:
                guard let writer = writer() else { return Finding() }
                return try write(writer)
            }
        } catch {
            if Self.isMissing(error) {
                // On a standby: the primary has not made it, or somebody dropped it there, where it is told.
                return Finding()
            }
            if !error.isAnswer { end() }
            // What was committed last is the newest all the same, and the other node counts by it.
            return Finding(row: memory.withLock { $0.written }, trouble: error.words)
        }
    }

    private func write(_ writer: Writer) throws(SessionError) -> Finding {
        let session = try session()
        if !memory.withLock({ $0.isJudged }), let finding = try judge(session) { return finding }
        do throws(SessionError) {
            return took(try beat(session, writer))
        } catch {
            guard Self.isMissing(error) else { throw error }
        }
        let now = SystemClock.now()
        let (isDue, since) = memory.withLock { memory in
            let since = memory.missingSince ?? now
            memory.missingSince = since
            return (!memory.wasThere || now - since >= patience.recreation.inNanoseconds, since)
        }
        guard isDue else {
            let left = Duration.nanoseconds(max(0, since + patience.recreation.inNanoseconds - now))
            return Finding(row: nil, trouble: "the table pgtandem.heartbeat was dropped; it is made again in \(left.text)")
        }
        _ = try session.query(HeartbeatTable.schema, deadline: patience.statement)
        if let finding = try judge(session) { return finding }
        return took(try beat(session, writer))
    }

    private func beat(_ session: Session, _ writer: Writer) throws(SessionError) -> Rows {
        let known = memory.withLock { $0.beat }
        return try session.query(
            prepared: "write", HeartbeatTable.write, [writer.node.text, "\(writer.term)", String(known)],
            deadline: patience.statement)
    }

    private func took(_ answer: Rows) -> Finding {
        guard let row = answer.rows.first, row.count == 2 else {
            return Finding(row: nil, trouble: "the table pgtandem.heartbeat is empty")
        }
        guard let beat = row[0].flatMap({ UInt64($0) }) else {
            return Finding(row: nil, trouble: "pgtandem.heartbeat holds the beat \(row[0] ?? "NULL")")
        }
        return memory.withLock { memory in
            memory.beat = beat
            memory.turns += 1
            memory.wasThere = true
            memory.missingSince = nil
            guard memory.sight == .recovering else {
                memory.written = HeartbeatRow(beat: beat, turn: memory.turns)
                return Finding(row: memory.written, trouble: nil)
            }
            let shown = row[1].flatMap { Int64($0) }.map { Duration.milliseconds($0) }
            return Finding(row: HeartbeatRow(beat: beat, turn: memory.turns, shownAge: shown), trouble: nil)
        }
    }

    /// nil: nothing is wrong.
    private func judge(_ session: Session) throws(SessionError) -> Finding? {
        guard let name = try session.query(HeartbeatTable.strangers, deadline: patience.statement).value else {
            memory.withLock { $0.isJudged = true }
            return nil
        }
        return Finding(
            row: nil,
            trouble:
                "the schema pgtandem, or something in it, belongs to \(name), who is no superuser: what \(name) could add to it would run"
                + " with the agent's rights; `alter schema pgtandem owner to …`")
    }

    private func session() throws(SessionError) -> Session {
        if let kept = memory.withLock({ $0.session }), kept.isOpen { return kept }
        var target = SessionTarget(settings, statementTimeout: patience.statement)
        target.applicationName = "pgtandem heartbeat"
        let new = try Session(to: target, deadline: patience.statement)
        do throws(SessionError) {
            _ = try new.query(
                HeartbeatTable.settings(lockMilliseconds: max(1, patience.lock.milliseconds)), deadline: patience.statement)
        } catch {
            new.close()
            throw error
        }
        memory.withLock { memory in
            memory.session = new
            memory.isJudged = false
        }
        return new
    }

    private func end() {
        let session = memory.withLock { memory in
            defer { memory.session = nil }
            return memory.session
        }
        session?.close()
    }

    /// 42P01, 3F000: no table, no schema.
    private static func isMissing(_ error: SessionError) -> Bool { error.sqlstate == "42P01" || error.sqlstate == "3F000" }
}

extension SessionError {
    /// Without the full stop, and with what is behind the usual reasons.
    fileprivate var words: String {
        if case .timedOut = self { return "the server has not answered in time" }
        switch sqlstate {
        case "55P03": return "somebody holds a lock on it: look into pg_locks for 'pgtandem.heartbeat'::regclass"
        case "57014", "40001": return "it was cancelled: \(bare)"
        default: return bare
        }
    }

    private var bare: String { description.hasSuffix(".") ? String(description.dropLast()) : description }
}
