import Foundation
import TandemCore
import Testing

/// `docs/state-machine.md` is generated from the table; `PGTANDEM_WRITE_DOCS=1 ./test --filter StateMachinePageTests` writes it anew.
@Suite struct StateMachinePageTests {
    @Test func thePageIsWhatTheTableSays() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("docs/state-machine.md")
        let page = TransitionTable.page
        if ProcessInfo.processInfo.environment["PGTANDEM_WRITE_DOCS"] == "1" { try Data(page.utf8).write(to: file) }
        #expect(try String(contentsOf: file, encoding: .utf8) == page, "write it anew, see above")
    }

    @Test func noRowStandsTwice() {
        #expect(Set(TransitionTable.rows.map(\.transition)).count == TransitionTable.rows.count)
    }
}
