import Glibc
import TandemSystem

/// The Ethernet segment behind an interface, as ARP and neighbour discovery see it.
final class Segment: Sendable {
    private let mac: MACAddress
    private let sending: PacketSocket
    private let arp: PacketSocket?
    private let advertisements: PacketSocket?

    /// - Parameter addresses: whose claims `claims()` shall hear; none: it only sends.
    init(_ interface: InterfaceFacts, hearing addresses: [IPAddress]) throws(SystemError) {
        guard let mac = interface.mac else {
            throw SystemError(
                attempted: "speak ARP on \(interface.name)", code: EOPNOTSUPP, advice: "Name an Ethernet interface.")
        }
        self.mac = mac
        sending = try PacketSocket(index: interface.index)
        let hearsARP = addresses.contains { !$0.isV6 }
        let hearsAdvertisements = addresses.contains { $0.isV6 }
        arp = hearsARP ? try PacketSocket(index: interface.index, hearing: ARP.etherType) : nil
        advertisements =
            hearsAdvertisements ? try PacketSocket(index: interface.index, hearing: NeighbourDiscovery.etherType) : nil
    }

    /// For poll(2): readable when somebody said something.
    var numbers: [Int32] { [arp, advertisements].compactMap { $0?.number } }

    /// Asks who has the address.
    /// - Parameter sender: nil asks from nobody (a probe): no table on the segment changes.
    func ask(_ address: IPAddress, from sender: IPAddress? = nil) throws(SystemError) {
        if address.isV6 {
            let question = NeighbourDiscovery.question(address, from: sender, mac: mac)
            try sending.send(question.packet, NeighbourDiscovery.etherType, to: question.to)
        } else {
            try sending.send(ARP.question(address, from: sender, mac: mac), ARP.etherType, to: ARP.broadcast)
        }
    }

    /// Tells everybody that the address is at our card.
    func announce(_ address: IPAddress) throws(SystemError) {
        if address.isV6 {
            let announcement = NeighbourDiscovery.announcement(address, mac: mac)
            try sending.send(announcement.packet, NeighbourDiscovery.etherType, to: announcement.to)
        } else {
            for packet in ARP.announcements(address, mac: mac) {
                try sending.send(packet, ARP.etherType, to: ARP.broadcast)
            }
        }
    }

    /// What was said since the last call; at most a few thousand packets a call.
    /// - Throws: when the interface went down or away.
    func claims() throws(SystemError) -> [NeighbourClaim] {
        var found: [NeighbourClaim] = []
        for _ in 0..<4096 {
            guard let packet = try arp?.receive() else { break }
            if let claim = ARP.claim(in: packet) { found.append(claim) }
        }
        for _ in 0..<4096 {
            guard let packet = try advertisements?.receive() else { break }
            if let claim = NeighbourDiscovery.claim(in: packet) { found.append(claim) }
        }
        return found
    }

    /// Asks up to three times within the time until one of the answers is accepted; returns the accepted ones of the first
    /// lot, or none when the time is over.
    func inquire(
        _ addresses: [IPAddress], from sender: (IPAddress) -> IPAddress?, upTo patience: Duration,
        accepting: (NeighbourClaim) -> Bool
    ) throws(SystemError) -> [NeighbourClaim] {
        let begun = SystemClock.now()
        let end = begun + max(0, patience.nanoseconds)
        for round in 1...3 as ClosedRange<Int64> {
            for address in addresses { try ask(address, from: sender(address)) }
            let roundEnd = begun + (end - begun) / 3 * round
            while true {
                let left = max(0, (round == 3 ? end : roundEnd) - SystemClock.now())
                let heard = Poll.readable(numbers, upTo: .nanoseconds(left)).contains(true)
                let found = try claims().filter(accepting)
                if !found.isEmpty { return found }
                if !heard || left == 0 { break }
            }
        }
        return []
    }
}
