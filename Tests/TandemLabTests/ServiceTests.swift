import Glibc
import Synchronization
import TandemSystem
import Testing

@testable import TandemLab

extension LabTests {
    @Suite("A machine with an agent and a guard") struct Services {
        private static let idle = ["/bin/sleep", "1000"]
        private static let act = ["/bin/sh", "-c", "echo last act"]

        @Test("starts each one again by itself, the guard sooner and always, and runs the last act after every end")
        func startsAgain() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                host.setService(Self.idle, lastAct: Self.act, startsAtBoot: true)
                host.setService(Self.idle, as: .guardian, lastAct: Self.act, startsAtBoot: true)
                try host.boot()
                let agent = try host.serviceStatus()
                try host.signalService(SIGKILL, .guardian)
                try wait(host, .guardian, "started again") { $0.state == .running && $0.starts == 2 }
                #expect(try host.serviceStatus(.guardian).lastEnding == "signal:9")
                #expect(try host.serviceStatus() == agent, "the agent did not notice")
                #expect(host.log(.guardian).count(of: "last act\n") == 1)
                #expect(host.log().count(of: "last act\n") == 0)
                // Both at once: the numbers of processes tell the order in which they were started again.
                try host.killServices([.agent, .guardian], startAgain: true)
                for service in HostService.allCases {
                    try wait(host, service, "started again") { $0.state == .running && $0.lastEnding == "signal:9" }
                }
                #expect(try host.serviceStatus(.guardian).pid < host.serviceStatus().pid)
                #expect(try host.serviceStatus(.guardian).lastActs == 2)
                #expect(try host.serviceStatus() == ServiceStatus(agent, pid: host.serviceStatus().pid, ending: "signal:9"))
            }
        }

        @Test("a guard that ends with exit status 0 is started again, an agent is not; both have had their last act")
        func exitZero() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                let once = ["/bin/sh", "-c", "test -e /run/again && exec sleep 1000; touch /run/again; exit 0"]
                host.setService(["/bin/true"], lastAct: ["/bin/sh", "-c", "exit 3"], startsAtBoot: true)
                host.setService(once, as: .guardian, lastAct: Self.act, startsAtBoot: true)
                try host.boot()
                try wait(host, .guardian, "started again") { $0.starts == 2 && $0.state == .running }
                #expect(try host.serviceStatus(.guardian).lastEnding == "exit:0")
                try wait(host, .agent, "done") { $0.state == .stopped }
                #expect(
                    try host.serviceStatus()
                        == ServiceStatus(
                            state: .stopped, pid: 0, starts: 1, lastEnding: "exit:0", lastActs: 1, lastActEnding: "exit:3"))
            }
        }

        @Test("the last act comes before the next start and before a stop is done, and can be left out") func lastAct() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                let gate = "until test -e /run/go; do sleep 0.01; done; rm /run/go; echo last act"
                host.setService(Self.idle, lastAct: ["/bin/bash", "-c", gate], startsAtBoot: true)
                try host.boot()
                let go = ["/bin/touch", "/run/go"]
                try host.signalService(SIGKILL)
                try wait(host, .agent, "in its last act") { $0.state == .lastAct && $0.starts == 1 }
                #expect(!host.log().contains("last act\n"))
                try host.demand(go)
                try wait(host, .agent, "started again") { $0.state == .running && $0.starts == 2 }
                #expect(host.log().count(of: "last act\n") == 1)
                // An order to start during a last act waits for it.
                try host.killService()
                #expect(try host.serviceStatus().state == .lastAct)
                try host.demand(go)
                try host.startService()
                #expect(try host.serviceStatus().starts == 3)
                #expect(host.log().count(of: "last act\n") == 2)
                try host.demand(go)
                #expect(try host.stopService() == "signal:15")
                #expect(try host.serviceStatus().state == .stopped)
                #expect(host.log().count(of: "last act\n") == 3)
                try host.startService()
                try host.killServices([.agent], withoutLastAct: true)
                #expect(try host.serviceStatus().state == .stopped)
                #expect(try host.serviceStatus().lastActs == 3)
            }
        }

        @Test("both can be killed at once: the guard never sees that the agent has ended") func killedAtOnce() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                // What has ended is seen by kill(1) as soon as process 1 has reaped it.
                let watch = """
                    echo watching
                    while builtin kill -0 $(cat /run/agent.pid); do :; done
                    echo saw the end
                    exec sleep 1000
                    """
                host.setService(["/bin/bash", "-c", "echo $$ > /run/agent.pid; exec sleep 1000"], startsAtBoot: false)
                host.setService(["/bin/bash", "-c", watch], as: .guardian, startsAtBoot: false)
                try host.boot()
                for round in 1...10 {
                    try host.demand(["/bin/rm", "-f", "/run/agent.pid"])
                    try host.startService()
                    #expect(
                        try SystemClock.wait(upTo: .seconds(5)) {
                            try host.run(["/usr/bin/test", "-s", "/run/agent.pid"]).succeeded
                        })
                    try host.startService(.guardian)
                    #expect(SystemClock.wait(upTo: .seconds(5)) { host.log(.guardian).count(of: "watching\n") == round })
                    try host.killServices([.agent, .guardian])
                    for service in HostService.allCases {
                        let status = try host.serviceStatus(service)
                        #expect(status.state == .stopped && status.starts == round && status.lastEnding == "signal:9")
                    }
                }
                #expect(!host.log(.guardian).contains("saw the end"))
            }
        }

        @Test("process 1 answers about one service while it waits for the end of the other, and takes signals to both")
        func answersMeanwhile() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                host.setService(
                    ["/bin/bash", "-c", "trap 'echo deaf' TERM; echo up; while :; do sleep 0.05; done"], startsAtBoot: true)
                host.setService(Self.idle, as: .guardian, startsAtBoot: true)
                try host.boot()
                #expect(SystemClock.wait(upTo: .seconds(5)) { host.log().contains("up\n") })
                let answer = try Answer()
                try OwnThread.start("stop") { answer.take { try host.stopService(within: .seconds(4)) } }
                #expect(try SystemClock.wait(upTo: .seconds(2)) { try host.serviceStatus().state == .stopping })
                let began = SystemClock.now()
                try host.killService(.guardian)
                try host.startService(.guardian)
                #expect(try host.serviceStatus(.guardian).starts == 2)
                try host.signalServices(SIGSTOP, [.agent, .guardian])
                #expect(SystemClock.now() - began < 2_000_000_000, "nobody waited for the agent")
                #expect(SystemClock.wait(upTo: .seconds(2)) { host.stopped.count == 2 })
                #expect(answer.text == nil)
                answer.bell.wait(upTo: .seconds(15))
                #expect(answer.text == "signal:9", "a stopped process hears no SIGTERM")
            }
        }

        @Test("a guard that no service started is found by what it runs")
        func program() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                try host.boot()
                for _ in 0..<2 {
                    // A stand-in: called as the program is, with its first argument as the command.
                    let name = "exec -a \(LabHost.programPath) sleep 1000"
                    _ = try host.spawn(["/bin/bash", "-c", name], outputPath: "\(lab.folder)/guard.out")
                }
                func running() -> Int { host.processes().count { $0.title == "\(LabHost.programPath) 1000" } }
                #expect(SystemClock.wait(upTo: .seconds(5)) { running() == 2 })
                #expect(try host.signalProgram(SIGKILL, command: "guard") == 0)
                #expect(try host.signalProgram(SIGKILL, command: "1000") == 2)
                #expect(SystemClock.wait(upTo: .seconds(5)) { running() == 0 })
            }
        }

        @Test("a machine without a guard says so") func noGuard() throws {
            try LabFixture.withLab { lab in
                let host = try lab.host("a")
                host.setService(Self.idle, startsAtBoot: true)
                try host.boot()
                #expect(throws: LabError.self) { try host.startService(.guardian) }
                #expect(throws: LabError.self) { try host.killServices([.agent, .guardian]) }
                #expect(try host.serviceStatus().state == .running, "and nobody was killed")
            }
        }

        private func wait(
            _ host: LabHost, _ service: HostService, _ what: String, at place: SourceLocation = #_sourceLocation,
            _ claim: (ServiceStatus) -> Bool
        ) throws {
            var last: ServiceStatus?
            let holds = try SystemClock.wait(upTo: .seconds(5)) {
                let status = try host.serviceStatus(service)
                last = status
                return claim(status)
            }
            #expect(holds, "\(service) is not \(what): \(String(describing: last))", sourceLocation: place)
        }
    }
}

/// Of an order that another thread waits for.
private final class Answer: Sendable {
    let bell: Bell
    private let value = Mutex<String?>(nil)

    init() throws { bell = try Bell() }

    var text: String? { value.withLock { $0 } }

    func take(_ order: () throws -> String) {
        let text: String
        do { text = try order() } catch { text = "\(error)" }
        value.withLock { $0 = text }
        bell.ring()
    }
}

extension ServiceStatus {
    /// The same one after one more start.
    fileprivate init(_ before: ServiceStatus, pid: Int32, ending: String) {
        self.init(
            state: .running, pid: pid, starts: before.starts + 1, lastEnding: ending, lastActs: before.lastActs + 1,
            lastActEnding: "exit:0")
    }
}

extension LabHost {
    /// Processes that are stopped by a signal.
    fileprivate var stopped: [HostProcess] {
        processes().filter { (Text.read("/proc/\($0.pid)/status") ?? "").contains("State:\tT") }
    }
}
