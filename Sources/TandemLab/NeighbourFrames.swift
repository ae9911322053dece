import Glibc

/// The few frames by which addresses are asked for and claimed: ARP (RFC 826, 5227) and neighbour discovery (RFC 4861).
enum NeighbourFrames {
    /// What a frame claims: the address (as text) and the hardware address that is said to have it. Nil: no claim.
    static func claim(in frame: some RandomAccessCollection<UInt8>) -> (address: String, hardware: String)? {
        let bytes = Array(frame)
        guard bytes.count >= 42 else { return nil }
        let type = UInt16(bytes[12]) << 8 | UInt16(bytes[13])
        // ARP: the sender's addresses, in questions as in answers. A probe has the sender 0.0.0.0 and claims nothing.
        if type == 0x0806 { return (text(Array(bytes[28..<32])), hardware(bytes[22..<28])) }
        guard type == 0x86DD, bytes.count >= 78, bytes[20] == 58, bytes[54] == 136 else { return nil }
        // The option "target link-layer address", else who sent the frame.
        let option = bytes.count >= 86 && bytes[78] == 2 ? bytes[80..<86] : bytes[6..<12]
        return (text(Array(bytes[62..<78])), hardware(option))
    }

    /// Who has the address? From the asker's addresses, to all.
    static func question(about address: String, from asker: LabPlug) -> [UInt8]? {
        let hardware = asker.hardware(path: 0).split(separator: ":").compactMap { UInt8($0, radix: 16) }
        if let target = bytes(address, AF_INET, 4), let sender = bytes(asker.address(path: 0), AF_INET, 4) {
            return [UInt8](repeating: 0xFF, count: 6) + hardware + [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1] + hardware + sender
                + [UInt8](repeating: 0, count: 6) + target
        }
        guard let target = bytes(address, AF_INET6, 16), let sender = bytes(asker.address6(path: 0), AF_INET6, 16)
        else { return nil }
        let last = Array(target[13...])
        let group: [UInt8] = [0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF] + last
        // Neighbour solicitation with the option "source link-layer address".
        var message: [UInt8] = [135, 0, 0, 0, 0, 0, 0, 0] + target + [1, 1] + hardware
        let sum = checksum(sender + group + [0, 0, 0, UInt8(message.count), 0, 0, 0, 58] + message)
        message[2] = UInt8(sum >> 8)
        message[3] = UInt8(sum & 0xFF)
        let header: [UInt8] = [0x60, 0, 0, 0, 0, UInt8(message.count), 58, 255] + sender + group
        return [0x33, 0x33, 0xFF] + last + hardware + [0x86, 0xDD] + header + message
    }

    /// As the kernel writes it, so that equal addresses are equal texts. Nil: no address.
    static func normal(_ address: String) -> String? {
        (bytes(address, AF_INET, 4) ?? bytes(address, AF_INET6, 16)).map(text)
    }

    private static func bytes(_ address: String, _ family: Int32, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return inet_pton(family, address, &bytes) == 1 ? bytes : nil
    }

    private static func text(_ bytes: [UInt8]) -> String {
        var room = [CChar](repeating: 0, count: 64)
        guard inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, bytes, &room, socklen_t(room.count)) != nil else { return "?" }
        return String(decoding: room.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func hardware(_ bytes: ArraySlice<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }

    /// RFC 1071, over an even number of bytes.
    private static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count - 1, by: 2) { sum += UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1]) }
        while sum > 0xFFFF { sum = (sum & 0xFFFF) + (sum >> 16) }
        return ~UInt16(sum)
    }
}
