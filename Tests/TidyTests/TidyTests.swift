import Foundation
import Testing

@Suite struct TidyTests {
    static let rules: [(name: String, find: @Sendable (Repository) -> [Violation])] = [
        ("TandemCore imports nothing", { TidyRules.imports(inTheCoreOf: $0) }),
        ("files stay short: 250 lines in the core, 400 elsewhere", { TidyRules.longFiles(in: $0) }),
        ("no error is hidden, no note left for later in Sources", { TidyRules.hiddenErrorsAndNotes(in: $0) }),
        ("tests wait for facts", { TidyRules.sleeps(inTheTestsOf: $0) }),
        ("the roles are primary and standby", { TidyRules.otherWordsForTheRoles(in: $0) }),
        ("enum members of the C library by CLinux's names", { TidyRules.namesThatABuildMayNotSee(in: $0) }),
        ("no paths of one machine", { TidyRules.machinePaths(in: $0) }),
        ("a test that is off says why", { TidyRules.unexplainedSwitches(in: $0) }),
    ]

    @Test(arguments: rules.map(\.name)) func theRepositoryKeepsTheRule(name: String) throws {
        let repository = try Repository.find()
        let rule = try #require(Self.rules.first { $0.name == name })
        let violations = rule.find(repository)
        #expect(violations.isEmpty, "\(name)\n\(violations.map(\.description).joined(separator: "\n"))")
    }

    @Test func theRulesSeeTheWholeRepository() throws {
        let repository = try Repository.find()
        #expect(repository.files(under: "Sources/", suffix: ".swift").count > 20)
        #expect(repository.files(under: "Sources/TandemCore/", suffix: ".swift").count > 4)
        #expect(repository.files(under: "Tests/", suffix: ".swift").count > 4)
        #expect(repository.files.contains { $0.path == "Package.swift" })
        #expect(!repository.files.contains { $0.path.hasPrefix(".build") || $0.path.hasPrefix(".git/") })
    }

    /// A tree that breaks every rule once, and comes near to breaking it elsewhere.
    @Test func eachRuleFindsWhatBreaksItAndNothingElse() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pgtandem-tidy-\(UUID().uuidString)")
        defer {
            do { try FileManager.default.removeItem(at: folder) } catch { Issue.record("left behind: \(folder.path): \(error)") }
        }
        let sleep = "sle" + "ep", off = ".dis" + "abled"
        let tree = [
            "Sources/TandemCore/A.swift": "// import nothing\nlet important = 1\n  public import Foundation\nimport Glibc",
            "Sources/TandemCore/Long.swift": String(repeating: "//\n", count: 251),
            "Sources/TandemCore/Full.swift": String(repeating: "//\n", count: 250),
            "Sources/X/Long.swift": String(repeating: "//\n", count: 401),
            "Sources/X/B.swift": "try? f()\nretry?()\nfatal" + "Error(\"x\")\n// TO" + "DO\nlet t = try f() ?? 1",
            "Tests/C.swift": "Task.\(sleep)(1)\npg_\(sleep)(1)\nu\(sleep)(1)\n\(sleep)(1)\nTool(\"/bin/\(sleep)\")",
            "Tests/D.swift": "@Test(\(off)())\n@Test(\(off)(\"slow\"))\n@Test(\(off)(\n  \"slow\"))\nisDis" + "abled",
            "Tests/F.swift": "socket(AF_INET, SOCK_STREAM, 0)\nsocket.SOCK_RAW\nlet a = cl_sock_stream  // SOCK_DESTROY",
            "docs/e.md": "the postmas" + "ter\nthe Mas" + "ter\nip link set a mas" + "ter b\nmas" + "ter_key",
            "README.md": "a sla" + "ve",
            "notes.md": "see /wo" + "rk/x\nhttps://host/wo" + "rk/x\n`/ro" + "ot/y`\nframewo" + "rk/",
            ".build/Z.swift": "try! f()",
        ]
        for (path, text) in tree {
            let file = folder.appendingPathComponent(path)
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        let repository = try Repository(root: folder)
        let found = Dictionary(
            uniqueKeysWithValues: Self.rules.map { ($0.name, $0.find(repository).map { "\($0.file.path):\($0.line)" }) })
        #expect(
            Self.rules.map { found[$0.name] } == [
                ["Sources/TandemCore/A.swift:3", "Sources/TandemCore/A.swift:4"],
                ["Sources/TandemCore/Long.swift:251", "Sources/X/Long.swift:401"],
                ["Sources/X/B.swift:1", "Sources/X/B.swift:3", "Sources/X/B.swift:4"],
                ["Tests/C.swift:1", "Tests/C.swift:3", "Tests/C.swift:4"],
                ["README.md:1", "docs/e.md:2"],
                ["Tests/F.swift:1"],
                ["notes.md:1", "notes.md:3"],
                ["Tests/D.swift:1"],
            ])
    }
}
