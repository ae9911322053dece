import Foundation
import TandemSystem
import Testing

@testable import TandemLab

extension LabTests {
    @Suite("The witness's machine") struct Witness {
        @Test("is there only when asked for, and is no database host") func onlyWhenAskedFor() throws {
            let without = try Lab(LabOptions(binary: LabFixture.binary, directory: LabFixture.directory))
            #expect(throws: LabError.self) { try without.witness }
            #expect(throws: LabError.self) { try without.cut(from: "a", to: "w") }
            #expect(!without.options.hasGuard)
            let lab = try Lab(LabOptions(binary: LabFixture.binary, directory: LabFixture.directory, hasWitness: true))
            #expect(lab.options.hasGuard)
            #expect(lab.hosts.map(\.name) == ["a", "b"])
            #expect(lab.machines.map(\.name) == ["a", "b", "w"])
            #expect(try lab.witness.address == Lab.witnessAddress)
            #expect(throws: LabError.self) {
                try Lab(LabOptions(binary: LabFixture.binary, hosts: [("w", 11), ("b", 12)], hasWitness: true))
            }
            #expect(throws: LabError.self) { try Lab(LabOptions(binary: LabFixture.binary, movableWallClocks: ["w"])) }
        }

        @Test("has power, boot id, clocks and a disk of its own, and PostgreSQL's folders are empty") func isAMachine() throws {
            try LabFixture.withLab(hasWitness: true) { lab in
                let machine = try lab.witness
                try machine.configure(files: ["/etc/pgtandem-witness/tls/node.key": HostFile("key", mode: 0o600)])
                try machine.boot()
                let bootID = try machine.demand(["/bin/cat", "/proc/sys/kernel/random/boot_id"])
                try machine.demand(["/bin/touch", "/var/lib/pgtandem-witness/kept", "/run/lost"])
                let uptime = try machine.demand(["/bin/cat", "/proc/uptime"]).split(separator: " ").first.flatMap { Double($0) }
                #expect(try #require(uptime) < 5)
                #expect(try machine.demand(["/bin/hostname"]) == "w\n")
                #expect(try machine.demand(["/bin/ls", "/var/lib/postgresql", "/etc/postgresql"]).count(of: "main") == 0)
                #expect(try machine.demand(["ip", "-o", "address", "show", "dev", "eth0"]).contains("10.77.0.13/24"))
                try machine.powerOff()
                try machine.boot()
                #expect(try machine.demand(["/bin/ls", "/var/lib/pgtandem-witness"]) == "kept\n")
                #expect(try machine.demand(["/usr/bin/stat", "-c", "%U %a", "/var/lib/pgtandem-witness"]) == "root 700\n")
                #expect(try machine.demand(["/bin/cat", "/etc/pgtandem-witness/tls/node.key"]) == "key")
                #expect(try machine.run(["/usr/bin/test", "-e", "/run/lost"]).succeeded == false)
                #expect(try machine.demand(["/bin/cat", "/proc/sys/kernel/random/boot_id"]) != bootID)
                // The hosts have none of it.
                try lab.host("a").boot()
                #expect(try lab.host("a").run(["/usr/bin/test", "-e", "/var/lib/pgtandem-witness/kept"]).succeeded == false)
            }
        }

        @Test("can be cut off from one host, one way, from everyone, lose its service, stand still and lose power")
        func isCutOff() throws {
            try LabFixture.withLab(hasWitness: true) { lab in
                let (a, b, w) = (try lab.host("a"), try lab.host("b"), try lab.witness)
                let (address, port) = (Lab.witnessAddress, Lab.witnessPort)
                try w.serve(port)
                try a.boot()
                try b.boot()
                #expect(try a.awaitReaches(address, port))
                #expect(try b.awaitReaches(address, port))
                try lab.separate("a", .witness)
                #expect(try !a.reaches(address, port))
                #expect(try b.reaches(address, port))
                #expect(try lab.droppedFrames() > 0)
                try lab.heal()
                try lab.cut(from: "w", to: "b")
                #expect(try !b.reaches(address, port))
                #expect(try a.reaches(address, port))
                try lab.heal(from: "w", to: "b")
                try lab.isolate("w")
                #expect(try !a.reaches(address, port))
                #expect(try !lab.clientReaches(address, port))
                try lab.heal()
                #expect(try a.awaitReaches(address, port))
                try w.killService(.witness)
                #expect(try !a.reaches(address, port))
                try w.startService(.witness)
                #expect(try a.awaitReaches(address, port))
                try w.freeze()
                #expect(try !a.reaches(address, port))
                try w.thaw()
                #expect(try a.awaitReaches(address, port))
                try w.setPort(down: true)
                #expect(try !a.reaches(address, port))
                try w.setPort(down: false)
                try w.powerOff()
                #expect(try !a.reaches(address, port))
                try w.boot()
                #expect(try a.awaitReaches(address, port))
            }
        }

        @Test("gets its certificates and its service, and the hosts their guards, by the script that brings a pair up")
        func isConfigured() throws {
            try LabFixture.withLab(hasWitness: true) { lab in
                var configuration = LabConfiguration()
                configuration.arbiterKind = "witness"
                try LabScript(lab, configuration: configuration).configure()
                let (a, w) = (try lab.host("a"), try lab.witness)
                for machine in [a, w] { try machine.boot() }
                for name in ["ca.crt", "node.crt", "node.key"] {
                    let here = "\(LabConfiguration.witnessTLSDirectory)/\(name)"
                    #expect(try w.demand(["/bin/cat", here]) == Text.read("\(lab.folder)/tls/witness/\(name)"))
                    #expect(try w.demand(["/usr/bin/stat", "-c", "%U %a", here]) == "root \(name == "node.key" ? 600 : 644)\n")
                }
                #expect(
                    try a.demand(["/bin/cat", LabConfiguration.path]).contains("witness: { address: 10.77.0.13, port: 7433 }"))
                let witness = try MachineSpec.read("\(lab.folder)/w/machine.json").services
                #expect(
                    witness.map(\.arguments) == [
                        [
                            LabHost.programPath, "witness", "--listen", "10.77.0.13:7433", "--state", "/var/lib/pgtandem-witness",
                            "--tls", "/etc/pgtandem-witness/tls",
                        ]
                    ])
                #expect(witness.map(\.startsAtBoot) == [true])
                let services = try MachineSpec.read("\(lab.folder)/a/machine.json").services
                #expect(services.map(\.service) == [.guardian, .agent], "the guard is started first")
                #expect(services.map(\.startsAtBoot) == [false, false], "nothing before `init`")
                #expect(services[0].arguments == [LabHost.programPath, "guard", "--config", LabConfiguration.path])
                let act = [LabHost.programPath, "guard", "--last-act", "--config", LabConfiguration.path]
                #expect(services.map(\.lastAct) == [act, act])
            }
        }

        @Test("is no host to the checker, but has its name in evidence") func isNoHostToTheChecker() throws {
            let lab = try Lab(LabOptions(binary: LabFixture.binary, directory: LabFixture.directory, hasWitness: true))
            // Two machines answer for one address, for a second.
            let hardware = [try lab.host("a").hardwareAddress, try lab.witness.hardwareAddress]
            let seen = (0..<20).flatMap { tick in
                hardware.map {
                    Sighting(time: Int64(tick) * 50_000_000, address: Lab.primaryAddress, hardware: $0, source: .answered)
                }
            }
            let report = try lab.check(logs: [], sightings: seen, query: nil)
            #expect(report.violations.map(\.promise) == [.oneHostPerAddress])
            #expect(report.violations.first?.evidence.contains("w (02:77:00:00:00:0d)") == true)
            #expect(try lab.host(holding: Lab.primaryAddress) == nil)
        }
    }
}
