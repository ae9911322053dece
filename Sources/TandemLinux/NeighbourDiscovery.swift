/// Neighbour solicitations and advertisements as whole IPv6 packets (RFC 4861), without the Ethernet header.
enum NeighbourDiscovery {
    /// IPv6's number in the Ethernet header.
    static let etherType: UInt16 = 0x86dd

    private static let solicitation: UInt8 = 135
    static let advertisement: UInt8 = 136
    static let icmp6: UInt8 = 58
    private static let unspecified = [UInt8](repeating: 0, count: 16)
    private static let allNodes: [UInt8] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]

    /// "Who has it?" From nobody it is the probe of duplicate address detection (RFC 4862, 5.4.2), answered to all nodes.
    static func question(
        _ target: IPAddress, from sender: IPAddress?, mac: MACAddress
    ) -> (packet: [UInt8], to: EthernetDestination) {
        // The solicited-node group of the target (RFC 4291, 2.7.1).
        let group: [UInt8] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff] + target.bytes.suffix(3)
        // Who asks from nobody must not name a link-layer address (RFC 4861, 4.3).
        let option: [UInt8] = sender == nil ? [] : [1, 1] + mac.bytes
        let message: [UInt8] = [solicitation, 0, 0, 0, 0, 0, 0, 0] + target.bytes + option
        return (packet(message, from: sender?.bytes ?? unspecified, to: group), destination(group))
    }

    /// "It is mine", unasked, to all nodes, overriding what they knew (RFC 4861, 7.2.6).
    static func announcement(_ address: IPAddress, mac: MACAddress) -> (packet: [UInt8], to: EthernetDestination) {
        let override: UInt8 = 0x20
        let message: [UInt8] = [advertisement, 0, 0, 0, override, 0, 0, 0] + address.bytes + [2, 1] + mac.bytes
        return (packet(message, from: address.bytes, to: allNodes), destination(allNodes))
    }

    /// Who claims which address by this packet; nil: nobody, or not a valid advertisement.
    static func claim(in packet: [UInt8]) -> NeighbourClaim? {
        guard packet.count >= 64, packet[0] >> 4 == 6, packet[6] == icmp6, packet[40] == advertisement else { return nil }
        // 255: it cannot have passed a router, so nobody outside the segment can forge it (RFC 4861, 7.1.2).
        guard packet[7] == 255, let address = IPAddress(bytes: packet[48..<64]) else { return nil }
        var rest = packet[64...]
        while rest.count >= 8, let kind = rest.first {
            let length = Int(rest[rest.startIndex + 1]) * 8
            guard length > 0, length <= rest.count else { return nil }
            if kind == 2, let mac = MACAddress(bytes: rest.dropFirst(2).prefix(6)) {
                return NeighbourClaim(address: address, mac: mac)
            }
            rest = rest.dropFirst(length)
        }
        return nil
    }

    private static func destination(_ group: [UInt8]) -> EthernetDestination {
        EthernetDestination(bytes: [0x33, 0x33] + group.suffix(4))
    }

    private static func packet(_ message: [UInt8], from source: [UInt8], to target: [UInt8]) -> [UInt8] {
        var message = message
        let sum = checksum(message, source, target)
        message[2] = UInt8(sum >> 8)
        message[3] = UInt8(sum & 0xff)
        let length = message.count
        return [0x60, 0, 0, 0, UInt8(length >> 8), UInt8(length & 0xff), icmp6, 255] + source + target + message
    }

    /// Over the pseudo-header and the message, its own field zero (RFC 8200, 8.1).
    static func checksum(_ message: [UInt8], _ source: [UInt8], _ target: [UInt8]) -> UInt16 {
        let length = message.count
        let all = source + target + [0, 0, UInt8(length >> 8), UInt8(length & 0xff), 0, 0, 0, icmp6] + message
        var sum: UInt32 = 0
        for index in stride(from: 0, to: all.count, by: 2) {
            sum += UInt32(all[index]) << 8 | (index + 1 < all.count ? UInt32(all[index + 1]) : 0)
        }
        while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
        return ~UInt16(sum)
    }
}
