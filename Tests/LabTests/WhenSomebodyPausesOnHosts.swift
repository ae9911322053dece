import Glibc
import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    @Suite struct WhenSomebodyPausesOnHosts {
        static let paused = "paused: nothing fails over until `pgtandem resume`"
        static let whole = "resumed: the pair is whole"

        @Test func nothingMovesAndResumingMakesThePairWhole() throws {
            try PairOnHosts.story { pair in
                for asked in [pair.a, pair.b] {
                    try pair.undisturbed {
                        #expect(try pair.ask(asked, "pause").contains(Self.paused))
                        // Durable on both hosts when the person is told, so nothing is waited for.
                        for host in lab(pair) {
                            let status = try pair.status(host)
                            #expect(status.paused && status.bond == "sole", "\(host.name): \(status)")
                            #expect(!status.failover_ready.ok)
                            #expect(try host.demand([PairOnHosts.binaryInside, "status"]).contains(Self.paused))
                        }
                        try expectRoles(pair)
                        #expect(try pair.refused(asked, "switchover").contains("[notPaired]"))
                        try pair.letClientsWrite(100)
                        #expect(try pair.ask(asked, "pause").contains(Self.paused), "once more changes nothing")
                        #expect(try commitsWait(pair), "commits go on waiting for the standby")
                        #expect(try pair.ask(asked, "resume").contains(Self.whole))
                        try pair.waitUntilWhole(primary: "a")
                    }
                    for host in lab(pair) { #expect(try !pair.status(host).paused) }
                }
            }
        }

        @Test func stoppedAgentsLeaveEverythingAsItIs() throws {
            try PairOnHosts.story { pair in
                try pair.undisturbed {
                    try pair.ask(pair.a, "pause")
                    for host in lab(pair) { #expect(try host.stopService() == "exit:0") }
                    try pair.letClientsWrite(200)
                    for host in lab(pair) { #expect(try host.serviceStatus().state == .stopped) }
                    // The first one finds nobody.
                    for host in lab(pair) {
                        try host.startService()
                        try pair.letClientsWrite(50)
                    }
                    try pair.wait("both agents have adopted what runs") {
                        lab(pair).allSatisfy { host in
                            let status = pair.statusIfAny(host)
                            return status?.paused == true && status?.peer.reachable == true && status?.notes.isEmpty == true
                        }
                    }
                    try expectRoles(pair)
                    #expect(try pair.ask(pair.b, "resume").contains(Self.whole))
                    try pair.waitUntilWhole(primary: "a")
                }
            }
        }

        /// Without the pause it would move: `WhenPostgresDies`.
        @Test func aDeadPostmasterIsStartedAgainWhereItWas() throws {
            try PairOnHosts.story { pair in
                try pair.ask(pair.a, "pause")
                let before = pair.postmaster(pair.a)
                #expect(try pair.a.kill(.postmaster) == 1)
                try pair.wait("it runs again") { pair.postmaster(pair.a) != nil && pair.postmaster(pair.a) != before }
                try pair.letClientsWrite(100)
                try pair.wait("both addresses are where they were") { try rolesAreKept(pair) }
                try waitUntilReady(pair)
                #expect(try pair.ask(pair.a, "resume").contains(Self.whole))
                try pair.waitUntilWhole(primary: "a")
            }
        }

        @Test func workOnTheStandbyHoldsUpNoCommit() throws {
            try PairOnHosts.story { pair in
                for asked in [pair.a, pair.b] {
                    let began = SystemClock.now()
                    #expect(try pair.ask(asked, "pause", "--standby-maintenance").contains(Self.paused))
                    #expect(try pair.status(pair.a).paused && pair.status(pair.b).paused)
                    try pair.b.powerOff()
                    try pair.letClientsWrite(300)
                    if asked === pair.a {
                        try pair.b.boot()
                        try waitUntilReady(pair)
                        #expect(try pair.ask(pair.a, "resume").contains(Self.whole))
                    } else {
                        // The work takes longer, and nobody wants to wait with the addresses.
                        #expect(try pair.ask(pair.a, "resume").contains("resumed without the standby: a goes on alone"))
                        try pair.wait("the primary serves both") {
                            try pair.status(pair.a).addresses == [Lab.primaryAddress, Lab.standbyAddress]
                        }
                        try pair.b.boot()
                    }
                    try pair.waitUntilWhole(primary: "a")
                    let outage = try pair.outage(since: began)
                    #expect(outage.writes.longestGap < PairOnHosts.calm, "writes were out for \(outage.writes.longestGap)")
                    let unanswered = try pair.clientLog().uncertain.filter { $0.ended >= began }
                    #expect(unanswered.isEmpty, "\(unanswered)")
                }
            }
        }

        /// The price of `pause` without `--standby-maintenance`: 30 s, then commits go on. Readers pay it in both cases: the absent host
        /// could still be answering them.
        @Test(arguments: [false, true]) func aStandbyThatIsAwayForHalfAMinuteIsWaitedForNoLonger(_ maintenance: Bool) throws {
            try PairOnHosts.story { pair in
                if maintenance { try pair.ask(pair.b, "pause", "--standby-maintenance") } else { try pair.ask(pair.b, "pause") }
                let began = SystemClock.now()
                try pair.b.powerOff()
                try pair.wait("readers are served by the primary", upTo: .seconds(60)) {
                    try pair.status(pair.a).addresses == [Lab.primaryAddress, Lab.standbyAddress]
                }
                try pair.letClientsWrite(100)
                let status = try pair.status(pair.a)
                #expect(status.paused && status.role == "primary_standby", "\(status)")
                let outage = try pair.outage(since: began)
                #expect(outage.reads.longestGap > .seconds(29), "reads were out for \(outage.reads.longestGap)")
                #expect(outage.reads.longestGap < .seconds(36), "reads were out for \(outage.reads.longestGap)")
                if maintenance {
                    #expect(outage.writes.longestGap < PairOnHosts.calm, "writes were out for \(outage.writes.longestGap)")
                } else {
                    #expect(outage.writes.longestGap > .seconds(29), "writes were out for \(outage.writes.longestGap)")
                    #expect(outage.writes.longestGap < .seconds(36), "writes were out for \(outage.writes.longestGap)")
                    #expect(try String(contentsOfLog: pair.a).contains("commits wait for it no longer"))
                }
                try pair.b.boot()
                try waitUntilReady(pair)
                #expect(try pair.ask(pair.b, "resume").contains(Self.whole))
                try pair.waitUntilWhole(primary: "a")
            }
        }

        private func lab(_ pair: PairOnHosts) -> [LabHost] { [pair.a, pair.b] }

        private func rolesAreKept(_ pair: PairOnHosts) throws -> Bool {
            let (first, second) = (try pair.status(pair.a), try pair.status(pair.b))
            return first.role == "primary" && first.addresses == [Lab.primaryAddress] && second.role == "standby"
                && second.addresses == [Lab.standbyAddress]
        }

        private func expectRoles(_ pair: PairOnHosts) throws { #expect(try rolesAreKept(pair)) }

        /// The standby streams and has caught up: nothing keeps the primary from pairing but the pause.
        private func waitUntilReady(_ pair: PairOnHosts) throws {
            try pair.wait("the standby could be paired", upTo: .seconds(60)) {
                let status = try pair.status(pair.a)
                return status.peer.reachable && status.paused && status.notes.isEmpty
            }
        }

        private func commitsWait(_ pair: PairOnHosts) throws -> Bool {
            try LabPostgres.query(
                "select count(*) from pg_stat_replication where sync_state = 'sync' and current_setting('synchronous_standby_names') <> ''",
                on: pair.a) == ["1"]
        }
    }

    @Suite struct WhenAnAgentCrashes {
        /// What is exact here (no address is removed for a moment, no session ends) holds on every machine, however loaded.
        @Test func startedAgainItGivesUpNothing() throws {
            try PairOnHosts.story { pair in
                for host in [pair.a, pair.b, pair.a, pair.b] {
                    try pair.undisturbed {
                        let starts = try host.serviceStatus().starts
                        try host.signalService(SIGKILL)
                        try pair.wait("the agent was started again") { try host.serviceStatus().starts > starts }
                        try pair.waitUntilWhole(primary: "a")
                    }
                }
            }
        }
    }
}
