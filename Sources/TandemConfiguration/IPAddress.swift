import Glibc

/// A numeric IPv4 or IPv6 address. No names: an address that moves must not depend on name service.
public struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    public enum Family: Hashable, Sendable {
        case ipv4
        case ipv6
    }

    public let family: Family
    /// Network byte order: 4 bytes, or 16.
    public let bytes: [UInt8]

    /// Reads the notation of RFC 4291 (IPv6) or four decimal numbers without leading zeros (IPv4); nil for anything else.
    public init?(_ text: some StringProtocol) {
        let text = String(text)
        // inet_pton stops at a zero byte; what follows it would be ignored.
        guard !text.utf8.contains(0) else { return nil }
        if let bytes = Self.parse(text, AF_INET, count: 4) {
            family = .ipv4
            self.bytes = bytes
        } else if let bytes = Self.parse(text, AF_INET6, count: 16) {
            family = .ipv6
            self.bytes = bytes
        } else {
            return nil
        }
    }

    /// The canonical text (RFC 5952): equal addresses have equal texts.
    public var description: String {
        let capacity = 64
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { buffer in
            let family = family == .ipv4 ? AF_INET : AF_INET6
            guard let start = buffer.baseAddress, inet_ntop(family, bytes, start, socklen_t(capacity)) != nil else {
                return bytes.map(String.init).joined(separator: ".")
            }
            return String(cString: start)
        }
    }

    /// 32 or 128: the prefix that means this address alone.
    public var fullPrefix: Int { bytes.count * 8 }

    public var isLoopback: Bool {
        family == .ipv4 ? bytes[0] == 127 : bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1
    }

    /// Why no host can own this address as its own, or nil if one can.
    var unusable: String? {
        if bytes.allSatisfy({ $0 == 0 }) { return "the unspecified address" }
        switch family {
        case .ipv4:
            if bytes.allSatisfy({ $0 == 255 }) { return "the broadcast address" }
            if bytes[0] & 0xF0 == 224 { return "a multicast address" }
            return nil
        case .ipv6:
            if bytes[0] == 0xFF { return "a multicast address" }
            if bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80 {
                return "a link-local address, which means nothing without an interface"
            }
            if bytes.prefix(10).allSatisfy({ $0 == 0 }) && bytes[10] == 0xFF && bytes[11] == 0xFF {
                return "an IPv4 address in IPv6 clothes"
            }
            return nil
        }
    }

    private static func parse(_ text: String, _ family: Int32, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }
}

/// An address with the length of its network prefix, as it is put on an interface.
public struct PrefixedAddress: Hashable, Sendable, CustomStringConvertible {
    public var address: IPAddress
    /// 0 to 32, or 0 to 128; the full length unless the configuration says otherwise, so that no route comes with the address.
    public var prefix: Int

    public init(address: IPAddress, prefix: Int? = nil) {
        self.address = address
        self.prefix = prefix ?? address.fullPrefix
    }

    public var description: String { "\(address)/\(prefix)" }
}
