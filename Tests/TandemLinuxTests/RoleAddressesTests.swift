import Glibc
import TandemSystem
import Testing

@testable import TandemLinux

@Suite struct RoleAddressesTests {
    let hosts: TwoHosts
    let events = Seen<AddressEvent>()
    let both: [VirtualAddress]

    init() throws {
        hosts = try TwoHosts()
        both = [try #require(VirtualAddress("192.0.2.7")), try #require(VirtualAddress("2001:db8::7"))]
    }

    private func role(on host: Namespace, patience: Duration = .milliseconds(100)) throws -> RoleAddresses {
        let (both, events) = (both, events)
        return try host.inside {
            try RoleAddresses(interface: "eth0", addresses: both, probePatience: patience) { events.add($0) }
        }
    }

    /// Claims inside the namespace: the sockets of a probe are made by the calling thread.
    private func claim(
        _ role: RoleAddresses, on host: Namespace, probing: Bool = true, takeRegardless: Bool = false
    ) throws -> ClaimReport {
        try host.inside { try role.claim(probing: probing, takeRegardless: takeRegardless) }
    }

    @Test func aRoleWithTwoAddressesIsTakenAnnouncedAndGivenUp() throws {
        let role = try role(on: hosts.left)
        for address in ["192.0.2.7", "2001:db8::7"] {
            try hosts.right.ip("neigh", "replace", address, "lladdr", "02:00:00:00:00:99", "nud", "stale", "dev", "eth0")
        }
        #expect(!role.isHeld)
        let report = try claim(role, on: hosts.left)
        #expect(report == ClaimReport(taken: true, added: both))
        #expect(role.isHeld)
        #expect(try role.held() == both)
        let mac = try hosts.left.mac()
        #expect(try soon { try hosts.neighbour("192.0.2.7").contains(mac) && hosts.neighbour("2001:db8::7").contains(mac) })
        #expect(try claim(role, on: hosts.left).added == [], "once more is fine")
        let released = try hosts.left.inside { try role.release() }
        #expect(released == ReleaseReport(removed: both))
        #expect(!role.isHeld)
        #expect(try hosts.left.inside { try role.release() } == ReleaseReport())
        #expect(events.all == [])
    }

    @Test func anAddressThatAnotherHostHasIsRefusedWithItsCard() throws {
        try hosts.right.ip("addr", "add", "192.0.2.7/32", "dev", "eth0")
        let role = try role(on: hosts.left)
        let report = try claim(role, on: hosts.left)
        #expect(!report.taken)
        #expect(try report.owners.mapValues(\.description) == [both[0].address: hosts.right.mac()])
        #expect(!role.isHeld)
        #expect(try role.held() == [])
    }

    @Test func withAuthorityItIsTakenAtOnceAndTheOtherOneIsReported() throws {
        try hosts.right.ip("addr", "add", "192.0.2.7/32", "dev", "eth0")
        let role = try role(on: hosts.left, patience: .seconds(3))
        let begun = SystemClock.now()
        let report = try claim(role, on: hosts.left, takeRegardless: true)
        #expect(SystemClock.now() - begun < 1_000_000_000, "taking does not wait for answers")
        #expect(report.taken && report.added == both && report.silent == nil)
        let foreign = try #require(try MACAddress(text: hosts.right.mac()))
        #expect(soon { events.all.contains(.conflict(both[0].address, foreign)) })
        try hosts.left.inside { _ = try role.release() }
    }

    @Test(arguments: ["192.0.2.7", "2001:db8::7"])
    func aLaterClaimByAnotherHostIsReportedAndAnswered(_ text: String) throws {
        let role = try role(on: hosts.left)
        #expect(try claim(role, on: hosts.left).taken)
        let address = try #require(IPAddress(text))
        let intruder = try #require(try MACAddress(text: hosts.right.mac()))
        #expect(events.all == [])
        // A watcher at the right host: what the left one says after the intruder spoke.
        let ours = try hosts.left.mac()
        let heard = try hosts.right.inside {
            let table = try AddressTable(interface: "eth0")
            let segment = try Segment(try table.requireFacts("listen"), hearing: [address])
            // The repetitions of the claim end after two seconds; the next is due after thirty.
            _ = SystemClock.wait(upTo: .milliseconds(2600)) { false }
            _ = try segment.claims()
            try segment.announce(address)
            var last: [NeighbourClaim] = []
            _ = try soon {
                last += try segment.claims()
                return last.contains { $0.mac.description == ours }
            }
            return last
        }
        #expect(heard.contains { $0.address == address && $0.mac.description == ours })
        #expect(soon { events.all.contains(.conflict(address, intruder)) })
        try hosts.left.inside { _ = try role.release() }
    }

    @Test func anAnnouncementIsRepeatedAndStopsWithTheRelease() throws {
        let role = try role(on: hosts.left)
        let address = both[0].address
        let segment = try hosts.right.inside {
            try Segment(try AddressTable(interface: "eth0").requireFacts("listen"), hearing: [address])
        }
        #expect(try claim(role, on: hosts.left, probing: false).taken)
        var count = 0
        // Two packets each: at once, after 100 ms and 300 ms.
        #expect(
            try soon {
                count += try segment.claims().filter { $0.address == address }.count
                return count >= 6
            })
        _ = try hosts.left.inside { try role.release() }
        _ = try segment.claims()
        #expect(try !soon(.milliseconds(1200)) { try !segment.claims().isEmpty })
    }

    @Test func whatSomebodyRemovedComesBackAndIsAnnounced() throws {
        let role = try role(on: hosts.left)
        #expect(try claim(role, on: hosts.left, probing: false).taken)
        #expect(try role.repair() == AddressRepair())
        try hosts.left.ip("addr", "del", "192.0.2.7/32", "dev", "eth0")
        let repaired = try hosts.left.inside { try role.repair() }
        #expect(repaired == AddressRepair(added: [both[0]], announced: true))
        #expect(try role.held() == both)
        // The kernel drops IPv6 addresses with the link, and does not bring them back.
        try hosts.left.ip("link", "set", "eth0", "down")
        try hosts.left.ip("link", "set", "eth0", "up")
        #expect(try soon { try hosts.left.inside { try role.repair() }.added == [both[1]] || role.held() == both })
        #expect(try role.held() == both)
        _ = try hosts.left.inside { try role.release() }
        #expect(try hosts.left.inside { try role.repair() } == AddressRepair(), "what is not held is not repaired")
        #expect(try role.held() == [])
    }

    @Test func whatAnEarlierRunLeftBehindGoesAway() throws {
        try hosts.left.ip("addr", "add", "192.0.2.7/32", "dev", "eth0")
        try hosts.left.ip("addr", "add", "2001:db8::7/128", "dev", "lo")
        let role = try role(on: hosts.left)
        let report = try hosts.left.inside { try role.release() }
        #expect(report.removed == [both[0]])
        #expect(report.elsewhere == [both[1].address: "lo"])
    }

    @Test func withoutTheInterfaceAClaimFailsAndAReleaseIsDone() throws {
        let both = both
        let role = try hosts.left.inside { try RoleAddresses(interface: "eth9", addresses: both) { _ in } }
        let error = #expect(throws: SystemError.self) { try role.claim(probing: false, takeRegardless: true) }
        #expect(error?.code == ENODEV)
        #expect(!role.isHeld)
        #expect(try role.release() == ReleaseReport())
    }

    @Test func halfOfAPrimarysAddressesAreBetterThanNone() throws {
        try hosts.left.shell("echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6")
        let role = try role(on: hosts.left)
        #expect(throws: SystemError.self) { try claim(role, on: hosts.left, probing: false) }
        #expect(try role.held() == [], "without authority all or nothing")
        let report = try claim(role, on: hosts.left, probing: false, takeRegardless: true)
        #expect(report.added == [both[0]])
        #expect(report.failed.keys.map(\.self) == [both[1]])
        #expect(role.isHeld)
        _ = try hosts.left.inside { try role.release() }
    }
}

extension MACAddress {
    /// "02:00:00:00:00:01".
    init?(text: String) {
        self.init(bytes: text.split(separator: ":").compactMap { UInt8($0, radix: 16) })
    }
}
