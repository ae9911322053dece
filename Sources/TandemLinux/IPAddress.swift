import Glibc

/// An IPv4 or IPv6 address.
public struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// Four or sixteen, in network order.
    public let bytes: [UInt8]

    /// Nil unless there are four or sixteen.
    public init?(bytes: some Sequence<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// Strict: no spaces, no leading zeros, no names, no zone, no IPv4 address in an IPv6 one ("::ffff:192.0.2.1").
    public init?(_ text: String) {
        // inet_pton(3) would stop at a zero byte and accept what stands before it.
        guard !text.utf8.contains(0) else { return nil }
        let isV6 = text.utf8.contains(UInt8(ascii: ":"))
        var bytes = [UInt8](repeating: 0, count: isV6 ? 16 : 4)
        guard inet_pton(isV6 ? AF_INET6 : AF_INET, text, &bytes) == 1 else { return nil }
        guard !isV6 || bytes.prefix(12) != IPAddress.mappedPrefix[...] else { return nil }
        self.bytes = bytes
    }

    public var isV6: Bool { bytes.count == 16 }
    /// Only valid on one link: fe80::/10, or 169.254/16.
    public var isLinkLocal: Bool {
        isV6 ? bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80 : bytes[0] == 169 && bytes[1] == 254
    }

    public var description: String {
        var text = [CChar](repeating: 0, count: 64)
        guard inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else { return "?" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// True if the first `prefixLength` bits are the same.
    public func shares(prefixLength: Int, with other: IPAddress) -> Bool {
        guard bytes.count == other.bytes.count else { return false }
        return bytes.indices.allSatisfy { index in
            let bits = min(8, max(0, prefixLength - index * 8))
            let mask = UInt8(truncatingIfNeeded: 0xff00 >> bits)
            return bytes[index] & mask == other.bytes[index] & mask
        }
    }

    var family: Int32 { isV6 ? AF_INET6 : AF_INET }

    /// What an IPv4 address looks like from a socket that serves both families (RFC 4291, 2.5.5.2).
    static let mappedPrefix: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
}

/// An address that belongs to a role, not to a host.
public struct VirtualAddress: Hashable, Sendable, CustomStringConvertible {
    public let address: IPAddress
    /// 32 or 128 unless the operator wants otherwise: an address inside the host's own prefix would vanish together with
    /// the host's address (Linux deletes "secondary" addresses with their primary).
    public let prefixLength: Int

    /// Nil if the prefix length does not fit the family.
    public init?(_ address: IPAddress, prefixLength: Int? = nil) {
        let longest = address.bytes.count * 8
        let length = prefixLength ?? longest
        guard (1...longest).contains(length) else { return nil }
        self.address = address
        self.prefixLength = length
    }

    /// "192.0.2.7" or "192.0.2.7/24", strictly.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = IPAddress(String(parts[0])) else { return nil }
        guard parts.count == 2 else {
            self.init(address)
            return
        }
        // Int("+24") and Int("024") are numbers too: only the plain form is taken.
        guard let length = Int(parts[1]), String(length) == parts[1] else { return nil }
        self.init(address, prefixLength: length)
    }

    public var description: String { "\(address)/\(prefixLength)" }
}

/// The address of a network card (six bytes).
public struct MACAddress: Hashable, Sendable, CustomStringConvertible {
    public let bytes: [UInt8]

    /// Nil unless there are six.
    public init?(bytes: some Sequence<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count == 6 else { return nil }
        self.bytes = bytes
    }

    public var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
