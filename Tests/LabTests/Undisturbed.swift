import TandemLab
import TandemSystem
import Testing

/// What the kernel of a host says about its addresses, from the start of the watch on.
final class AddressRecord {
    private let host: LabHost
    private let path: String
    private let process: LabProcess

    /// Returns when it listens.
    init(_ host: LabHost, on pair: PairOnHosts) throws {
        self.host = host
        path = "\(pair.lab.folder)/addresses-\(host.name)-\(SystemClock.now())"
        process = try host.spawn(["ip", "-o", "monitor", "address"], outputPath: path)
        try pair.wait("the watch of \(host.name)'s addresses listens") { try self.seesMark(192) }
    }

    /// Every removal until now. The kernel tells in order: with the second mark, everything before it has been told.
    func removals(on pair: PairOnHosts) throws -> [String] {
        defer { process.stop() }
        try pair.wait("the watch of \(host.name)'s addresses has seen everything") { try self.seesMark(198) }
        return try lines().filter { $0.hasPrefix("Deleted") && $0.contains("eth0") }.map(String.init)
    }

    /// An address of a documentation network on the loopback interface, which is no business of the agent's.
    private func seesMark(_ number: Int) throws -> Bool {
        let address = "203.0.113.\(number)"
        if try lines().contains(where: { $0.contains(address) }) { return true }
        _ = try host.run(["ip", "address", "add", "\(address)/32", "dev", "lo"], deadline: .seconds(10))
        try host.demand(["ip", "address", "del", "\(address)/32", "dev", "lo"])
        return false
    }

    private func lines() throws -> [Substring] {
        String(decoding: try DurableFile.read(path, limit: 1 << 20) ?? [], as: UTF8.self).split(separator: "\n")
    }
}

extension PairOnHosts {
    /// The most that a loaded machine of two cores does to clients by itself; everything that is asserted beside it is exact.
    static let calm = Duration.milliseconds(1500)

    func postmaster(_ host: LabHost) -> Int32? { host.postgresProcesses(.postmaster).first?.innerPID }

    /// Holds a stretch of time to this: on both hosts the same postmaster, no address removed for a moment, nobody else seen with it, no
    /// session of a writer ended, no commit without its answer, and no gap between answers.
    func undisturbed(_ primary: String = "a", _ act: () throws -> Void, at place: SourceLocation = #_sourceLocation) throws {
        let records = try lab.hosts.map { try AddressRecord($0, on: self) }
        let postmasters = lab.hosts.map(postmaster)
        #expect(!postmasters.contains(nil), sourceLocation: place)
        let began = SystemClock.now()
        try act()
        try letClientsWrite(100)
        for (host, record) in zip(lab.hosts, records) {
            let removals = try record.removals(on: self)
            #expect(removals.isEmpty, "\(host.name) gave up: \(removals)", sourceLocation: place)
        }
        #expect(lab.hosts.map(postmaster) == postmasters, "PostgreSQL was started again", sourceLocation: place)
        let (first, second) = primary == "a" ? (a, b) : (b, a)
        for (address, host) in [(Lab.primaryAddress, first), (Lab.standbyAddress, second)] {
            let seen = try machines(with: address, since: began)
            #expect(seen == [host.hardwareAddress], "\(address) was seen at \(seen)", sourceLocation: place)
        }
        let log = try clientLog()
        let errors = log.errors.filter { $0.at >= began && $0.who.hasPrefix("w") }.map(\.text)
        #expect(errors.isEmpty, "writers: \(errors)", sourceLocation: place)
        let unanswered = (log.uncertain + log.refused).filter { $0.ended >= began }
        #expect(unanswered.isEmpty, "\(unanswered)", sourceLocation: place)
        let outage = try outage(since: began)
        #expect(outage.writes.longestGap < Self.calm, "writes were out for \(outage.writes.longestGap)", sourceLocation: place)
        #expect(outage.reads.longestGap < Self.calm, "reads were out for \(outage.reads.longestGap)", sourceLocation: place)
    }

    /// A command whose answer matters; it must succeed. Shown in the test's output too.
    @discardableResult
    func ask(_ host: LabHost, _ words: String..., at place: SourceLocation = #_sourceLocation) throws -> String {
        let result = try host.run([Self.binaryInside] + words, deadline: .seconds(90))
        #expect(result.ending == .exited(0), "\(words): \(result.errors)", sourceLocation: place)
        return result.output
    }

    /// A command that must be refused; its reasons.
    func refused(_ host: LabHost, _ words: String..., at place: SourceLocation = #_sourceLocation) throws -> String {
        let result = try host.run([Self.binaryInside] + words, deadline: .seconds(90))
        #expect(result.ending == .exited(1), "\(words): \(result.ending) \(result.output)", sourceLocation: place)
        return result.errors
    }
}
