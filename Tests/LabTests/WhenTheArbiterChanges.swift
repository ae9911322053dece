import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// `protocol.md` 4.7, as `docs/operations.md` tells a person to do it: both configurations are edited, and the agents are restarted one after the
    /// other, the standby's first.
    @Suite struct WhenTheArbiterChanges {
        @Test func theLeaseThatWasTakenUpAnewIsTheOneThatCounts() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.restartAgents(arbiter: "manual", timing: "profile: standard", primary: "a")
                for host in pair.lab.hosts {
                    #expect(try pair.status(host).lease_ms == nil, "\(host.name): nothing is lent")
                }
                // What its arbiter does not decide, this one does not do.
                try pair.nothingHappens {
                    try pair.w.powerOff()
                    pair.letTimePass(PairOnHosts.lease * 2)
                    try pair.w.boot()
                }
                try pair.restartAgents(arbiter: "witness", timing: "heartbeat: 100ms, lease: 1s", primary: "b")
                #expect(try pair.status(pair.a).guard?.armed == true)
                let lost = SystemClock.now()
                try pair.a.powerOff()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(50)
                let outage = try pair.outage(since: lost).writes
                // By the lease from before it would be more.
                #expect(outage.longestGap < PairOnHosts.lease, "the lease is a second by now: \(outage.longestGap)")
                try pair.a.boot()
                try pair.waitUntilWhole(primary: "b")
            }
        }
    }
}

extension PairOnHosts {
    /// - Parameter primary: who it is before. The standby's agent is restarted first; the primary's, when it is stopped, gives the role away.
    fileprivate func restartAgents(arbiter: String, timing: String, primary: String) throws {
        var configuration = LabConfiguration()
        configuration.arbiterKind = "witness"
        let (first, second) = (other(host(primary)), host(primary))
        for host in [first, second] {
            // The witness stays named as long as the pair goes by it.
            let yaml = configuration.yaml(node: host, hosts: lab.hosts).replacing("kind: witness,", with: "kind: \(arbiter),")
                .replacing("profile: standard", with: timing)
            try host.configure(files: [LabConfiguration.path: HostFile(yaml, mode: 0o644)])
        }
        #expect(try first.stopService(.agent) == "exit:0")
        try waitUntilAlone(second)
        try first.startService(.agent)
        try wait("they are paired, and say that they differ", upTo: .seconds(40)) {
            try self.status(second).bond == "paired" && self.status(first).bond == "paired"
                && [first, second].allSatisfy {
                    try self.status($0).notes.contains { $0.contains("differ in arbiter") || $0.contains("differ in timing") }
                }
        }
        #expect(try status(second).arbiter.kind != arbiter, "not before both want it")
        #expect(try second.stopService(.agent) == "exit:0")
        try waitUntilAlone(first)
        try second.startService(.agent)
        try waitUntilWhole(primary: first.name)
        for host in lab.hosts { #expect(try status(host).arbiter.kind == arbiter, "\(host.name)") }
    }
}
