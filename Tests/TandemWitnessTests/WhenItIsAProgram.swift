import Foundation
import Glibc
import TandemSystem
import Testing

@testable import TandemNetwork
@testable import TandemWitness

enum BuiltProgram {
    /// Given by PGTANDEM_BINARY, or built beside the tests.
    static let path: String = {
        if let given = ProcessInfo.processInfo.environment["PGTANDEM_BINARY"], !given.isEmpty { return given }
        let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        // The tests are a bundle that a helper of the toolchain may load.
        let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") }.map { URL(fileURLWithPath: $0) } ?? own
        return bundle.deletingLastPathComponent().appendingPathComponent("pgtandem").path
    }()
    static let exists = access(path, X_OK) == 0
}

@Suite(
    "The program `pgtandem witness`", .serialized, .enabled(if: BuiltProgram.exists, "the program is not built"),
    .timeLimit(.minutes(30)))
struct WhenItIsAProgram {
    private final class Program {
        let process = Process()
        private let log: String

        init(_ arguments: [String], log: String) throws {
            self.log = log
            #expect(FileManager.default.createFile(atPath: log, contents: nil))
            let file = try #require(FileHandle(forWritingAtPath: log))
            process.executableURL = URL(fileURLWithPath: BuiltProgram.path)
            process.arguments = arguments
            process.standardError = file
            process.standardOutput = file
            try process.run()
        }

        func said() throws -> String { String(decoding: try #require(try DurableFile.read(log)), as: UTF8.self) }

        func ended() -> Int32 {
            process.waitUntilExit()
            return process.terminationStatus
        }
    }

    private func run(_ arguments: [String]) throws -> (code: Int32, text: String) {
        let folder = try Folder()
        let program = try Program(arguments, log: "\(folder.path)/log")
        return (program.ended(), try program.said())
    }

    @Test func `it serves, reads certificates anew on SIGHUP, and ends with 0 on SIGTERM`() throws {
        let (place, logs) = (try Place(), try Folder())
        let options = ["--state", place.state.path]
        let program = try Program(
            ["witness", "--listen", "127.0.0.1:0", "--tls", place.cluster.witness] + options, log: "\(logs.path)/log")
        defer { kill(program.process.processIdentifier, SIGKILL) }
        try eventually("it serves", within: .seconds(30)) { try program.said().contains("witness serves") }
        let text = try program.said()
        let port = try #require(text.firstMatch(of: #/listen=127\.0\.0\.1:(\d+)/#).flatMap { Int($0.1) })
        _ = try KnownPair(place.cluster, at: LinkAddress(host: "127.0.0.1", port: port), ledger: Ledgers.paired())
        #expect(try run(["witness", "list"] + options).text.contains("orders  (8, 3, a, paired)"))
        let second = try run(["witness", "--listen", "127.0.0.1:0", "--tls", place.cluster.witness] + options)
        #expect(second.code == 1 && second.text.contains("another witness serves"))
        kill(program.process.processIdentifier, SIGHUP)
        try eventually("read anew") { try program.said().contains("read anew") }
        let forgotten = try run(["witness", "forget", "orders"] + options)
        #expect(forgotten.code == 0 && forgotten.text.contains("forgotten: orders"))
        kill(program.process.processIdentifier, SIGTERM)
        #expect(program.ended() == 0)
        #expect(try run(["witness", "list"] + options).text.contains("no witness runs here"))
    }

    @Test func `exit codes: 1 refused, 2 usage, 3 not reachable`() throws {
        let place = try Place()
        #expect(try run(["witness", "list", "--state", "/nowhere"]).code == 3)
        #expect(try run(["witness", "--listen", "somewhere"]).code == 2)
        #expect(try run(["witness", "forget"]).code == 2)
        _ = try place.start()
        let forget = try run(["witness", "forget", "orders", "--state", place.state.path])
        #expect(forget.code == 1 && forget.text.contains("pgtandem witness list"))
        let tls = try run(["witness", "--listen", "127.0.0.1:0", "--state", place.state.path, "--tls", "/nowhere"])
        #expect(tls.code == 1 && tls.text.contains("pgtandem tls create"))
    }
}
