/// ARP packets for Ethernet and IPv4 (RFC 826, RFC 5227), without the Ethernet header.
enum ARP {
    /// ARP's number in the Ethernet header.
    static let etherType: UInt16 = 0x0806

    private enum Operation: UInt8 { case request = 1, reply = 2 }

    /// "Who has it?" From nobody (sender address zero) it is a probe: no listener's table changes.
    static func question(_ target: IPAddress, from sender: IPAddress?, mac: MACAddress) -> [UInt8] {
        packet(
            .request, sender: (mac, sender?.bytes ?? [0, 0, 0, 0]), target: ([0, 0, 0, 0, 0, 0], target.bytes))
    }

    /// "It is mine", in both forms: some devices only look at requests, some only at replies.
    static func announcements(_ address: IPAddress, mac: MACAddress) -> [[UInt8]] {
        [
            packet(.request, sender: (mac, address.bytes), target: ([0, 0, 0, 0, 0, 0], address.bytes)),
            packet(.reply, sender: (mac, address.bytes), target: (broadcast.bytes, address.bytes)),
        ]
    }

    /// Who claims which address by this packet. Nil: nobody (a probe), or not such a packet.
    static func claim(in packet: [UInt8]) -> NeighbourClaim? {
        guard packet.count >= 28, Array(packet[0..<6]) == head, packet[6] == 0 else { return nil }
        guard Operation(rawValue: packet[7]) != nil else { return nil }
        guard let mac = MACAddress(bytes: packet[8..<14]), let address = IPAddress(bytes: packet[14..<18]) else {
            return nil
        }
        guard address.bytes != [0, 0, 0, 0] else { return nil }
        return NeighbourClaim(address: address, mac: mac)
    }

    static let broadcast = EthernetDestination(bytes: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])

    /// Ethernet, IPv4, address lengths six and four.
    private static let head: [UInt8] = [0, 1, 8, 0, 6, 4]

    private static func packet(
        _ operation: Operation, sender: (mac: MACAddress, address: [UInt8]), target: (mac: [UInt8], address: [UInt8])
    ) -> [UInt8] {
        head + [0, operation.rawValue] + sender.mac.bytes + sender.address + target.mac + target.address
    }
}

/// Somebody on the segment says that an address is theirs.
struct NeighbourClaim: Hashable, Sendable {
    var address: IPAddress
    var mac: MACAddress
}

/// Where a frame goes: six bytes.
struct EthernetDestination {
    var bytes: [UInt8]
}
