import Foundation
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

    static func withLab(secondPath: Bool = false, _ body: (Lab) throws -> Void) throws {
        let lab = try Lab(LabOptions(binary: binary, directory: directory, secondPath: secondPath))
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

/// Root, nft and the program are needed; two labs at a time would only slow each other down.
@Suite(.serialized, .enabled(if: LabFixture.canRun), .timeLimit(.minutes(5)))
enum LabTests {}
