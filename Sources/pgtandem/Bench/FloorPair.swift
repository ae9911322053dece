import TandemCore
import TandemLab
import TandemPostgres
import TandemSystem

/// Two servers made by hand, synchronous as ours, and a script that is told what happened and does the least that can be done:
/// the floor that no manager of two servers can be below.
final class FloorPair {
    private let lab: Lab
    private var reaches: [String: FloorReach] = [:]
    private(set) var primary: LabHost
    private(set) var standby: LabHost

    init(_ lab: Lab) {
        self.lab = lab
        (primary, standby) = (lab.hosts[0], lab.hosts[1])
    }

    func bringUp() throws {
        try lab.start()
        for host in lab.hosts {
            try host.boot()
            reaches[host.name] = try FloorReach(host)
        }
        let first = LabPostgres.plain(primary)
        try first.create()
        try primary.demand(
            ["/usr/lib/postgresql/\(LabPostgres.version)/bin/pg_checksums", "--enable", "--no-sync", "-D", first.dataDirectory],
            user: lab.options.osUser)
        try first.append(Self.sameSettings, to: "postgresql.conf")
        try first.append(own(primary), to: "postgresql.auto.conf")
        try first.start()
        _ = try first.query(LoadSpec.setup)
        try reach(primary).perform(["take \(Lab.primaryAddress)"])
        try makeStandby()
    }

    /// What our include file says, but for the connections of this very pair.
    private static let sameSettings: [String] = {
        let ours = ManagedSettings(
            cluster: "", node: NodeName("floor"), port: 5432, ownCopy: nil, peer: nil, synchronousStandby: nil,
            slotKeepMegabytes: 16 << 10)
        let different = ["cluster_name", "primary_conninfo", "primary_slot_name", "synchronous_standby_names"]
        return ours.values.filter { !different.contains($0.name) }.map { "\($0.name) = '\($0.value)'" }
    }()

    private func own(_ host: LabHost) -> [String] {
        ["cluster_name = 'floor/\(host.name)'", "synchronous_standby_names = ''"]
    }

    /// Its processes are killed; told so, the script promotes the standby and moves the address.
    func crash() throws -> ChangeOfRoles { try change(ending: "kill") }

    func switchover() throws -> ChangeOfRoles { try change(ending: "stop") }

    private func change(ending: String) throws -> ChangeOfRoles {
        let (old, new) = (try reach(primary), try reach(standby))
        let began = SystemClock.now()
        let ended = try old.perform([ending, "drop \(Lab.primaryAddress)"])
        let opened = try new.perform(["promote", "take \(Lab.primaryAddress)"])
        (primary, standby) = (standby, primary)
        let steps: [(BenchPhase, Int64)] = [
            (.ending, ended[0]), (.handover, ended[1]), (.promotion, opened[0]), (.address, opened[1]),
        ]
        return ChangeOfRoles(began: began, primary: primary.name, steps: steps)
    }

    /// The old primary becomes a standby again, from a new copy.
    func makeStandby() throws {
        let copy = LabPostgres.plain(standby)
        try standby.demand(["/bin/rm", "-rf", copy.dataDirectory])
        try copy.copy(from: primary)
        try copy.append(own(standby), to: "postgresql.auto.conf")
        try copy.start()
        _ = try LabPostgres.query("alter system set synchronous_standby_names = '*';\nselect pg_reload_conf();", on: primary)
        let question = "select count(*) from pg_stat_replication where state = 'streaming' and sync_state = 'sync';"
        guard
            try SystemClock.wait(
                upTo: .seconds(30), step: .milliseconds(50), until: { try LabPostgres.query(question, on: primary) == ["1"] })
        else { throw CommandFailure.failed("the floor's standby \(standby.name) does not stream synchronously within 30 s") }
        try reach(primary).perform(["drop \(Lab.standbyAddress)"])
        // The promotion's session: open before the clock runs.
        try reach(standby).perform(["take \(Lab.standbyAddress)", "connect"])
    }

    private func reach(_ host: LabHost) throws -> FloorReach {
        guard let reach = reaches[host.name] else { throw CommandFailure.failed("there is no hand on \(host.name)") }
        return reach
    }
}
