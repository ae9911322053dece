import Foundation
import TandemCore
import TandemSimulator
import Testing

/// A whole pair, A primary and B standby, on the simulator's world: S1 to S5 are checked after everything that happens. The stories are
/// told in `docs/stories`, with what happens in each, line by line; `PGTANDEM_WRITE_DOCS=1 ./test --filter StoryTests` writes them anew.
enum Scene {
    /// Runs a story, and holds it against its page: `title` names the page, `prose` says what it is about.
    static func tell(
        _ title: String, _ prose: String, _ setup: Setup = Setup(), seed: UInt64 = 1, _ story: (World) throws -> Void
    ) throws {
        let world = whole(setup, seed: seed, transcript: true)
        let began = world.now
        world.forgetTranscript()
        try story(world)
        #expect(world.violation == nil, "\(world.violation?.text ?? "")")
        let lines = world.transcript.map { World.Line(at: $0.at - began, who: $0.who, text: $0.text) }
        try compare(title, prose, Story.lines(lines))
    }

    /// Without a page.
    static func whole(_ setup: Setup = Setup(), seed: UInt64 = 1, flaw: Flaw? = nil, transcript: Bool = false) -> World {
        let world = World(setup, seed: seed, flaw: flaw, transcript: transcript)
        world.found()
        world.switchOn()
        world.run(.seconds(30)) { $0.isWhole }
        world.run(.seconds(1))
        #expect(world.isWhole, "the pair did not come up")
        return world
    }

    private static func compare(_ title: String, _ prose: String, _ lines: [String]) throws {
        let file = folder.appendingPathComponent("\(title).md")
        let page = "# \(title)\n\n\(prose)\n\n```\n\(lines.joined(separator: "\n"))\n```\n"
        if ProcessInfo.processInfo.environment["PGTANDEM_WRITE_DOCS"] == "1" {
            try Data(page.utf8).write(to: file)
            return
        }
        let known = try String(contentsOf: file, encoding: .utf8)
        let difference = zip(known.split(separator: "\n"), page.split(separator: "\n")).first { $0 != $1 }
        #expect(
            known == page,
            "docs/stories/\(title).md tells another story; first: \(difference.map { "`\($0.0)`, now `\($0.1)`" } ?? "its length")"
        )
    }

    static var folder: URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("docs/stories")
    }
}

extension World {
    func expectWhole(primary: NodeName, within span: Duration = .seconds(20)) {
        run(span) { $0.isWhole && $0.host(primary == "a" ? .a : .b).role == .primary }
        #expect(isWhole, "not whole: \(describe(a)); \(describe(b))")
        #expect((a.role == .primary) == (primary == "a"))
        #expect(violation == nil, "\(violation?.text ?? "")")
    }

    /// Like `expectWhole`; a branch that cannot follow is copied anew by a person, as long as this version does not do it itself.
    func expectWholeWithHelp(primary: NodeName) {
        settle(within: .seconds(90))
        expectWhole(primary: primary)
    }

    func expectAlone(_ host: SimHost, within span: Duration) {
        run(span) { $0.servesAlone(host) }
        #expect(servesAlone(host), "\(describe(host))")
        #expect(violation == nil, "\(violation?.text ?? "")")
    }
}
