import Foundation

/// What process 1 of a machine is told, as a JSON file that it reads before the machine's mounts hide it.
struct MachineSpec: Codable, Sendable {
    var hostname: String
    /// The machine's disk: a folder of this file system; `folders` are bound from it.
    var disk: String
    /// An empty folder where file systems are put together before they are moved to their place.
    var stage: String
    /// Absolute paths that exist in the disk folder and appear at the same place inside.
    var folders: [String]
    /// The user that owns PostgreSQL's and the agent's folders below /run.
    var userID: UInt32
    var groupID: UInt32
    var bootID: String
    /// The number after which processes are counted, so that two boots do not hand out the same ones.
    var lastPID: Int32
    /// The program under test, on this machine; it appears as `LabHost.programPath`.
    var program: String
    /// PostgreSQL's programs where the machine that we run on does not have them; nil: it does.
    var postgres: Bound?
    var services: [ServiceSpec]
    /// A folder with the wall clock's parts (`WallClock`), which appears as `WallClock.place`; nil: the clock is this machine's.
    var wallClock: String?

    /// A folder of the machine that we run on, and where it appears inside.
    struct Bound: Codable, Sendable {
        var folder: String
        var place: String
    }

    /// The folders that belong to a host and survive its power-off.
    static let persistentFolders = [
        "/etc/pgtandem", "/etc/postgresql", "/var/lib/pgtandem", "/var/lib/postgresql", "/var/log/postgresql",
    ]
    /// Those of the witness's machine: PostgreSQL's are there too, and stay empty, so that those of the machine that we run on
    /// are not seen.
    static let witnessFolders =
        persistentFolders + ["/etc/pgtandem-witness", "/var/lib/pgtandem-witness"]

    func write(to path: String) throws(LabError) {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            try Text.create(path, Array(try encoder.encode(self)), mode: 0o600)
        } catch let error as LabError {
            throw error
        } catch {
            throw LabError(attempted: "write \(path)", happened: "\(error)")
        }
    }

    static func read(_ path: String) throws(LabError) -> MachineSpec {
        guard let text = Text.read(path) else { throw LabError(attempted: "read \(path)", happened: "it is not there") }
        do {
            return try JSONDecoder().decode(MachineSpec.self, from: Data(text.utf8))
        } catch {
            throw LabError(attempted: "read \(path)", happened: "\(error)")
        }
    }
}
