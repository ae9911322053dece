import Foundation
import TandemSystem
import Testing

@testable import TandemLab

/// A lab for one test, gone when the test is over, however it ends.
enum LabFixture {
    /// The program under test: given by PGTANDEM_BINARY, or the one built beside the tests.
    static let binary: String = {
        if let given = ProcessInfo.processInfo.environment["PGTANDEM_BINARY"], !given.isEmpty { return given }
        let folder = (LabOptions.ownBinary() as NSString).deletingLastPathComponent
        return "\(folder)/pgtandem"
    }()

    /// In memory where there is room: other work on the disk must not decide how long a commit takes.
    static let directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"

    static let canRun = geteuid() == 0 && access(binary, X_OK) == 0 && access("/usr/sbin/nft", X_OK) == 0

    static func withLab(
        secondPath: Bool = false, hasWitness: Bool = false, movableWallClocks: Set<String> = [],
        _ body: (Lab) throws -> Void
    ) throws {
        let lab = try Lab(
            LabOptions(
                binary: binary, directory: directory, hasWitness: hasWitness,
                movableWallClocks: movableWallClocks,
                secondPath: secondPath))
        do {
            try lab.start()
            try body(lab)
        } catch {
            try lab.stop()
            throw error
        }
        try lab.stop()
        #expect(remains(of: lab) == [], "a stopped lab leaves nothing")
    }

    /// Everything on this machine that carries the lab's name.
    static func remains(of lab: Lab) -> [String] {
        let places = ["/run/netns", "/tmp", directory, LabRemains.registry] + [ControlGroup.root()].compactMap { $0 }
        let files = places.flatMap { place in
            Text.names(in: place).filter { LabName(in: $0) == lab.name }.map { "\(place)/\($0)" }
        }
        let mounts = (Text.read("/proc/self/mounts") ?? "").split(separator: "\n").map(String.init)
            .filter { $0.contains("\(lab.name)") }
        return files + mounts
    }
}

/// Root, nft and the program are needed; two labs at a time would only slow each other down. The limit counts the time that a test waits for a
/// thread, too, while hundreds of others run: what hangs is found sooner by `./test`, which hears nothing.
@Suite(.serialized, .enabled(if: LabFixture.canRun), .timeLimit(.minutes(30)))
enum LabTests {}

extension LabHost {
    /// Its service becomes one that greets whoever connects, and the host is booted.
    func serve(_ port: Int) throws {
        let server = """
            import socket
            s = socket.create_server(("0.0.0.0", \(port)))
            while True:
                c, _ = s.accept()
                c.sendall(b"hello\\n")
                c.close()
            """
        setService(["/usr/bin/python3", "-c", server], startsAtBoot: true)
        try boot()
        let listens = try SystemClock.wait(upTo: .seconds(5)) {
            try !demand(["ss", "-Hltn", "sport = :\(port)"]).isEmpty
        }
        #expect(listens)
    }

    /// Whether it is greeted there, within a second.
    func reaches(_ address: String, _ port: Int) throws -> Bool {
        let probe =
            "exec 3<>/dev/tcp/\(address)/\(port) && read -t 1 word <&3 && test \"$word\" = hello"
        return try run(["/bin/bash", "-c", probe], deadline: .seconds(1)).succeeded
    }

    func awaitReaches(_ address: String, _ port: Int) throws -> Bool {
        try SystemClock.wait(upTo: .seconds(5)) { try reaches(address, port) }
    }

    func log(_ service: HostService = .agent) -> String { Text.read(serviceLogPath(service)) ?? "" }
}

extension Lab {
    /// As `reaches`, from the client's place.
    func clientReaches(_ address: String, _ port: Int) throws -> Bool {
        let probe =
            "exec 3<>/dev/tcp/\(address)/\(port) && read -t 1 word <&3 && test \"$word\" = hello"
        let tool = Tool(
            "/usr/bin/nsenter", ["--net=\(client.namespace.path)", "/bin/bash", "-c", probe])
        return try tool.run(deadline: .seconds(1)).succeeded
    }
}
