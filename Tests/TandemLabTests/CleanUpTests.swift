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
                let lab = try Lab(
                    LabOptions(
                        binary: LabFixture.binary, directory: LabFixture.directory, hasWitness: true,
                        movableWallClocks: ["a"]))
                try lab.start()
                for machine in lab.machines {
                    for service in HostService.allCases {
                        machine.setService(
                            ["/bin/sleep", "1000"], as: service, lastAct: ["/bin/sleep", "1000"],
                            startsAtBoot: true)
                    }
                    try machine.boot()
                }
                _ = try lab.startLoad()
                try lab.setLoss(percent: 50, from: "w", to: "a")
                let host = try lab.host("a")
                try host.moveWallClock(hours: 5)
                _ = try host.spawn(["/bin/sleep", "1000"], outputPath: "\(lab.folder)/sleep.out")
                // One in its last act, one frozen.
                try host.killService(.guardian)
                try lab.witness.freeze()
                kill(getpid(), SIGKILL)
            }
            let dead = LabRemains.all().filter { !$0.ownerIsAlive }
            #expect(dead.count == 1)
            // A frozen machine does not hear that its lab is gone: it stands still until it is swept away.
            func left() -> [String] {
                Text.names(in: "/proc").filter { isLab(process: $0, of: dead) }.compactMap { Text.read("/proc/\($0)/cmdline") }
            }
            #expect(SystemClock.wait(upTo: .seconds(3)) { left().allSatisfy { $0.contains("/w/machine.json") } })
            #expect(try Lab.sweep() == 1)
            #expect(LabRemains.all().filter { !$0.ownerIsAlive } == [])
            #expect(
                Text.names(in: LabFixture.directory).allSatisfy { name in
                    !dead.contains { name.hasPrefix("\($0)") }
                })
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

        @Test(
            "Two labs at the same time have a witness each, and neither sees the other's faults or its end"
        )
        func twoAtOnce() throws {
            try LabFixture.withLab(hasWitness: true) { first in
                try LabFixture.withLab(hasWitness: true) { second in
                    for lab in [first, second] {
                        try lab.witness.serve(Lab.witnessPort)
                        try lab.host("a").boot()
                    }
                    try second.isolate("w")
                    try second.setLoss(percent: 100, from: "a", to: .gateway)
                    try second.witness.freeze()
                    #expect(try first.host("a").awaitReaches(Lab.witnessAddress, Lab.witnessPort))
                    #expect(try !second.host("a").reaches(Lab.witnessAddress, Lab.witnessPort))
                    #expect(try first.droppedFrames() == 0 && first.lostFrames() == 0)
                }
                #expect(try first.host("a").reaches(Lab.witnessAddress, Lab.witnessPort))
            }
        }

        private func isLab(process: String, of labs: Set<LabName>) -> Bool {
            guard let pid = Int32(process), ProcessTable.startTime(of: pid) != nil else { return false }
            let line = Text.read("/proc/\(process)/cmdline") ?? ""
            return labs.contains { line.contains("\($0)") }
        }
    }
}
