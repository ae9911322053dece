import Testing

@testable import TandemLinux

@Suite struct AddressTextTests {
    @Test(arguments: ["192.0.2.7", "0.0.0.1", "255.255.255.255", "2001:db8::1", "fe80::1", "::1"])
    func anAddressIsReadAndWrittenAlike(_ text: String) {
        #expect(IPAddress(text)?.description == text)
    }

    @Test(arguments: [
        "", " 192.0.2.7", "192.0.2.7 ", "192.0.2", "192.0.2.256", "192.0.02.7", "0x7f.0.0.1", "2001:db8::g", "fe80::1%eth0",
        "::ffff:192.0.2.1", "example.org", "192.0.2.7\u{0}", "192.0.2.7/24",
    ])
    func whatIsNotPlainlyAnAddressIsRefused(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test func aPrefixLengthIsTheLongestUnlessGiven() {
        #expect(VirtualAddress("192.0.2.7")?.prefixLength == 32)
        #expect(VirtualAddress("2001:db8::7")?.prefixLength == 128)
        #expect(VirtualAddress("192.0.2.7/24")?.prefixLength == 24)
    }

    @Test(arguments: ["192.0.2.7/", "192.0.2.7/33", "192.0.2.7/0", "192.0.2.7/+24", "192.0.2.7/024", "192.0.2.7/24/8", "/24"])
    func aBadPrefixLengthIsRefused(_ text: String) {
        #expect(VirtualAddress(text) == nil)
    }

    @Test func anAddressKnowsItsNetwork() throws {
        let address = try #require(IPAddress("192.0.2.130"))
        #expect(address.shares(prefixLength: 24, with: try #require(IPAddress("192.0.2.1"))))
        #expect(!address.shares(prefixLength: 25, with: try #require(IPAddress("192.0.2.1"))))
        #expect(!address.shares(prefixLength: 0, with: try #require(IPAddress("::1"))))
    }

    @Test func brokenPacketsClaimNothing() throws {
        let mac = try #require(MACAddress(bytes: [2, 0, 0, 0, 0, 1]))
        let address = try #require(IPAddress("2001:db8::7"))
        let good = NeighbourDiscovery.announcement(address, mac: mac).packet
        #expect(NeighbourDiscovery.claim(in: good) == NeighbourClaim(address: address, mac: mac))
        for length in 0..<good.count { #expect(NeighbourDiscovery.claim(in: Array(good[..<length])) == nil) }
        var routed = good
        routed[7] = 254
        #expect(NeighbourDiscovery.claim(in: routed) == nil, "it came from outside the segment")
        let arp = ARP.announcements(try #require(IPAddress("192.0.2.7")), mac: mac)[0]
        #expect(ARP.claim(in: arp)?.mac == mac)
        for length in 0..<arp.count { #expect(ARP.claim(in: Array(arp[..<length])) == nil) }
    }
}
