import TandemLab
import TandemSystem
import Testing

/// What stories with a witness have in common: a host is lost, the other one serves alone, and by itself the pair is whole again.
extension PairOnHosts {
    /// L of the profile `standard`, and what the issue allows beside it.
    static let lease = Duration.seconds(2)
    static let tolerance = Duration.milliseconds(500)

    func other(_ host: LabHost) -> LabHost { host.name == a.name ? b : a }

    /// Both roles, both addresses, and a bond that needs nobody.
    func waitUntilAlone(_ host: LabHost, upTo patience: Duration = .seconds(20)) throws {
        try wait("\(host.name) serves alone", upTo: patience) {
            guard let status = self.statusIfAny(host) else { return false }
            return status.role == "primary_standby" && status.bond == "sole"
                && status.addresses == [Lab.primaryAddress, Lab.standbyAddress]
        }
    }

    /// Of whoever is primary now.
    @discardableResult
    func waitUntilWhole(upTo patience: Duration = .seconds(60)) throws -> LabHost {
        var primary: LabHost?
        try wait("the pair is whole", upTo: patience) {
            primary = self.lab.hosts.first { self.isWhole(primary: $0.name) }
            return primary != nil
        }
        return try #require(primary)
    }

    /// Writes were out for at most a lease and what is allowed beside it.
    func wereOut(since began: Int64, atMost limit: Duration = lease + tolerance, at place: SourceLocation = #_sourceLocation)
        throws
    {
        // The log is some milliseconds behind: what looks open at its end is an outage only if no answer comes.
        let asked = SystemClock.now()
        var found: Outage?
        try wait("writes go on") {
            found = try self.clientLog().writeOutage(from: began, to: asked)
            return found?.hasEnded ?? false
        }
        let outage = try #require(found)
        #expect(outage.longestGap <= limit, "writes were out for \(outage.longestGap)", sourceLocation: place)
    }

    /// Roles, terms and addresses stay; clients notice nothing that a busy machine does not do to them as well.
    func nothingHappens(_ act: () throws -> Void, at place: SourceLocation = #_sourceLocation) throws {
        let terms = try lab.hosts.map { try status($0).term }
        let began = SystemClock.now()
        try act()
        try letClientsWrite(100)
        #expect(try lab.hosts.map { try status($0).term } == terms, "the role has moved", sourceLocation: place)
        let outage = try outage(since: began)
        #expect(outage.writes.longestGap < Self.calm, "writes were out for \(outage.writes.longestGap)", sourceLocation: place)
    }

    /// Until so much time is over by the clock of leases: where the story is that time passes.
    func letTimePass(_ span: Duration) {
        let end = SystemClock.after(span)
        _ = SystemClock.wait(upTo: span + .seconds(1), step: .milliseconds(20)) { SystemClock.now() >= end }
    }
}
