import Glibc
import TandemSystem
import Testing

@testable import TandemLinux

/// Leased addresses: the kernel removes them by itself.
@Suite struct AddressLifetimeTests {
    let hosts: TwoHosts
    let role: RoleAddresses
    let both: [VirtualAddress]
    let table: AddressTable

    init() throws {
        let hosts = try TwoHosts()
        let both = [try #require(VirtualAddress("192.0.2.7")), try #require(VirtualAddress("2001:db8::7"))]
        self.hosts = hosts
        self.both = both
        role = try hosts.left.inside { try RoleAddresses(interface: "eth0", addresses: both) { _ in } }
        table = try hosts.left.inside { try AddressTable(interface: "eth0") }
    }

    private func claim(_ lifetime: Duration?) throws {
        let role = role
        #expect(try hosts.left.inside { try role.claim(probing: false, takeRegardless: true, lifetime: lifetime) }.taken)
    }

    private func lifetimes() throws -> [String] {
        let words = try hosts.left.ip("addr", "show", "dev", "eth0").split { " \n".contains($0) }.map(String.init)
        return zip(words.indices, words).filter { ["192.0.2.7/32", "2001:db8::7/128"].contains($0.1) }.map { index, _ in
            let rest = words[index...]
            return rest.firstIndex(of: "valid_lft").map { words[$0 + 1] } ?? ""
        }
    }

    @Test func withoutRenewalTheyVanishByThemselves() throws {
        let begun = SystemClock.now()
        // Rounded up to whole seconds.
        try claim(.milliseconds(600))
        #expect(try role.held() == both)
        #expect(try soon { try role.held().isEmpty })
        #expect((900_000_000...2_000_000_000).contains(SystemClock.now() - begun))
        #expect(try role.renew(lifetime: .seconds(1)) == [], "what has vanished stays away")
        #expect(try role.held() == [])
    }

    @Test func renewedTheyStayAndAreTheSameAddresses() throws {
        try claim(.seconds(1))
        let over = SystemClock.after(.milliseconds(2500))
        let (role, both) = (role, both)
        let lost = try SystemClock.wait(upTo: .seconds(4), step: .milliseconds(100)) {
            let renewed = try role.renew(lifetime: .seconds(1))
            return renewed != both || SystemClock.now() > over
        }
        #expect(lost)
        #expect(SystemClock.now() > over, "one was lost before")
        #expect(try role.held() == both)
        #expect(try soon { try role.held().isEmpty })
    }

    @Test func fromLeasedToForGoodAndBack() throws {
        try claim(.seconds(2))
        #expect(try lifetimes().allSatisfy { ["2sec", "1sec"].contains($0) })
        #expect(try role.renew(lifetime: nil) == both)
        #expect(try lifetimes() == ["forever", "forever"])
        #expect(try role.renew(lifetime: .milliseconds(4001)) == both)
        #expect(try lifetimes().allSatisfy { ["5sec", "4sec"].contains($0) })
        try claim(nil)
        #expect(try lifetimes() == ["forever", "forever"], "a claim sets it, too")
        #expect(role.isHeld)
    }

    @Test func anIPv6AddressStaysDeprecatedAndUsable() throws {
        try claim(.seconds(5))
        _ = try role.renew(lifetime: .seconds(5))
        let shown = try hosts.left.ip("-6", "addr", "show", "dev", "eth0", "to", "2001:db8::7")
        #expect(shown.contains("deprecated") && !shown.contains("tentative"))
    }

    @Test func whatWasRemovedIsNotPutBack() throws {
        try claim(.seconds(5))
        try hosts.left.ip("addr", "del", "192.0.2.7/32", "dev", "eth0")
        #expect(try role.renew(lifetime: .seconds(5)) == [both[1]])
        #expect(try role.held() == [both[1]])
        let role = role
        _ = try hosts.left.inside { try role.release() }
        #expect(try role.renew(lifetime: .seconds(5)) == [])
        #expect(try role.held() == [])
    }

    /// The guard removes them while the agent, which is late but alive, renews: in the end they are gone.
    @Test func aRemovalInTheMiddleOfARenewalWins() throws {
        try claim(.seconds(30))
        let (table, role, both) = (table, role, both)
        for _ in 0..<30 {
            let done = try Bell()
            // Older than the hundredth of a second in which the kernel counts ages.
            _ = SystemClock.wait(upTo: .milliseconds(25)) { false }
            try OwnThread.start("renewals") {
                do {
                    while try !role.renew(lifetime: .seconds(30)).isEmpty {}
                } catch {
                    Issue.record(error)
                }
                done.ring()
            }
            for address in both { try table.remove(address) }
            #expect(done.wait(upTo: .seconds(5)))
            #expect(try table.held(of: both) == [])
            try claim(.seconds(30))
        }
    }

    @Test(arguments: [
        (Duration.zero, UInt32(1)), (.milliseconds(1), 1), (.seconds(1), 1), (.milliseconds(1001), 2),
        (.seconds(1 << 40), UInt32.max - 1),
    ])
    func secondsAreRoundedUp(_ span: Duration, _ seconds: UInt32) {
        #expect(span.wholeSeconds == seconds)
    }

    @Test func theInterfaceIsGoneSoNothingIsRenewed() throws {
        try claim(.seconds(5))
        try hosts.left.ip("link", "del", "eth0")
        #expect(try role.renew(lifetime: .seconds(5)) == [])
    }
}
