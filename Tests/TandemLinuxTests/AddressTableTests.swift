import Glibc
import TandemSystem
import Testing

@testable import TandemLinux

@Suite struct AddressTableTests {
    let hosts: TwoHosts
    let table: AddressTable
    let v4: VirtualAddress
    let v6: VirtualAddress

    init() throws {
        let hosts = try TwoHosts()
        self.hosts = hosts
        table = try hosts.left.inside { try AddressTable(interface: "eth0") }
        v4 = try #require(VirtualAddress("192.0.2.7"))
        v6 = try #require(VirtualAddress("2001:db8::7"))
    }

    @Test func addingAndRemovingTwiceIsFine() throws {
        for _ in 0..<2 {
            try table.add(v4)
            try table.add(v6)
            #expect(try table.held(of: [v4, v6]) == [v4, v6])
        }
        #expect(try hosts.left.addresses().contains("192.0.2.7/32"))
        #expect(try table.remove(v4))
        #expect(try table.remove(v6))
        #expect(try !table.remove(v4))
        #expect(try !table.remove(v6))
        #expect(try table.held(of: [v4, v6]) == [])
        #expect(try hosts.left.addresses().contains("192.0.2.1/24"), "the host's own address is untouched")
    }

    @Test func anIPv6AddressCanBeUsedAtOnceAndIsNoSourceOfOwnConnections() throws {
        try table.add(v6)
        let shown = try hosts.left.ip("-6", "addr", "show", "dev", "eth0", "to", "2001:db8::7")
        #expect(!shown.contains("tentative"))
        #expect(shown.contains("deprecated"))
        let route = try hosts.left.ip("-6", "route", "get", "2001:db8::2")
        #expect(route.contains("src 2001:db8::1 "), "\(route)")
    }

    @Test func anAddressThatLostDuplicateDetectionIsNotHeldAndAddingMakesItUsable() throws {
        try hosts.left.shell("echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad")
        try hosts.right.ip("-6", "addr", "add", "2001:db8::7/128", "dev", "eth0", "nodad")
        try hosts.left.ip("-6", "addr", "add", "2001:db8::7/128", "dev", "eth0")
        #expect(try soon { try hosts.left.ip("-6", "addr", "show", "dev", "eth0").contains("dadfailed") })
        #expect(try table.held(of: [v6]) == [])
        try table.add(v6)
        #expect(try table.held(of: [v6]) == [v6])
    }

    @Test func anAddressAddedByHandWithAnotherPrefixIsHeldAndRemoved() throws {
        try hosts.left.ip("addr", "add", "192.0.2.7/24", "dev", "eth0")
        #expect(try table.held(of: [v4]) == [v4])
        try table.add(v4)
        #expect(try table.remove(v4))
        #expect(try !hosts.left.addresses().contains { $0.hasPrefix("192.0.2.7") })
    }

    @Test func theHolderIsFoundOnAnyInterface() throws {
        #expect(try table.holder(of: v4.address) == nil)
        try hosts.left.ip("addr", "add", "192.0.2.7/32", "dev", "lo")
        #expect(try table.holder(of: v4.address) == "lo")
        #expect(try table.held(of: [v4]) == [])
    }

    @Test func aLifetimeEndsUnlessTheAddressIsAddedForGood() throws {
        try table.add(v4, lifetimeSeconds: 1)
        try table.add(v6, lifetimeSeconds: 1)
        try table.add(v6)
        #expect(try soon { try table.held(of: [v4]).isEmpty })
        #expect(try table.held(of: [v6]) == [v6])
    }

    @Test func theFactsFollowTheCable() throws {
        let facts = try #require(try table.facts())
        #expect(facts.isUp && facts.hasCarrier && facts.hasNeighbours)
        #expect(try facts.mac?.description == hosts.left.mac())
        try hosts.right.ip("link", "set", "eth0", "down")
        #expect(try soon { try table.facts()?.hasCarrier == false })
        #expect(try table.facts()?.isUp == true)
    }

    @Test func withoutTheInterfaceAddingSaysSoAndRemovingIsDone() throws {
        let other = try hosts.left.inside { try AddressTable(interface: "eth9") }
        let address = v4
        #expect(try other.facts() == nil)
        #expect(try other.held(of: [address]) == [])
        #expect(try !other.remove(address))
        let error = #expect(throws: SystemError.self) { try other.add(address) }
        #expect(error?.code == ENODEV)
    }

    @Test func theWatchSeesADeletionByHandAndALinkChangeAndNoOtherInterface() throws {
        let seen = Seen<Int64>()
        let watch = try hosts.left.inside { try AddressWatch(interface: "eth0") { seen.add(SystemClock.now()) } }
        defer { watch.stop() }
        try table.add(v4)
        #expect(soon { seen.all.count >= 1 })
        let before = seen.all.count
        try hosts.left.ip("addr", "del", "192.0.2.7/32", "dev", "eth0")
        #expect(soon { seen.all.count > before })
        let quiet = seen.all.count
        try hosts.left.ip("addr", "add", "198.51.100.1/32", "dev", "lo")
        try hosts.right.ip("link", "set", "eth0", "down")
        #expect(soon { seen.all.count > quiet })
    }

    @Test func aWatchThatWasStoppedIsSilent() throws {
        let stopped = Seen<Int>()
        let other = Seen<Int>()
        let watch = try hosts.left.inside { try AddressWatch(interface: "eth0") { stopped.add(1) } }
        let second = try hosts.left.inside { try AddressWatch(interface: "eth0") { other.add(1) } }
        defer { second.stop() }
        try table.add(v4)
        #expect(soon { !stopped.all.isEmpty && !other.all.isEmpty })
        watch.stop()
        let before = (stopped.all.count, other.all.count)
        try table.add(v6)
        #expect(soon { other.all.count > before.1 })
        #expect(stopped.all.count == before.0)
    }
}
