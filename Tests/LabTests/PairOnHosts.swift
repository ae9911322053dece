import Foundation
import Glibc
import TandemLab
import TandemSystem
import TandemWire
import Testing

/// A real pair on two hosts of a lab, with clients, the sniffer and the checker always on.
///
/// Root, nft and the built program are needed; `./test` sees to that and says so.
final class PairOnHosts {
    static let binary: String = {
        if let given = ProcessInfo.processInfo.environment["PGTANDEM_BINARY"], !given.isEmpty { return given }
        return (LabOptions.ownBinary() as NSString).deletingLastPathComponent + "/pgtandem"
    }()
    static let canRun = geteuid() == 0 && access(binary, X_OK) == 0 && access("/usr/sbin/nft", X_OK) == 0

    /// Minutes for a test; one that is asked for fifty moments, or for much data, takes longer.
    static let patience =
        ["PGTANDEM_MOMENTS", "PGTANDEM_TAIL"].contains { ProcessInfo.processInfo.environment[$0] != nil } ? 60 : 5

    let lab: Lab
    private(set) var script: LabScript
    let a: LabHost
    let b: LabHost
    private var load: LabLoad?
    private var sniffer: Sniffer?

    private init(_ configuration: LabConfiguration, movableWallClocks: Set<String>, disks: [String]) throws {
        let folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        lab = try Lab(
            LabOptions(
                binary: Self.binary, directory: folder, hasWitness: configuration.arbiterKind == "witness",
                movableWallClocks: movableWallClocks, disks: disks))
        script = LabScript(lab, configuration: configuration)
        a = lab.hosts[0]
        b = lab.hosts[1]
    }

    /// As the other one, in few words.
    /// - Parameters:
    ///   - arbiter: `witness` (a third machine, `pair.w`, and a guard on both hosts) or `manual`.
    ///   - timing: `fast`, `standard` or `relaxed`.
    ///   - mode: `synchronous` or `asynchronous`.
    ///   - movableWallClocks: machines whose wall clock the story moves.
    static func story(
        arbiter: String, timing: String = "standard", mode: String = "synchronous", movableWallClocks: Set<String> = [],
        overlap: Duration = Checker.overlapLimit, _ body: (PairOnHosts) throws -> Void
    ) throws {
        var configuration = LabConfiguration()
        configuration.arbiterKind = arbiter
        configuration.timing = timing
        configuration.mode = mode
        try story(configuration, movableWallClocks: movableWallClocks, overlap: overlap, body)
    }

    /// Brings a pair up, runs the story, and holds it to what must always be true: no acknowledged commit lost, one
    /// acknowledger at a time, no address answered by two machines for longer than `overlap`.
    /// - Parameters:
    ///   - disks: further file systems of both hosts, by mount point.
    ///   - units: kept by a real systemd on each machine.
    ///   - mayLose: of an asynchronous pair: how many acknowledged commits at most, asked at the end.
    static func story(
        _ configuration: LabConfiguration = LabConfiguration(), movableWallClocks: Set<String> = [], disks: [String] = [],
        overlap: Duration = Checker.overlapLimit, units: (hosts: LabUnits, witness: LabUnits)? = nil,
        mayLose: ((PairOnHosts) throws -> Int)? = nil,
        preparing: (LabHost) throws(LabError) -> Void = { _ in },
        _ body: (PairOnHosts) throws -> Void
    ) throws {
        let pair = try PairOnHosts(configuration, movableWallClocks: movableWallClocks, disks: disks)
        do {
            try pair.lab.start()
            pair.script.units = units?.hosts
            pair.script.witnessUnits = units?.witness
            try pair.script.bringUp(preparing: preparing)
            // What a run on another version says is of that version (`scripts/matrix`).
            let version = try LabPostgres.query("show server_version_num", on: pair.a).first ?? "nothing"
            #expect(version.hasPrefix(LabPostgres.version), "PostgreSQL \(LabPostgres.version) is wanted, and it is \(version)")
            pair.sniffer = try pair.lab.startSniffer()
            pair.load = try pair.lab.startLoad()
            try pair.wait("clients write and read") {
                let counters = pair.load?.counters()
                return (counters?.acknowledged ?? 0) > 50 && (counters?.reads ?? 0) > 20
            }
            try pair.waitUntilWhole(primary: "a")
            try body(pair)
            let report = try pair.verdict(overlap)
            if let mayLose {
                let serious = report.violations.filter { $0.promise != .acknowledgedCommitsStay }
                #expect(serious.isEmpty, "\(report.summary)")
                #expect(try (report.lost ?? .max) <= mayLose(pair), "\(report.summary)")
            } else {
                #expect(report.violations.isEmpty, "\(report.summary)")
                #expect(report.lost == 0, "\(report.summary)")
            }
        } catch {
            print(pair.lastWords())
            try pair.lab.stop()
            throw error
        }
        try pair.lab.stop()
    }

    private func verdict(_ overlap: Duration) throws -> CheckReport {
        guard let load, let sniffer else { throw Told("the load was not started") }
        return try lab.check(logs: [load.stop()], sightings: sniffer.stop(), overlap: overlap, query: lab.queryOnPrimary)
    }

    // MARK: - what is so

    /// The witness's machine; an error without arbiter `witness`.
    var w: LabHost { get throws { try lab.witness } }

    func host(_ name: String) -> LabHost { name == "a" ? a : b }

    func status(_ host: LabHost) throws -> StatusDocument {
        try JSON.decode(StatusDocument.self, from: Array(try script.status(of: host).text.utf8))
    }

    /// nil: no agent answers there now.
    func statusIfAny(_ host: LabHost) -> StatusDocument? {
        do { return try status(host) } catch { return nil }
    }

    /// One primary, one standby, each with its address, paired, ready for a failover.
    func isWhole(primary: String) -> Bool {
        do {
            let first = try status(host(primary))
            let second = try status(host(primary == "a" ? "b" : "a"))
            return first.role == "primary" && second.role == "standby" && first.bond == "paired" && second.bond == "paired"
                && first.addresses.contains(Lab.primaryAddress) && second.addresses.contains(Lab.standbyAddress)
                && first.failover_ready.ok && second.failover_ready.ok
        } catch {
            // An agent that does not answer is not part of a whole pair.
            return false
        }
    }

    func waitUntilWhole(primary: String, upTo patience: Duration = .seconds(40)) throws {
        try wait("the pair is whole with \(primary) as primary", upTo: patience) { self.isWhole(primary: primary) }
    }

    func wait(_ what: String, upTo patience: Duration = .seconds(20), _ claim: () throws -> Bool) throws {
        guard try SystemClock.wait(upTo: patience, step: .milliseconds(20), until: claim) else {
            throw Told("not within \(patience): \(what)\n\(statusTexts())")
        }
    }

    /// Until clients have written so many more commits.
    func letClientsWrite(_ more: Int) throws {
        let before = load?.counters()?.acknowledged ?? 0
        try wait("\(more) more commits") { (self.load?.counters()?.acknowledged ?? 0) >= before + more }
    }

    func outage(since began: Int64) throws -> (writes: Outage, reads: Outage) {
        let log = try clientLog()
        let now = SystemClock.now()
        return (log.writeOutage(from: began, to: now), log.readOutage(from: began, to: now))
    }

    /// What clients saw so far, up to about 50 ms ago.
    func clientLog() throws -> ClientLog {
        guard let log = try load?.log() else { throw Told("the load was not started") }
        return log
    }

    /// Hardware addresses that were seen with an address since then.
    func machines(with address: String, since began: Int64) throws -> Set<String> {
        guard let sniffer else { throw Told("the sniffer was not started") }
        return Set(sniffer.sightings().filter { $0.time >= began && $0.address == address }.map(\.hardware))
    }

    private func statusTexts() -> String {
        lab.hosts.map { host in
            do { return "\(host.name): \(try script.status(of: host).text)" } catch { return "\(host.name): \(error)" }
        }.joined(separator: "\n")
    }

    private func lastWords() -> String {
        lab.machines.flatMap { machine in
            HostService.allCases.compactMap { service in
                FileManager.default.contents(atPath: machine.serviceLogPath(service)).map { log in
                    let lines = String(decoding: log, as: UTF8.self).split(separator: "\n").suffix(40)
                    return "--- \(service) on \(machine.name):\n" + lines.joined(separator: "\n")
                }
            }
        }.joined(separator: "\n")
    }
}

struct Told: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}
