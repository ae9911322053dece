import TandemLab
import TandemPostgres
import TandemRuntime
import TandemSystem
import TandemWire

/// How long a host takes to come back, beside the same by hand: pg_rewind of the very same diverged directory, and pg_basebackup from the
/// very same server, over the same link, on the same disk, by turns.
struct BenchReturns {
    private let gigabytes: Int
    private let runs: Int
    private let lab: Lab
    private let say: @Sendable (String) -> Void
    /// One statement, or one copy of all data.
    private var patience: Duration { .seconds(120 + 300 * gigabytes) }

    init(
        gigabytes: Int, runs: Int, directory: String, keepsFolder: Bool, say: @escaping @Sendable (String) -> Void
    ) throws {
        self.gigabytes = gigabytes
        self.runs = runs
        self.say = say
        lab = try Lab(LabOptions(directory: directory, hasWitness: true, keepsFolder: keepsFolder))
    }

    func run() throws -> BenchReturnsReport {
        let result = Result { try measure() }
        do { try lab.stop() } catch { say("the lab could not be removed: \(error)") }
        return try result.get()
    }

    private func measure() throws -> BenchReturnsReport {
        let pair = OurPair(lab, .standard)
        say("a pair with agents, guards and a witness")
        try pair.bringUp()
        say("\(gigabytes) GB of data")
        try BenchTable.make(gigabytes, on: pair.primary, upTo: patience)
        var report = BenchReturnsReport(gigabytes: gigabytes, runs: runs)
        for run in 1...runs {
            let handFirst = run % 2 == 1
            do {
                try settle(pair)
                report.add(.copy, try copy(pair, handFirst: handFirst), try compare(pair))
                say("run \(run), \(BenchReturn.copy.words): \(report.last(.copy))")
                try settle(pair)
                report.add(.rewind, try rewind(pair, handFirst: handFirst), try compare(pair))
                say("run \(run), \(BenchReturn.rewind.words): \(report.last(.rewind))")
            } catch {
                say(pair.lastWords())
                throw error
            }
        }
        return report
    }

    /// What was done before does not reach into what is measured: the pair is whole, both have a checkpoint, nothing waits for the disk.
    private func settle(_ pair: OurPair) throws {
        try pair.waitUntilWhole(upTo: patience)
        for host in [pair.primary, pair.standby] { _ = try LabPostgres.query("checkpoint;", on: host, deadline: patience) }
        try flush()
    }

    private func flush() throws { try lab.hosts[0].demand(["/bin/sync"], deadline: patience) }

    // MARK: a new copy

    private func copy(_ pair: OurPair, handFirst: Bool) throws -> BenchReturnTimes {
        let host = pair.standby
        let hand = BenchHandReturn(host, source: pair.primary, patience)
        var times = BenchReturnTimes()
        if handFirst { times.hand = try hand.copy() }
        try flush()
        let watch = try ReturnWatch(host, .copy)
        try pair.command(on: host, ["rejoin", "--fresh", "--no-wait"])
        try finish(watch, pair, &times)
        for old in try host.demand(["/bin/sh", "-c", "ls -d \(LabPostgres.debianDataDirectory).diverged.*"]).split(
            separator: "\n")
        {
            try host.demand(["/bin/rm", "-rf", String(old)], deadline: patience)
        }
        try flush()
        if !handFirst { times.hand = try hand.copy() }
        return times
    }

    // MARK: a rewind

    /// The primary loses power. The other one goes on, and so does it, cut off from everyone, by somebody's hand.
    private func rewind(_ pair: OurPair, handFirst: Bool) throws -> BenchReturnTimes {
        let (host, source) = (pair.primary, pair.standby)
        try host.powerOff()
        try pair.waitUntilAlone(source)
        try BenchTable.change(1, on: source, upTo: patience)
        // Without it pg_rewind by hand could still find nothing to do; ours would order it.
        _ = try LabPostgres.query("checkpoint;", on: source, deadline: patience)
        let services: [HostService] = [.guardian, .agent]
        for service in services { host.setServiceStartsAtBoot(false, service) }
        try lab.isolate(LabPort(host.name))
        try host.boot()
        // With its `standby.signal` it would accept no writes.
        let signal = "\(LabPostgres.debianDataDirectory)/standby.signal"
        try host.demand(["/bin/rm", signal])
        try LabPostgres.plain(host).start()
        try BenchTable.change(0, on: host, upTo: patience)
        try host.powerOff()
        try host.configure(files: [signal: HostFile("", mode: 0o600, owner: lab.options.osUser)])
        try lab.heal()

        let hand = BenchHandReturn(host, source: source, patience)
        try host.boot()
        try hand.prepareRewind()
        try flush()
        var times = BenchReturnTimes()
        if handFirst { times.hand = try hand.rewind() }
        try flush()
        let watch = try ReturnWatch(host, .rewind)
        for service in services {
            try host.startService(service)
            host.setServiceStartsAtBoot(true, service)
        }
        try finish(watch, pair, &times)
        try pair.waitUntilWhole(upTo: patience)
        try flush()
        if !handFirst { times.hand = try hand.rewind() }
        try hand.remove()
        return times
    }

    private func finish(_ watch: ReturnWatch, _ pair: OurPair, _ times: inout BenchReturnTimes) throws {
        let ended = try watch.end(upTo: patience)
        let source = pair.other(watch.host)
        guard SystemClock.wait(upTo: patience, step: .milliseconds(20), until: { pair.bond(source) == "paired" }) else {
            throw CommandFailure.failed("the pair is not paired within \(patience) after the return of \(watch.host.name)")
        }
        times.untilPaired = SystemClock.now() - ended.at
        times.ours = ended.took
        let entry = try pair.lastReturn(of: watch.host)
        guard entry.cause == watch.kind.rawValue else {
            throw CommandFailure.failed(
                "\(watch.host.name) came back by \(entry.cause), and was to come back by \(watch.kind.rawValue)")
        }
        times.phases = entry.phases.map { ($0.name, $0.ms) }
    }

    /// Both hosts hold the same.
    private func compare(_ pair: OurPair) throws -> Bool {
        try pair.waitUntilWhole(upTo: patience)
        let position = try LabPostgres.query("select pg_current_wal_flush_lsn();", on: pair.primary).first ?? ""
        let reached = "select pg_last_wal_replay_lsn() >= '\(position)';"
        guard
            try SystemClock.wait(
                upTo: patience, step: .milliseconds(100), until: { try LabPostgres.query(reached, on: pair.standby) == ["t"] })
        else { throw CommandFailure.failed("\(pair.standby.name) does not replay what \(pair.primary.name) has written") }
        return try BenchTable.sum(on: pair.primary, upTo: patience) == BenchTable.sum(on: pair.standby, upTo: patience)
    }
}

/// A way to come back, by its name in the history.
enum BenchReturn: String, CaseIterable, Encodable {
    case rewind, copy

    /// Ours may take so many times as long as the same by hand.
    var limit: Double { self == .rewind ? 1.3 : 1.15 }
    var words: String { self == .rewind ? "rewind" : "new copy" }
    /// Until the pair is `paired` when the data is there.
    static let pairedLimit = Duration.seconds(10)
}

/// Nanoseconds.
struct BenchReturnTimes {
    var hand: Int64 = 0
    var ours: Int64 = 0
    var untilPaired: Int64 = 0
    /// Milliseconds, as the history tells them.
    var phases: [(name: String, ms: Int64)] = []
}

/// When the agent began and ended a return: from the order to the line that says that it is done, all checks included.
private struct ReturnWatch {
    let host: LabHost
    let kind: BenchReturn
    private let log: Int
    private let journal: Int

    /// What happens from now on.
    init(_ host: LabHost, _ kind: BenchReturn) throws {
        self.host = host
        self.kind = kind
        log = try AgentLog.length(host)
        journal = try AgentJournal.length(host)
    }

    func end(upTo patience: Duration) throws -> (at: Int64, took: Int64) {
        var end: Int64?
        _ = try SystemClock.wait(upTo: patience, step: .milliseconds(50)) {
            end = try AgentLog(host, from: log).time(of: "the directory is like the primary's again")
            return end != nil
        }
        guard let end, let began = try AgentJournal.time(of: "rejoin \(kind.rawValue)", on: host, from: journal) else {
            throw CommandFailure.failed("\(host.name) is not back by a \(kind.words) within \(patience)")
        }
        return (end, end - began)
    }
}

/// What a person would type on the host that comes back.
private struct BenchHandReturn {
    let host: LabHost
    let source: LabHost
    let patience: Duration
    private static let place = LabPostgres.debianDataDirectory + "-by-hand"

    init(_ host: LabHost, source: LabHost, _ patience: Duration) {
        self.host = host
        self.source = source
        self.patience = patience
    }

    private var connection: String {
        "host=\(source.address) user=pgtandem_replication passfile=/var/lib/pgtandem/replication.passfile"
    }

    func copy() throws -> Int64 {
        let took = try time("pg_basebackup", ["-D", Self.place, "-d", connection, "-X", "stream", "-c", "fast"])
        try remove()
        return took
    }

    /// The same directory once more, but for `standby.signal`, with which pg_rewind cannot end a crashed server's recovery.
    func prepareRewind() throws {
        try host.demand(["/bin/cp", "-a", LabPostgres.debianDataDirectory, Self.place], deadline: patience)
        try host.demand(["/bin/rm", "\(Self.place)/standby.signal"])
    }

    /// Its own log is replayed by pg_rewind itself.
    func rewind() throws -> Int64 {
        try time("pg_rewind", ["-D", Self.place, "--source-server", connection + " dbname=postgres"])
    }

    func remove() throws { try host.demand(["/bin/rm", "-rf", Self.place], deadline: patience) }

    private func time(_ program: String, _ arguments: [String]) throws -> Int64 {
        let began = SystemClock.now()
        try host.demand(["\(LabPostgres.binaries)/\(program)"] + arguments, user: "postgres", deadline: patience)
        return SystemClock.now() - began
    }
}

/// The data: rows of about a kilobyte that do not compress.
private enum BenchTable {
    static func make(_ gigabytes: Int, on host: LabHost, upTo patience: Duration) throws {
        let rows = gigabytes << 20
        let sql = """
            create table bench_returns as select n, 0 as version, repeat(md5(n::text), 30) as filler from generate_series(1, \(rows)) n;
            """
        _ = try LabPostgres.query(sql, on: host, deadline: patience)
    }

    /// A row in each 25th page or so, and as many new ones: 1 % of the data.
    static func change(_ rest: Int, on host: LabHost, upTo patience: Duration) throws {
        let sql = """
            set synchronous_commit = local;
            update bench_returns set version = version + 1 where n % 200 = \(rest);
            """
        _ = try LabPostgres.query(sql, on: host, deadline: patience)
    }

    static func sum(on host: LabHost, upTo patience: Duration) throws -> String {
        let sql = "select count(*), sum(hashtext(n || ' ' || version || filler)::bigint) from bench_returns;"
        return try LabPostgres.query(sql, on: host, deadline: patience).joined()
    }
}
