import TandemLab
import TandemSystem

/// The roles moved. Times are those of CLOCK_BOOTTIME in nanoseconds.
struct ChangeOfRoles {
    /// When it was ordered, or the fault happened.
    var began: Int64
    /// The node that is primary afterwards.
    var primary: String
    /// When each phase ended, where whoever did it knows; ours is told by the agents' logs.
    var steps: [(phase: BenchPhase, ended: Int64)]
}

/// One change of roles, as clients saw it.
struct ClientsView {
    var change: ChangeOfRoles
    /// From the last acknowledged commit before to the first one after.
    var outage: Outage
    /// The longest gap between commits later, until the clients were stopped.
    var longestLater: Duration
}

/// The clients that write while the roles move: the same for the floor and for ours.
final class BenchClients {
    /// As the lab's, but for the time that an attempt to connect may take: writers that were all refused at once try again at the
    /// same moments, so a longer one would be the grain of what is measured.
    ///
    /// Beside `pgbench`, on a machine that is busy with it, a connection takes longer: more writers, so that they try at more moments.
    static func spec(_ pgbenchClients: Int?) -> LoadSpec {
        var spec = LoadSpec()
        spec.connectDeadlineMilliseconds = pgbenchClients == nil ? 20 : 100
        if pgbenchClients != nil { spec.writers = 8 }
        return spec
    }
    /// Where a host is lost without a word: an established connection to it ends, and a commit that it does not answer is given up, sooner
    /// than a lease of the fast profile. Otherwise clients would still wait for the dead one when the other one serves (TCP finds out
    /// after a second where nothing is on its way), and that would be measured.
    static let lossTimeoutMilliseconds = 100
    /// Everything that clients of a lab saw, for the check at the end.
    private(set) var logs: [ClientLog] = []
    private let lab: Lab
    private let pgbenchClients: Int?
    private var writers = 0

    init(_ lab: Lab, _ pgbenchClients: Int?) {
        self.lab = lab
        self.pgbenchClients = pgbenchClients
    }

    /// Once, before the first watch.
    func prepare(_ primary: LabHost) throws {
        if let pgbenchClients { try LabPgbench.prepare(primary, clients: pgbenchClients) }
    }

    /// - Parameters:
    ///   - kind: what happens.
    ///   - primary: which host has the role.
    ///   - change: makes the roles move, while clients write.
    ///   - after: while they still write.
    func watch(
        _ kind: BenchKind, on primary: LabHost, _ change: () throws -> ChangeOfRoles, after: () throws -> Void = {}
    ) throws -> ClientsView {
        var spec = Self.spec(pgbenchClients)
        spec.firstWriter = writers + 1
        if !kind.hasFloor {
            spec.tcpUserTimeoutMilliseconds = Self.lossTimeoutMilliseconds
            spec.commitDeadlineMilliseconds = Self.lossTimeoutMilliseconds * 2
        }
        writers += spec.writers
        let pgbench = try pgbenchClients.map { try lab.startPgbench(clients: $0) }
        defer { pgbench?.stop() }
        if let pgbenchClients {
            try wait("pgbench is at work") { try LabPgbench.sessions(on: primary) >= pgbenchClients }
        }
        let load = try lab.startLoad(spec)
        try wait("clients write and read") {
            guard let counters = load.counters() else { return false }
            return counters.acknowledged >= 100 && counters.reads >= 20
        }
        let change = try change()
        try wait("clients write to \(change.primary)") { load.counters()?.writeNode == change.primary }
        try calm(.milliseconds(300))
        let back = SystemClock.now()
        try after()
        try calm(.milliseconds(100))
        let log = try load.stop()
        logs.append(log)
        let outage = log.writeOutage(from: change.began, to: back)
        guard outage.hasEnded else { throw CommandFailure.failed("no commit was acknowledged after the roles had moved") }
        let later = log.writeOutage(from: outage.ended + 1, to: log.acknowledged.last?.acknowledged ?? back)
        return ClientsView(change: change, outage: outage, longestLater: later.longestGap)
    }

    /// Lets noise of what was just done pass.
    func calm(_ length: Duration) throws {
        let end = SystemClock.after(length)
        try wait("it is calm") { SystemClock.now() >= end }
    }

    private func wait(_ what: String, _ fact: () throws -> Bool) throws {
        guard try SystemClock.wait(upTo: .seconds(30), step: .milliseconds(10), until: fact) else {
            throw CommandFailure.failed("not within 30 s: \(what)")
        }
    }
}
