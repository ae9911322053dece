import Foundation
import TandemSystem
import Testing

@testable import TandemLab

extension LabTests {
    @Suite("A host of the lab")
    struct Hosts {
        @Test("boots and powers off within limits, with a fresh boot id, clocks near zero and other process numbers")
        func bootsFresh() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                var bootIDs: Set<String> = []
                var numbers: Set<String> = []
                for _ in 0..<3 {
                    #expect(try host.boot() < .seconds(2))
                    bootIDs.insert(try host.demand(["/bin/cat", "/proc/sys/kernel/random/boot_id"]))
                    let uptime = try host.demand(["/bin/cat", "/proc/uptime"]).split(separator: " ").first.flatMap { Double($0) }
                    #expect(try #require(uptime) < 5)
                    numbers.insert(try host.demand(["/bin/sh", "-c", "echo $$; hostname"]))
                    #expect(try host.powerOff() < .seconds(1))
                    #expect(!host.isRunning)
                }
                #expect(bootIDs.count == 3)
                #expect(numbers.count == 3)
                #expect(numbers.allSatisfy { $0.hasSuffix("\na\n") })
            }
        }

        @Test("keeps its disk over a power-off and nothing else, and has addresses of its own")
        func keepsItsDisk() throws {
            try LabFixture.withLab(secondPath: true) { lab in
                let host = try lab.host("a")
                try host.configure(files: ["/etc/pgtandem/tls/node.key": HostFile("key", mode: 0o600, owner: "postgres")])
                try host.boot()
                #expect(try host.demand(["/bin/cat", "/etc/pgtandem/tls/node.key"], user: "postgres") == "key")
                #expect(try host.demand(["/usr/bin/stat", "-c", "%U %a", "/etc/pgtandem/tls/node.key"]) == "postgres 600\n")
                try host.demand(["/bin/touch", "/var/lib/postgresql/kept", "/run/postgresql/lost"], user: "postgres")
                try host.demand(["/bin/sh", "-c", "touch /run/lost /tmp/lost /dev/shm/lost"])
                try host.demand(["ip", "address", "add", "10.77.0.100/32", "dev", "eth0"])
                try host.powerOff()
                try host.boot()
                #expect(try host.demand(["/bin/ls", "/var/lib/postgresql"]) == "kept\n")
                #expect(try host.demand(["/bin/ls", "/dev/shm"]) == "")
                #expect(try host.demand(["/bin/ls", "/run"]) == "boot_id\nlock\npgtandem\npostgresql\n")
                let addresses = try host.demand(["ip", "-o", "address"])
                #expect(addresses.contains("10.77.0.11/24") && addresses.contains("fd77::11/64"))
                #expect(addresses.contains("10.77.1.11/24"))
                #expect(!addresses.contains("10.77.0.100"))
                #expect(try host.demand(["/bin/ls", "/sys/class/net"]) == "eth0\neth1\nlo\n")
                // What the machine that we run on does not have was not made there either.
                let other = try lab.host("b")
                try other.boot()
                #expect(try other.run(["/bin/ls", "/etc/pgtandem/tls"]).succeeded == false)
                #expect(try other.demand(["/bin/cat", "/etc/hostname"]).isEmpty == false)
            }
        }

        @Test("runs its service as a service manager does: restarts it after a crash, not after an order or exit 0")
        func runsItsService() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                let script = "setsid sleep 1000 & echo started; trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done"
                host.setService(["/bin/sh", "-c", script], startsAtBoot: true)
                try host.boot()
                let first = try host.serviceStatus()
                #expect(first.state == .running && first.starts == 1)
                #expect(awaitLog(of: host, "started", 1))
                try host.signalService(SIGKILL)
                #expect(try SystemClock.wait(upTo: .seconds(3)) { try host.serviceStatus().starts == 2 })
                #expect(try host.serviceStatus().lastEnding == "signal:9")
                #expect(awaitLog(of: host, "started", 2))
                // The child of the dead service lives on, adopted by process 1: so does PostgreSQL.
                #expect(SystemClock.wait(upTo: .seconds(2)) { host.processes().count { $0.title == "sleep 1000" } == 2 })
                #expect(try host.stopService(within: .seconds(5)) == "exit:0")
                #expect(try host.serviceStatus().state == .stopped)
                try host.startService()
                #expect(awaitLog(of: host, "started", 3))
                try host.killService()
                #expect(try host.serviceStatus() == ServiceStatus(state: .stopped, pid: 0, starts: 3, lastEnding: "signal:9"))
                host.setServiceStartsAtBoot(false)
                try host.powerOff()
                try host.boot()
                #expect(try host.serviceStatus() == ServiceStatus(state: .stopped, pid: 0, starts: 0, lastEnding: "none"))
                #expect(throws: LabError.self) { try host.boot() }
            }
        }

        @Test("runs programs inside, short and long ones, as another user, and ends them with the host")
        func runsPrograms() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                #expect(throws: LabError.self) { try host.run(["/bin/true"]) }
                try host.boot()
                #expect(try host.demand(["/usr/bin/id", "-un"], user: "postgres") == "postgres\n")
                #expect(try host.run(["/usr/bin/test", "-x", LabHost.programPath], user: "postgres").succeeded)
                #expect(try host.run(["/bin/cat"], input: "words").output == "words")
                #expect(try host.run(["/bin/sleep", "100"], deadline: .milliseconds(100)).ending == .timedOut)
                #expect(throws: LabError.self) { try host.demand(["/bin/false"]) }
                #expect(throws: LabError.self) { try host.configure(files: ["/etc/passwd": HostFile("")]) }
                let output = "\(lab.folder)/sleep.out"
                let long = try host.spawn(["/bin/sh", "-c", "echo here; sleep 100"], outputPath: output)
                #expect(SystemClock.wait(upTo: .seconds(2)) { Text.read(output) == "here\n" })
                #expect(long.ended() == nil)
                long.signal(SIGTERM)
                #expect(long.wait(upTo: .seconds(2)) != nil)
                let other = try host.spawn(["/bin/sleep", "100"], outputPath: output)
                #expect(
                    Text.read(host.pidPath).flatMap { Int32($0.dropLast()) } == host.processes().first { $0.innerPID == 1 }?.pid)
                try host.powerOff()
                #expect(Text.read(host.pidPath) == nil)
                #expect(throws: LabError.self) { try host.kill(.postmaster) }
                #expect(other.wait(upTo: .seconds(2)) != nil)
            }
        }

        /// A zombie hides the ends of other children from Swift Testing (`waitid` of any), whose exit tests then wait for ever.
        @Test("a program that has ended is no zombie although nobody asks for it")
        func leavesNoZombie() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                try host.boot()
                let program = try host.spawn(["/bin/sleep", "100"], outputPath: "\(lab.folder)/sleep.out")
                try host.powerOff()
                #expect(SystemClock.wait(upTo: .seconds(5)) { kill(program.pid, 0) != 0 && errno == ESRCH })
                #expect(program.ended() != nil)
            }
        }

        @Test("can be frozen, and powered off while frozen")
        func freezes() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("b")
                host.setService(["/bin/sh", "-c", "while :; do echo tick; sleep 0.01; done"], startsAtBoot: true)
                try host.boot()
                #expect(SystemClock.wait(upTo: .seconds(2)) { (Text.read(host.serviceLogPath) ?? "").count(of: "tick") > 3 })
                try host.freeze()
                let ticks = (Text.read(host.serviceLogPath) ?? "").count
                #expect(!SystemClock.wait(upTo: .milliseconds(200)) { (Text.read(host.serviceLogPath) ?? "").count != ticks })
                try host.thaw()
                #expect(SystemClock.wait(upTo: .seconds(2)) { (Text.read(host.serviceLogPath) ?? "").count != ticks })
                try host.freeze()
                #expect(try host.powerOff() < .seconds(1))
            }
        }

        @Test("is cut off one way, one service only, and from everyone, and healed")
        func isCut() throws {
            try LabFixture.withLab { lab in
                let (a, b) = (try lab.host("a"), try lab.host("b"))
                try a.boot()
                try b.boot()
                func reaches(_ from: LabHost, _ to: String) throws -> Bool {
                    let probe = "exec 3<>/dev/tcp/\(to)/7432 && read -t 1 word <&3 && test \"$word\" = hello"
                    return try from.run(["/bin/bash", "-c", probe], deadline: .seconds(1)).succeeded
                }
                for host in [a, b] {
                    let server = """
                        import socket, threading
                        s = socket.create_server(("0.0.0.0", 7432))
                        while True:
                            c, _ = s.accept()
                            c.sendall(b"hello\\n")
                            c.close()
                        """
                    host.setService(["/usr/bin/python3", "-c", server], startsAtBoot: true)
                    try host.startAgain()
                }
                #expect(try SystemClock.wait(upTo: .seconds(5)) { try reaches(a, b.address) && reaches(b, a.address) })
                try lab.cut(from: "a", to: "b")
                #expect(try !reaches(a, b.address))
                // The gateway still refuses at once: only the way to b is dead.
                let knock = ["/bin/bash", "-c", "exec 3<>/dev/tcp/\(Lab.gatewayAddress)/7432"]
                #expect(try a.run(knock, deadline: .seconds(1)).ending == .exited(1))
                #expect(try lab.droppedFrames() > 0)
                try lab.heal(from: "a", to: "b")
                #expect(try SystemClock.wait(upTo: .seconds(5)) { try reaches(a, b.address) })
                try lab.cut(from: "a", to: "b", tcpPort: 7432)
                #expect(try !reaches(a, b.address))
                try lab.heal()
                try lab.isolate("b")
                #expect(try !reaches(a, b.address))
                try lab.heal()
                #expect(try SystemClock.wait(upTo: .seconds(5)) { try reaches(a, b.address) })
                try b.setPort(down: true)
                #expect(try b.demand(["/bin/cat", "/sys/class/net/eth0/carrier"]) == "0\n")
            }
        }
    }
}

private func awaitLog(of host: LabHost, _ word: String, _ count: Int) -> Bool {
    SystemClock.wait(upTo: .seconds(3)) { (Text.read(host.serviceLogPath) ?? "").count(of: word) == count }
}

extension LabHost {
    /// For a service that was set after the boot.
    func startAgain() throws {
        try powerOff()
        try boot()
    }
}

extension String {
    func count(of word: String) -> Int { components(separatedBy: word).count - 1 }
}
