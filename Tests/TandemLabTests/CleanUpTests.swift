import Foundation
import TandemSystem
import Testing

@testable import TandemLab

extension LabTests {
    @Suite("What a lab leaves behind")
    struct CleanUp {
        @Test("A lab whose program is killed loses its processes at once, and the rest when the next one starts")
        func killed() async throws {
            await #expect(processExitsWith: .signal(SIGKILL)) {
                let lab = try Lab(LabOptions(binary: LabFixture.binary, directory: LabFixture.directory))
                try lab.start()
                let host = try lab.host("a")
                host.setService(["/bin/sleep", "1000"], startsAtBoot: true)
                try host.boot()
                _ = try lab.startLoad()
                kill(getpid(), SIGKILL)
            }
            let dead = LabRemains.all().filter { !$0.ownerIsAlive }
            #expect(dead.count == 1)
            #expect(SystemClock.wait(upTo: .seconds(3)) { Text.names(in: "/proc").allSatisfy { !isLab(process: $0, of: dead) } })
            #expect(try Lab.sweep() == 1)
            #expect(LabRemains.all().filter { !$0.ownerIsAlive } == [])
        }

        @Test("A lab that is interrupted removes everything, and the program ends by the signal")
        func interrupted() async throws {
            await #expect(processExitsWith: .signal(SIGTERM)) {
                try Lab.cleanUpOnSignals()
                let lab = try Lab(LabOptions(binary: LabFixture.binary, directory: LabFixture.directory))
                try lab.start()
                for host in lab.hosts { try host.boot() }
                _ = try lab.startSniffer()
                kill(getpid(), SIGTERM)
                _ = SystemClock.wait(upTo: .seconds(20), step: .milliseconds(50)) { false }
            }
            #expect(LabRemains.all().filter { !$0.ownerIsAlive } == [])
        }

        @Test("A living lab is not swept")
        func living() throws {
            try LabFixture.withLab { lab in
                try lab.host("a").boot()
                try Lab.sweep()
                #expect(try lab.host("a").demand(["/bin/echo", "here"]) == "here\n")
            }
        }

        private func isLab(process: String, of labs: Set<LabName>) -> Bool {
            guard let pid = Int32(process), ProcessTable.startTime(of: pid) != nil else { return false }
            let line = Text.read("/proc/\(process)/cmdline") ?? ""
            return labs.contains { line.contains("\($0)") }
        }
    }
}
