import TandemSystem

/// Commits one row after the other, each number once, whatever becomes of it.
struct LoadWriter: LoadWorker {
    let number: Int
    let index: Int
    let spec: LoadSpec
    let control: LoadControl

    func work(_ recorder: LoadRecorder) {
        let address = spec.primaryAddresses[index % spec.primaryAddresses.count]
        var link = LoadLink(name: "w\(number)", address: address, spec: spec, recorder: recorder)
        var seq: Int64 = 0
        var due = SystemClock.now()
        while control.isRunning {
            let share = control.writesPerSecond / Double(max(1, spec.writers))
            due = control.pace(due: due, perSecond: share)
            guard share > 0, control.isRunning, let session = link.connected(control) else { continue }
            seq += 1
            if !commit(seq, session, recorder) { link.drop() }
        }
    }

    /// False: the connection is of no more use.
    private func commit(_ seq: Int64, _ session: PostgresSession, _ recorder: LoadRecorder) -> Bool {
        // The file's name begins with the timeline that is being written.
        let sql = """
            insert into lab_commits (writer, seq) values (\(number), \(seq))
            returning current_setting('cluster_name'), left(pg_walfile_name(pg_current_wal_lsn()), 8)
            """
        let sent = SystemClock.now()
        do throws(SessionFailure) {
            let rows = try session.query(sql, deadline: .milliseconds(spec.commitDeadlineMilliseconds))
            let now = SystemClock.now()
            let row = rows.first ?? []
            recorder.add(
                .acknowledged(
                    AcknowledgedCommit(
                        writer: number, seq: seq, node: LoadLink.node(row.first ?? ""),
                        timeline: UInt32(row.last ?? "", radix: 16) ?? 0, sent: sent, acknowledged: now)))
            return true
        } catch {
            let commit = UnacknowledgedCommit(
                writer: number, seq: seq, sent: sent, ended: SystemClock.now(), reason: error.code)
            switch error.kind {
            case .uncertain: recorder.add(.uncertain(commit))
            case .refused, .notSent: recorder.add(.refused(commit))
            }
            recorder.complain("w\(number)", kind: error.code, text: error.text)
            return false
        }
    }
}

/// Reads through the standby address, connecting anew now and then to see who has it.
struct LoadReader: LoadWorker {
    let number: Int
    let index: Int
    let spec: LoadSpec
    let control: LoadControl

    func work(_ recorder: LoadRecorder) {
        let address = spec.standbyAddresses[index % spec.standbyAddresses.count]
        var link = LoadLink(name: "r\(number)", address: address, spec: spec, recorder: recorder)
        let share = (spec.readsPerSecond ?? .infinity) / Double(max(1, spec.readers))
        let sql = """
            select pg_is_in_recovery(), current_setting('cluster_name'),
                (select max(seq) from lab_commits where writer = \(spec.firstWriter))
            """
        var due = SystemClock.now()
        var count = 0
        while control.isRunning {
            due = control.pace(due: due, perSecond: share)
            guard let session = link.connected(control) else { continue }
            let sent = SystemClock.now()
            do throws(SessionFailure) {
                let row = try session.query(sql, deadline: .milliseconds(spec.readDeadlineMilliseconds)).first ?? []
                guard row.count == 3 else { continue }
                recorder.add(
                    .read(
                        AnsweredRead(
                            reader: number, node: LoadLink.node(row[1]), inRecovery: row[0] == "t", sent: sent,
                            answered: SystemClock.now())))
                count += 1
                if count % spec.readsPerConnection == 0 { link.drop() }
            } catch {
                recorder.complain("r\(number)", kind: error.code, text: error.text)
                link.drop()
            }
        }
    }
}

/// A connection that comes back: at once after an error, then every 5 to 10 ms.
struct LoadLink {
    let name: String
    let address: String
    let spec: LoadSpec
    let recorder: LoadRecorder
    private var session: PostgresSession?

    init(name: String, address: String, spec: LoadSpec, recorder: LoadRecorder) {
        self.name = name
        self.address = address
        self.spec = spec
        self.recorder = recorder
    }

    mutating func drop() { session = nil }

    /// Tries once; nil after a failure and the pause that follows it.
    mutating func connected(_ control: LoadControl) -> PostgresSession? {
        if let session { return session }
        do throws(SessionFailure) {
            session = try PostgresSession(
                spec.parameters(address), deadline: .milliseconds(spec.connectDeadlineMilliseconds))
        } catch {
            recorder.complain(name, kind: error.code, text: error.text)
            let pause = 5 + Int64(Random.word() % 6)
            _ = SystemClock.wait(upTo: .milliseconds(pause), step: .milliseconds(pause)) { !control.isRunning }
        }
        return session
    }

    /// The node in a `cluster_name` of the form `cluster/node`.
    static func node(_ clusterName: String) -> String {
        let last = clusterName.split(separator: "/").last.map(String.init) ?? "?"
        return String(last.map { $0.isWhitespace ? "_" : $0 })
    }
}
