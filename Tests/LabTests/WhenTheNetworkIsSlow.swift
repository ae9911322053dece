import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// Frames take their time, or are lost: that alone moves nobody, and what has to move moves in time.
    @Suite struct WhenTheNetworkIsSlow {
        /// Frames of b are 25 ms on their way, by a process between its cable and the switch (this kernel has no netem).
        @Test func aHostIsFarAway() throws {
            let way = Duration.milliseconds(25)
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.lab.setDelay(way, of: "b")
                let begun = SystemClock.now()
                _ = try pair.b.demand(["/bin/bash", "-c", "exec 3<>/dev/tcp/\(pair.a.address)/7432"], deadline: .seconds(10))
                #expect(SystemClock.now() - begun >= (way * 2).nanoseconds, "b is far away")
                try pair.nothingHappens { pair.letTimePass(PairOnHosts.lease * 3) }
                // There and back, to a primary that is far from its standby, its witness and its clients.
                for target in ["b", "a", "b"] {
                    let moved = SystemClock.now()
                    try pair.script.command(on: pair.host(target), ["switchover", "--to", target])
                    try pair.waitUntilWhole(primary: target)
                    try pair.letClientsWrite(50)
                    let outage = try pair.outage(since: moved).writes
                    #expect(outage.longestGap < .seconds(2), "writes were out for \(outage.longestGap)")
                }
                try pair.nothingHappens { pair.letTimePass(PairOnHosts.lease * 3) }
                let began = SystemClock.now()
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                try pair.letClientsWrite(50)
                try pair.wereOut(since: began)
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "a")
            }
        }

        /// Every tenth frame between the two, and between each of them and the witness, each way: TCP sends it again, and is late.
        @Test func everyTenthFrameIsLost() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let terms = try pair.lab.hosts.map { try pair.status($0).term }
                for (from, to) in [("a", "b"), ("a", "w"), ("b", "w")] as [(LabPort, LabPort)] {
                    try pair.lab.setLoss(percent: 10, from: from, to: to)
                    try pair.lab.setLoss(percent: 10, from: to, to: from)
                }
                pair.letTimePass(PairOnHosts.lease * 6)
                try pair.letClientsWrite(100)
                #expect(try pair.lab.lostFrames() > 20, "they were lost")
                #expect(try pair.lab.hosts.map { try pair.status($0).term } == terms, "the role has moved")
                try pair.lab.heal()
                try pair.waitUntilWhole(primary: "a")
                try pair.nothingHappens { pair.letTimePass(PairOnHosts.lease) }
            }
        }
    }
}
