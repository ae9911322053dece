import Foundation
import Synchronization
import TandemLab
import TandemSystem
import TandemWire
import Testing

extension OnHosts {
    /// Strangers on the ports of the agents and of the witness. They cost nobody a lease, and keep nobody out.
    @Suite struct WhenPortsAreFlooded {
        /// Silent connections, garbage, halves of a handshake, and ones that never read, from several addresses; the witness and an agent start
        /// anew in the middle of it, so that both links have to be let in.
        @Test func floodsAndSlowReadersCostNobodyALease() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let before = try pair.lab.hosts.map { try pair.status($0).term }
                try pair.undisturbed {
                    let flood = try Flood(
                        pair,
                        targets: ["\(pair.a.address):7432", "\(pair.b.address):7432", "\(Lab.witnessAddress):\(Lab.witnessPort)"])
                    try pair.wait("the flood is under way") { try flood.count() > 1000 }
                    pair.letTimePass(PairOnHosts.lease * 2)
                    try pair.w.stopService(.witness)
                    try pair.w.startService(.witness)
                    try pair.wait("both reach the witness again") {
                        try pair.lab.hosts.allSatisfy { try pair.status($0).arbiter.reachable == true }
                    }
                    let seen = try flood.count()
                    try pair.b.signalService(SIGKILL)
                    try pair.wait("its agent is back") { pair.isWhole(primary: "a") }
                    pair.letTimePass(PairOnHosts.lease * 2)
                    try pair.wait("the flood went on") { try flood.count() > seen + 1000 }
                    try flood.stop()
                }
                #expect(try pair.lab.hosts.map { try pair.status($0).term } == before)
                try pair.waitUntilWhole(primary: "a")
                for (machine, name) in [(pair.a, "a"), (try pair.w, "w")] {
                    let log = try String(contentsOfLog: machine)
                    #expect(log.contains("a connection was refused"), "\(name) tells it")
                    // One line per address, reason and ten seconds, whatever comes.
                    let lines = log.split(separator: "\n").count { $0.contains("a connection was refused") }
                    #expect(lines < 60, "\(name): \(lines) lines")
                }
            }
        }

        /// With good certificates, of the other host: a connection that says nothing, and one that never reads.
        @Test func theOtherHostsOwnCertificatesThatHangCostNobodyALease() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.undisturbed {
                    // Their handshakes are good: they take all places of the agent, and try the witness's patience.
                    for (machine, target, end) in [
                        (pair.a, pair.a.address + ":7432", "too many connections at a time"),
                        (try pair.w, "\(Lab.witnessAddress):\(Lab.witnessPort)", "it said no hello in time"),
                    ] {
                        let name = machine.name == "a" ? "a" : "witness"
                        let tls = LabConfiguration.tlsDirectory
                        // Forty at a time, stopped right after their handshake: they neither speak nor read.
                        let line = """
                            told=$(mktemp)
                            for i in $(seq 40); do
                              sleep 60 2>/dev/null | openssl s_client -brief -connect \(target) -servername \(name).orders.pgtandem -tls1_3 \
                                -CAfile \(tls)/ca.crt -cert \(tls)/node.crt -key \(tls)/node.key >/dev/null 2>>$told &
                            done
                            for i in $(seq 100); do
                              [ $(grep -c ESTABLISHED $told) -ge 12 ] && break
                              sleep 0.1
                            done
                            pkill -STOP openssl
                            # The other end has let them go: the forty, or those of them that had got that far.
                            for i in $(seq 200); do
                              [ $(ss -Htn state close-wait dst \(target) | wc -l) -ge 12 ] && break
                              sleep 0.1
                            done
                            grep -c ESTABLISHED $told; rm $told
                            pkill -KILL openssl; pkill -x sleep; true
                            """
                        let done = try pair.b.demand(["/bin/sh", "-c", line], deadline: .seconds(60))
                        #expect(Int(done.filter(\.isNumber)) ?? 0 >= 12, "handshakes with \(name)")
                        let told = try String(contentsOfLog: machine).split(separator: "\n").contains {
                            $0.contains("address=\(pair.b.address):") && $0.contains(end)
                        }
                        #expect(told, "\(name): \(end)")
                    }
                }
                #expect(pair.isWhole(primary: "a"))
            }
        }
    }
}

/// Connections by the thousand from the gateway's network, until it is stopped.
private final class Flood: Sendable {
    private let folder: String
    private let ended: Bell
    private let result = Mutex<String?>(nil)

    init(_ pair: PairOnHosts, targets: [String]) throws {
        folder = pair.lab.folder
        ended = try Bell()
        let namespace = (folder.split(separator: "/").last.map(String.init) ?? "") + "-gateway"
        let ip = "/usr/sbin/ip"
        for number in 61...64 {
            _ = try Tool(ip, ["-n", namespace, "address", "add", "10.77.0.\(number)/24", "dev", "eth0"]).run(
                deadline: .seconds(5))
        }
        let perl = """
            use Socket; use Fcntl; my ($count, @kept) = (0); my @targets = qw(\(targets.joined(separator: " ")));
            my @words = ("", "GET / HTTP/1.1\\r\\n\\r\\n", "\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xfc\\x03\\x03", "\\xff" x 2000);
            my $end = time + 120;
            while (time < $end && !-e "\(folder)/flood.stop") {
              my ($host, $port) = split /:/, $targets[$count % @targets];
              socket(my $s, PF_INET, 1, 0) or next; # 1: a stream
              bind($s, pack_sockaddr_in(0, inet_aton("10.77.0." . (61 + $count % 4))));
              fcntl($s, F_SETFL, O_NONBLOCK);
              connect($s, pack_sockaddr_in($port, inet_aton($host)));
              push @kept, [$s, $words[($count / @targets) % @words]];
              # What was connected by now gets its words, and never reads.
              my $one = $kept[-20]; if ($one && length $one->[1]) { local $SIG{PIPE} = "IGNORE"; syswrite($one->[0], $one->[1]); $one->[1] = ""; }
              shift @kept if @kept > 400;
              if (++$count % 100 == 0) { open(my $f, ">", "\(folder)/flood.count"); print $f $count; close $f; }
              select(undef, undef, undef, 0.002);
            }
            """
        try OwnThread.start("flood") { [self] in
            do {
                let done = try Tool(ip, ["netns", "exec", namespace, "/usr/bin/perl", "-e", perl]).run(deadline: .seconds(150))
                result.withLock { $0 = "\(done.ending) \(done.errors)" }
            } catch {
                result.withLock { $0 = "\(error)" }
            }
            ended.ring()
        }
    }

    func count() throws -> Int {
        if let over = result.withLock({ $0 }) { throw Told("the flood is over: \(over)") }
        return Int(String(decoding: try DurableFile.read("\(folder)/flood.count") ?? [], as: UTF8.self)) ?? 0
    }

    func stop() throws {
        try DurableFile.write([], to: "\(folder)/flood.stop", mode: 0o600)
        #expect(ended.wait(upTo: .seconds(10)), "it stops")
    }
}
