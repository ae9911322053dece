import Foundation
import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// `pgtandem failover --peer-is-down`: a person's word that the other host is off and stays off.
    @Suite struct WhenSomebodyVouches {
        @Test func theStandbyOfAHostThatIsOffIsPromotedAndNothingIsLost() throws {
            try PairOnHosts.story { pair in
                let early = try pair.refused(pair.b, "failover", "--peer-is-down")
                #expect(early.contains("failover refused, nothing was changed:"), "\(early)")
                #expect(early.contains("it is not down; use `pgtandem switchover`  [peerHeard]"), "\(early)")
                // What may be lost is a person's to say; that the other one is silent is not.
                let insisted = try pair.refused(pair.b, "failover", "--peer-is-down", "--accept-data-loss")
                #expect(insisted.contains("[peerHeard]"), "\(insisted)")
                #expect(pair.isWhole(primary: "a"))

                try pair.a.powerOff()
                try pair.wait("the standby misses it") { try !pair.status(pair.b).peer.reachable }
                let waiting = try pair.status(pair.b)
                #expect(waiting.role == "standby" && waiting.addresses == [Lab.standbyAddress], "nobody has said a word yet")
                #expect(waiting.failover_ready.ok, "\(waiting)")

                let spoken = SystemClock.now()
                let answer = try pair.ask(pair.b, "failover", "--peer-is-down")
                #expect(answer.contains("promoting b"), "\(answer)")
                #expect(answer.contains("b is primary, alone"), "\(answer)")
                try servesAlone(pair)
                try pair.letClientsWrite(100)
                let first = try pair.clientLog().acknowledged.first { $0.node == "b" }
                let writing = try #require(first, "b acknowledges")
                #expect(
                    writing.acknowledged - spoken < 5_000_000_000,
                    "writes were back \(writing.acknowledged - spoken) ns after the word")
                #expect(!(try ledger(pair.b).contains("\"forced\"")))
                try comesBackAsNoPrimary(pair)
            }
        }

        /// b may have been left behind while it was off: its ledger is of another boot.
        @Test func aStandbyThatHasBootedMeanwhileTakesMoreThanAWord() throws {
            try PairOnHosts.story { pair in
                try pair.a.powerOff()
                try pair.b.powerOff()
                try pair.b.boot()
                try pair.wait("it recovers as a standby", upTo: .seconds(60)) {
                    guard let status = pair.statusIfAny(pair.b) else { return false }
                    return status.role == "standby" && status.bond == "paired" && status.postgresql.condition == "recovering"
                }
                let refusal = try pair.refused(pair.b, "failover", "--peer-is-down")
                #expect(refusal.contains("this host has booted since the other one last said that they are paired"), "\(refusal)")
                #expect(refusal.contains("[notToldPairedSinceBoot]"), "\(refusal)")
                #expect(refusal.contains("--accept-data-loss"), "\(refusal)")
                #expect(try pair.status(pair.b).role == "standby")

                let answer = try pair.ask(pair.b, "failover", "--peer-is-down", "--accept-data-loss")
                // What could be lost, and what to do before the other host is switched on again.
                #expect(answer.contains("commits that only a has are given up"), "\(answer)")
                #expect(answer.contains("Keep that host off until this one can be reached"), "\(answer)")
                #expect(answer.contains("when it starts, it must hear this node, before anything else"), "\(answer)")
                #expect(answer.contains("b is primary, alone"), "\(answer)")
                #expect(try ledger(pair.b).contains("\"forced\":true"))
                #expect(try String(contentsOfLog: pair.b).contains("forced=true"))
                try servesAlone(pair)
                try pair.letClientsWrite(100)
                try comesBackAsNoPrimary(pair)
            }
        }

        private func ledger(_ host: LabHost) throws -> String { try host.demand(["cat", "/var/lib/pgtandem/ledger"]) }

        private func servesAlone(_ pair: PairOnHosts) throws {
            try pair.wait("b serves both roles") {
                let status = try pair.status(pair.b)
                return status.role == "primary_standby" && status.bond == "sole"
                    && status.addresses == [Lab.primaryAddress, Lab.standbyAddress]
            }
        }

        /// The old primary, switched on again: it hears who is primary and never opens. Whether it can follow without a new copy depends
        /// on what its last moment was; that it acknowledges nothing is the checker's.
        private func comesBackAsNoPrimary(_ pair: PairOnHosts) throws {
            let term = try pair.status(pair.b).term
            let booted = SystemClock.now()
            try pair.a.boot()
            try pair.wait("a has heard who is primary", upTo: .seconds(40)) {
                guard let status = pair.statusIfAny(pair.a) else { return false }
                return status.term == term && status.role != "primary" && status.peer.reachable
            }
            try pair.letClientsWrite(100)
            #expect(try pair.status(pair.b).addresses.contains(Lab.primaryAddress))
            #expect(try pair.machines(with: Lab.primaryAddress, since: booted) == [pair.b.hardwareAddress])
            let others = try pair.clientLog().acknowledged.filter { $0.sent > booted && $0.node != "b" }
            #expect(others.isEmpty)
        }
    }
}
