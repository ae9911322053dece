import Testing

@testable import TandemConfiguration

@Suite struct ProblemTests {
    @Test func allMistakesOfAFileAreFoundAtOnce() {
        let text = """
            cluster: Orders
            node: c
            nodes:
              a: { addresses: [10.77.0.11] }
              b: { addresses: [10.77.0.11] }
            agent_port: 010
            agent_port: 7433
            virtual_addresses:
              primary: 10.77.0.100
              standby: [10.77.0.300]
              interface: [eth0]
            arbiter: { kind: etcd }
            limits: { max_staleness: 1m, promote: { bytes: 16Mb } }
            watchdog: none
            """
        let problems = Fixture.problems(text)
        let found = problems.map { "\($0.line.map(String.init) ?? "-") \($0.key ?? "-")" }
        #expect(
            found == [
                "1 cluster", "2 node", "5 nodes.b.addresses", "6 agent_port", "7 -", "9 virtual_addresses.primary",
                "10 virtual_addresses.standby", "11 virtual_addresses.interface", "12 arbiter.kind", "13 limits.max_staleness",
                "13 limits.promote.bytes", "14 watchdog", "- postgresql.data_directory",
            ])
    }

    @Test func severalKeysGivenTwiceAreAllShownTogetherWithOtherMistakes() {
        let text = Fixture.minimal + "gateway: none\ngateway: none\ngateway: none\nlog: { level: x, level: info }\n"
        let places = Fixture.problems(text).map { [$0.line, $0.column] }
        #expect(places == [[14, 1], [15, 1], [16, 15], [16, 18]])
    }

    @Test func aMisspeltKeyIsNotCalledMissingToo() {
        #expect(Fixture.problems(Fixture.replacing("cluster:", "clutser:")).map(\.key) == ["clutser"])
        #expect(Fixture.problems(Fixture.replacing("postgresql:", "postgres:")).map(\.key) == ["postgres"])
        #expect(Fixture.problems(Fixture.replacing("data_directory:", "data_dir:")).map(\.key) == ["postgresql.data_dir"])
        #expect(Fixture.problems(Fixture.replacing("virtual_addresses:", "virtual_address:")).map(\.key) == ["virtual_address"])
    }

    @Test func aProblemReadsWellInATerminal() {
        let problem = Fixture.problems(Fixture.minimal + "log: { levle: info }\n").first
        #expect(
            problem?.description == """
                pair.yml:13:8: error: log.levle: unknown key
                  13 | log: { levle: info }
                     |        ^
                  → Did you mean `level`?
                """)
    }

    @Test func theCaretStandsUnderItsColumnAlsoBehindTabsAndWideLetters() {
        let problem = ConfigurationProblem(file: "f", line: 3, column: 4, message: "m", excerpt: "\té: x")
        #expect(problem.description == "f:3:4: error: m\n  3 | \té: x\n    | \t  ^")
    }

    @Test func theErrorsEndWithTheirNumber() {
        let warned = Fixture.replacing("primary: [10.77.0.100]", "primary: [10.77.0.100/8]")
        let error = #expect(throws: ConfigurationErrors.self) { try Fixture.parse(warned + "a: 1\nlog: 2\n") }
        #expect(error?.description.hasSuffix("\npair.yml: 2 errors, 1 warning") == true)
        let one = #expect(throws: ConfigurationErrors.self) { try Fixture.parse("") }
        #expect(one?.description.hasSuffix("\npair.yml: 1 error") == true)
    }

    @Test func warningsDoNotKeepAConfigurationFromBeingUsed() throws {
        let configuration = try Fixture.parse(Fixture.replacing("primary: [10.77.0.100]", "primary: [10.77.0.100/8]"))
        #expect(configuration.warnings.map(\.severity) == [.warning])
        #expect(configuration.warnings.first?.line == 8)
    }

    @Test func anyLinesOfTheExampleLeftOutOrRepeatedAreAnsweredWithoutACrash() throws {
        let path = Fixture.repositoryFile("docs/pgtandem.example.yml")
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
        for index in lines.indices {
            for changed in [lines[..<index] + lines[(index + 1)...], lines[...index] + lines[index...], lines[..<index]] {
                let problems = Fixture.problems(changed.joined(separator: "\n"))
                #expect(problems.allSatisfy { $0.line.map { (1...changed.count).contains($0) } ?? true })
            }
        }
        // And torn in the middle of any line, as by a full disk.
        let text = lines.joined(separator: "\n")
        for length in stride(from: 0, to: text.count, by: 7) { _ = Fixture.problems(String(text.prefix(length))) }
    }

    @Test func deepNestingIsAnsweredWithoutACrash() {
        for text in [
            String(repeating: "[", count: 100_000), String(repeating: "{a: ", count: 100_000),
            String(repeating: "- ", count: 50_000),
        ] {
            #expect(!Fixture.problems(text).isEmpty)
        }
    }
}
