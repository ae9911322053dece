import TandemLab
import Testing

extension OnHosts {
    @Suite struct ZCapture {
        func say(_ pair: PairOnHosts, _ host: LabHost, _ words: String...) throws {
            let result = try host.run([PairOnHosts.binaryInside] + words, deadline: .seconds(90))
            print("CAP \(host.name)# pgtandem \(words.joined(separator: " "))   -> \(result.ending)\n\(result.output)\(result.errors)")
        }
        func tail(_ host: LabHost) throws {
            print("CAPLOG \(host.name)\n" + (try String(contentsOfLog: host)).split(separator: "\n").suffix(14).joined(separator: "\n"))
        }
        @Test func capturePause() throws {
            try PairOnHosts.story { pair in
                try say(pair, pair.b, "failover", "--peer-is-down")
                try say(pair, pair.a, "pause")
                try say(pair, pair.a, "status")
                try say(pair, pair.b, "status")
                try say(pair, pair.a, "switchover")
                try say(pair, pair.b, "resume")
                try pair.waitUntilWhole(primary: "a")
                try say(pair, pair.b, "pause", "--standby-maintenance")
                try pair.b.powerOff()
                try pair.letClientsWrite(300)
                try say(pair, pair.a, "status")
                try say(pair, pair.a, "failover", "--peer-is-down")
                try say(pair, pair.a, "resume")
                try say(pair, pair.a, "status")
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "a")
                try pair.a.powerOff()
                try pair.wait("missed") { try !pair.status(pair.b).peer.reachable }
                try say(pair, pair.b, "status")
                try say(pair, pair.b, "failover", "--peer-is-down")
                try pair.letClientsWrite(300)
                try say(pair, pair.b, "status")
                try pair.a.boot()
                try pair.wait("heard", upTo: .seconds(40)) {
                    guard let s = pair.statusIfAny(pair.a) else { return false }
                    return try s.term == pair.status(pair.b).term && s.peer.reachable
                }
                try pair.letClientsWrite(1000)
                try say(pair, pair.a, "status")
                try tail(pair.a)
            }
        }
        @Test func captureBoot() throws {
            try PairOnHosts.story { pair in
                try pair.a.powerOff()
                try pair.b.powerOff()
                try pair.b.boot()
                try pair.wait("recovers", upTo: .seconds(60)) { pair.statusIfAny(pair.b)?.postgresql.condition == "recovering" }
                try say(pair, pair.b, "status")
                try say(pair, pair.b, "failover", "--peer-is-down")
                try say(pair, pair.b, "failover", "--peer-is-down", "--accept-data-loss")
                try pair.letClientsWrite(300)
                try say(pair, pair.b, "status")
                print("CAPLEDGER " + (try pair.b.demand(["cat", "/var/lib/pgtandem/ledger"])))
                try pair.a.boot()
                try pair.wait("heard", upTo: .seconds(40)) {
                    guard let s = pair.statusIfAny(pair.a) else { return false }
                    return try s.term == pair.status(pair.b).term && s.peer.reachable
                }
                try pair.letClientsWrite(1000)
                try say(pair, pair.a, "status")
                try tail(pair.b)
                try tail(pair.a)
            }
        }
        @Test func captureBoth() throws {
            try PairOnHosts.story { pair in
                try pair.a.powerOff()
                try pair.b.powerOff()
                try pair.a.boot()
                try pair.wait("waits", upTo: .seconds(60)) { pair.statusIfAny(pair.a)?.postgresql.condition == "recovering" }
                try say(pair, pair.a, "status")
                try say(pair, pair.a, "failover", "--peer-is-down")
                try say(pair, pair.a, "failover", "--peer-is-down", "--accept-data-loss")
                try pair.letClientsWrite(100)
                try say(pair, pair.a, "status")
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "a")
            }
        }
    }
}
