import Glibc
import Synchronization
import TandemSystem
import Testing

@testable import TandemLinux

@Suite struct ProbeTests {
    let hosts: TwoHosts

    init() throws {
        hosts = try TwoHosts()
    }

    @Test(arguments: ["192.0.2.2", "2001:db8::2"])
    func theOwnerIsFoundAtOnce(_ text: String) throws {
        let address = try #require(IPAddress(text))
        let (owner, took) = try hosts.left.inside {
            let begun = SystemClock.now()
            let owner = try DuplicateProbe.owner(of: address, interface: "eth0", patience: .seconds(5))
            return (owner, SystemClock.now() - begun)
        }
        #expect(try owner?.description == hosts.right.mac())
        #expect(took < 1_000_000_000, "the first answer ends it")
        // A probe speaks for nobody: the right host learnt nothing of it.
        #expect(try hosts.neighbour("192.0.2.1") == "")
    }

    @Test(arguments: ["192.0.2.77", "2001:db8::77", "192.0.2.1", "2001:db8::1"])
    func silenceIsReportedAfterThePatience(_ text: String) throws {
        let address = try #require(IPAddress(text))
        let (owner, took) = try hosts.left.inside {
            let begun = SystemClock.now()
            let owner = try DuplicateProbe.owner(of: address, interface: "eth0", patience: .milliseconds(90))
            return (owner, SystemClock.now() - begun)
        }
        #expect(owner == nil)
        #expect(took >= 90_000_000)
    }

    @Test func anInterfaceThatIsDownOrAbsentIsAnErrorNotSilence() throws {
        let address = try #require(IPAddress("192.0.2.2"))
        try hosts.left.ip("link", "set", "eth0", "down")
        for (name, code) in [("eth0", ENETDOWN), ("eth9", ENODEV)] {
            let error = #expect(throws: SystemError.self) {
                try hosts.left.inside { try DuplicateProbe.owner(of: address, interface: name, patience: .seconds(1)) }
            }
            #expect(error?.code == code)
        }
    }

    @Test(arguments: ["192.0.2.7", "2001:db8::7"])
    func anAnnouncementCorrectsAStaleNeighbour(_ text: String) throws {
        let address = try #require(IPAddress(text))
        // As after a takeover: the right host still knows the card of the dead one.
        try hosts.right.ip("neigh", "replace", text, "lladdr", "02:00:00:00:00:99", "nud", "stale", "dev", "eth0")
        try hosts.left.inside { try Announcement.send(address, interface: "eth0") }
        let mac = try hosts.left.mac()
        #expect(try soon { try hosts.neighbour(text).contains(mac) })
    }

    @Test(arguments: ["192.0.2.2", "2001:db8::2"])
    func theGatewayAnswersUntilItsCableIsCut(_ text: String) throws {
        let gateway = try #require(IPAddress(text))
        let kept = Mutex(NeighbourProbe(gateway, interface: "eth0"))
        let ask = { @Sendable in try kept.withLock { try $0.answers(within: .milliseconds(500)) } }
        #expect(try hosts.left.inside(ask))
        #expect(try hosts.left.inside(ask), "asked again with the same sockets")
        try hosts.right.ip("addr", "flush", "dev", "eth0")
        #expect(try !hosts.left.inside(ask))
        try hosts.right.ip("link", "set", "eth0", "down")
        #expect(try soon { try !hosts.left.inside(ask) })
    }

    /// The kept sockets heard this between two questions.
    @Test func whatTheGatewaySaidBeforeTheQuestionIsNoAnswer() throws {
        let gateway = try #require(IPAddress("192.0.2.2"))
        let kept = Mutex(NeighbourProbe(gateway, interface: "eth0"))
        let ask = { @Sendable in try kept.withLock { try $0.answers(within: .milliseconds(500)) } }
        #expect(try hosts.left.inside(ask))
        try hosts.right.inside { try Announcement.send(gateway, interface: "eth0") }
        try hosts.right.ip("addr", "flush", "dev", "eth0")
        #expect(try !hosts.left.inside(ask))
    }

    @Test func theGatewayIsFoundAgainThroughACardThatWasDown() throws {
        let gateway = try #require(IPAddress("192.0.2.2"))
        let kept = Mutex(NeighbourProbe(gateway, interface: "eth0"))
        let ask = { @Sendable in try kept.withLock { try $0.answers(within: .milliseconds(500)) } }
        #expect(try hosts.left.inside(ask))
        try hosts.left.ip("link", "set", "eth0", "down")
        #expect(try !hosts.left.inside(ask))
        try hosts.left.ip("link", "set", "eth0", "up")
        #expect(try soon { try hosts.left.inside(ask) })
    }
}
