import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// What the stories look back with must itself tell a quiet stretch from a change of roles.
    @Suite struct WhenWeLookBack {
        @Test func aQuietStretchIsToldFromAChangeOfRoles() throws {
            try PairOnHosts.story(arbiter: "manual") { pair in
                let before = pair.moment()
                #expect(before.primary == "a" && before.terms.count == 2)
                try pair.letClientsWrite(100)
                try pair.noNeedlessFailover(since: before)
                #expect(try pair.acknowledgers(since: before.time).map(\.node) == ["a"])
                #expect(try pair.firstCommit(by: pair.b, since: before.time) == nil)

                try pair.script.command(on: pair.a, ["switchover", "--to", "b"])
                try pair.waitUntilWhole(primary: "b")
                try pair.letClientsWrite(100)
                let stretches = try pair.acknowledgers(since: before.time)
                #expect(stretches.map(\.node) == ["a", "b"] && stretches[0].timeline < stretches[1].timeline, "\(stretches)")
                let first = try #require(try pair.firstCommit(by: pair.b, since: before.time))
                #expect(first.acknowledged == stretches[1].began)
                let outage = try pair.longestWriteOutage(since: before.time)
                #expect(outage >= .nanoseconds(stretches[1].began - stretches[0].ended) && outage < .seconds(2))
                let changes = try pair.changes(since: before)
                #expect(changes.count == 4 && changes.first == "the primary was a and is b", "\(changes)")
                #expect(changes.last?.hasPrefix("acknowledged: [a: ") == true, "\(changes)")
                try pair.noNeedlessFailover(since: pair.moment())
            }
        }
    }
}
