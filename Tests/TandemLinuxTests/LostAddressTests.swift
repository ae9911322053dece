import TandemSystem
import Testing

@testable import TandemLinux

@Suite struct LostAddressTests {
    /// Somebody took it off our interface and another machine has it now: announcing it would draw that machine's clients here.
    @Test func anAddressThatIsGoneFromHereAndAnsweredElsewhereIsNoLongerAnnounced() throws {
        let hosts = try TwoHosts()
        let address = try #require(VirtualAddress("192.0.2.7"))
        let role = try hosts.left.inside {
            try RoleAddresses(interface: "eth0", addresses: [address], probePatience: .milliseconds(100)) { _ in }
        }
        #expect(try hosts.left.inside { try role.claim(probing: true, takeRegardless: false) }.taken)
        try hosts.left.ip("addr", "del", "192.0.2.7/32", "dev", "eth0")
        try hosts.right.ip("addr", "add", "192.0.2.7/32", "dev", "eth0")
        let refused = try hosts.left.inside { try role.claim(probing: true, takeRegardless: false) }
        #expect(!refused.taken && refused.added.isEmpty)
        #expect(!role.isHeld, "it has given up what it does not have")
        #expect(try hosts.left.inside { try role.repair() } == AddressRepair(), "and does not put it back by itself")
        #expect(try role.held().isEmpty)
        try hosts.right.ip("addr", "del", "192.0.2.7/32", "dev", "eth0")
        #expect(try hosts.left.inside { try role.claim(probing: true, takeRegardless: false) }.added == [address])
        #expect(role.isHeld)
        _ = try hosts.left.inside { try role.release() }
    }
}
