import Foundation
import TandemSystem
import Testing

@testable import TandemLab

extension LabTests {
    @Suite("Faults of the lab") struct Faults {
        @Test("A far machine's frames are on their way for the delay, whole and each way, until it is near again") func delay()
            throws
        {
            try LabFixture.withLab { lab in
                let (a, b) = (try lab.host("a"), try lab.host("b"))
                for host in [a, b] { try host.boot() }
                // The time of a small round trip, and a hash of what 4 MB have become on the way.
                let serve = """
                    import socket
                    l = socket.create_server(("0.0.0.0", 9000))
                    while True:
                        s, _ = l.accept()
                        s.sendall(b"hello\\n")
                        while True:
                            n = int(s.recv(16) or b"0")
                            if n == 0: break
                            s.sendall(b"k")
                            got = b""
                            while len(got) < n: got += s.recv(1 << 20)
                            import hashlib
                            s.sendall(hashlib.sha256(got).hexdigest().encode())
                    """
                _ = try b.spawn(["/usr/bin/python3", "-c", serve], outputPath: "\(lab.folder)/serve.out")
                #expect(try a.awaitReaches(b.address, 9000))
                let ask = """
                    import socket, time, os, hashlib
                    s = socket.create_connection(("\(b.address)", 9000))
                    s.recv(6)
                    data = os.urandom(4 << 20)
                    begun = time.monotonic()
                    s.sendall(str(len(data)).encode())
                    s.recv(1)
                    print(int((time.monotonic() - begun) * 1000))
                    s.sendall(data)
                    print(s.recv(64).decode() == hashlib.sha256(data).hexdigest())
                    """
                func roundTrip() throws -> Int {
                    let words = try a.demand(["/usr/bin/python3", "-c", ask]).split(whereSeparator: \.isWhitespace)
                    #expect(words.count == 2 && words[1] == "True", "\(words)")
                    return words.first.flatMap { Int($0) } ?? -1
                }
                #expect(try roundTrip() < 25)
                try lab.setDelay(.milliseconds(30), of: "b")
                let far = try roundTrip()
                #expect((60..<90).contains(far), "\(far) ms")
                // Cuts count as before.
                try lab.separate("a", "b")
                #expect(try !a.reaches(b.address, 9000))
                #expect(try lab.droppedFrames() > 0)
                try lab.heal()
                #expect(try a.awaitReaches(b.address, 9000))
                try lab.setDelay(.zero, of: "b")
                #expect(try roundTrip() < 25)
            }
        }

        @Test("A loss takes its share, one way, of what it is told, and is healed") func loss() throws {
            try LabFixture.withLab { lab in
                let (a, b) = (try lab.host("a"), try lab.host("b"))
                let counts = """
                    import socket
                    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    s.setsockopt(socket.SOL_SOCKET, 33, 1 << 20)
                    s.bind(("0.0.0.0", 9000))
                    print("up", flush=True)
                    while True:
                        s.recv(100)
                        print("got", flush=True)
                    """
                for host in [a, b] {
                    host.setService(["/usr/bin/python3", "-c", counts], startsAtBoot: true)
                    try host.boot()
                    #expect(SystemClock.wait(upTo: .seconds(5)) { host.log().contains("up\n") })
                }
                func send(_ from: LabHost, _ to: LabHost) throws {
                    let all =
                        "import socket; s = socket.socket(2, 2); [s.sendto(b'x', ('\(to.address)', 9000)) for _ in range(300)]"
                    try from.demand(["/usr/bin/python3", "-c", all])
                }
                func got(_ host: LabHost) -> Int { host.log().count(of: "got\n") }
                // Both know each other's hardware address from here on.
                try send(a, b)
                #expect(SystemClock.wait(upTo: .seconds(5)) { got(b) == 300 })
                try lab.setLoss(percent: 40, from: "a", to: "b")
                try send(a, b)
                #expect(try SystemClock.wait(upTo: .seconds(5)) { try got(b) + lab.lostFrames() >= 600 })
                let first = got(b) - 300
                // Farther away than eight standard deviations is no chance.
                #expect((110...250).contains(first), "\(first) of 300 arrived")
                #expect(try lab.droppedFrames() == 0)
                try send(b, a)
                #expect(SystemClock.wait(upTo: .seconds(5)) { got(a) == 300 }, "the other way is whole")
                // In place of the first one.
                try lab.setLoss(percent: 100, from: "a", to: "b")
                let before = try lab.lostFrames()
                try send(a, b)
                #expect(try SystemClock.wait(upTo: .seconds(5)) { try lab.lostFrames() >= before + 300 })
                #expect(got(b) == 300 + first)
                try lab.setLoss(percent: 0, from: "a", to: "b")
                try send(a, b)
                #expect(SystemClock.wait(upTo: .seconds(5)) { got(b) == 600 + first })
                try lab.setLoss(percent: 100, from: "a", to: "b", tcpPort: 7432)
                try send(a, b)
                #expect(SystemClock.wait(upTo: .seconds(5)) { got(b) == 900 + first }, "another service is whole")
                #expect(throws: LabError.self) { try lab.setLoss(percent: 101, from: "a", to: "b") }
                #expect(throws: LabError.self) { try lab.setLoss(percent: 1, from: "a", to: "nobody") }
            }
        }

        @Test("A loss of everything on one service's port is a cut of that service, until all is healed") func lossOfOneService()
            throws
        {
            try LabFixture.withLab { lab in
                let (a, b) = (try lab.host("a"), try lab.host("b"))
                try a.boot()
                try b.serve(7432)
                #expect(try a.awaitReaches(b.address, 7432))
                try lab.setLoss(percent: 100, from: "b", to: "a", tcpPort: 7432)
                #expect(try !a.reaches(b.address, 7432))
                #expect(try lab.clientReaches(b.address, 7432))
                try lab.heal()
                #expect(try a.awaitReaches(b.address, 7432))
            }
        }

        @Test("Clients alone can be cut off from a host, or a host from the gateway") func clientsAndGateway() throws {
            try LabFixture.withLab { lab in
                let (a, b) = (try lab.host("a"), try lab.host("b"))
                try a.serve(5432)
                try b.boot()
                #expect(try lab.clientReaches(a.address, 5432))
                #expect(try b.awaitReaches(a.address, 5432))
                try lab.separateClients(from: "a")
                #expect(try !lab.clientReaches(a.address, 5432))
                #expect(try b.reaches(a.address, 5432))
                try lab.heal()
                #expect(try SystemClock.wait(upTo: .seconds(5)) { try lab.clientReaches(a.address, 5432) })
                // The gateway refuses at once, as long as it can be reached.
                let knock = ["/bin/bash", "-c", "exec 3<>/dev/tcp/\(Lab.gatewayAddress)/7432"]
                #expect(try a.run(knock, deadline: .seconds(1)).ending == .exited(1))
                try lab.separate("a", .gateway)
                #expect(try a.run(knock, deadline: .seconds(1)).ending == .timedOut)
                #expect(try b.run(knock, deadline: .seconds(1)).ending == .exited(1))
                #expect(throws: LabError.self) { try lab.cut(from: "a", to: "nobody") }
            }
        }

        @Test("A frozen host freezes all of its programs, can be powered off, and boots again") func frozen() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                let ticks = ["/bin/sh", "-c", "while :; do echo tick; sleep 0.01; done"]
                for service in HostService.allCases { host.setService(ticks, as: service, startsAtBoot: true) }
                try host.boot()
                let output = "\(lab.folder)/ticks.out"
                let program = try host.spawn(ticks, outputPath: output)
                func lengths() -> [Int] {
                    [host.serviceLogPath, host.serviceLogPath(.guardian), output].map { (Text.read($0) ?? "").utf8.count }
                }
                #expect(SystemClock.wait(upTo: .seconds(5)) { lengths().allSatisfy { $0 > 20 } })
                try host.freeze()
                let before = lengths()
                #expect(!SystemClock.wait(upTo: .milliseconds(200)) { lengths() != before })
                // A look from outside still works.
                #expect(try host.demand(["/bin/echo", "here"]) == "here\n")
                #expect(try host.powerOff() < .seconds(1))
                #expect(program.wait(upTo: .seconds(2)) != nil)
                #expect(try host.boot() < .seconds(2))
                #expect(SystemClock.wait(upTo: .seconds(5)) { zip(lengths(), before).prefix(2).allSatisfy { $0 > $1 } })
            }
        }

        private static let asAgent = [
            "/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--inh-caps=-all,+sys_nice",
            "--ambient-caps=-all,+sys_nice", "--no-new-privs", "/usr/bin/chrt", "-r", "10", "/bin/true",
        ]

        @Test("Real-time priority can be had: by root, and by a service that became postgres and kept CAP_SYS_NICE")
        func realTime() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                host.setService(Self.asAgent, startsAtBoot: true)
                try host.boot()
                #expect(try SystemClock.wait(upTo: .seconds(5)) { try host.serviceStatus().lastEnding != "none" })
                #expect(try host.serviceStatus().lastEnding == "exit:0", "\(host.log())")
                #expect(try host.run(["/usr/bin/chrt", "-r", "10", "/bin/true"]).succeeded)
                // Without the capability it is refused, as on a real host.
                #expect(try host.run(["/usr/bin/chrt", "-r", "10", "/bin/true"], user: "postgres").succeeded == false)
            }
        }

        static let cpuGroups = "/sys/fs/cgroup/cpu"
        static let hasCPUGroups = access("\(cpuGroups)/cpu.rt_runtime_us", W_OK) == 0

        @Test(
            "Real-time priority can be had also where the lab itself runs in a group that has none",
            .enabled(if: LabTests.Faults.hasCPUGroups, "this kernel does not hand it out by groups")) func realTimeInAGroup()
            async throws
        {
            let group = "\(Self.cpuGroups)/pgtandem-lab-test"
            await #expect(processExitsWith: .success) {
                let group = "\(LabTests.Faults.cpuGroups)/pgtandem-lab-test"
                try Text.makeFolder(group)
                try Text.overwrite("\(group)/cgroup.procs", "0")
                let refused = try Tool("/usr/bin/chrt", ["-r", "10", "/bin/true"]).run(deadline: .seconds(5))
                let lab = try Lab(LabOptions(binary: LabFixture.binary, directory: LabFixture.directory))
                try lab.start()
                let host = try lab.host("a")
                host.setService(LabTests.Faults.asAgent, startsAtBoot: true)
                try host.boot()
                let ended = try SystemClock.wait(upTo: .seconds(5)) { try host.serviceStatus().lastEnding != "none" }
                let ending = try host.serviceStatus().lastEnding
                try lab.stop()
                exit(!refused.succeeded && ended && ending == "exit:0" ? 0 : 1)
            }
            #expect(SystemClock.wait(upTo: .seconds(2)) { rmdir(group) == 0 || errno == ENOENT })
        }
    }
}
