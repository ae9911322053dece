/// Addresses as the configuration writes them: numeric, and an address that a host can own.
enum AddressText {
    static func address(_ text: String) throws(ValueError) -> IPAddress {
        guard let address = IPAddress(text) else { throw wrong(text) }
        if let reason = address.unusable {
            throw ValueError("`\(text)` is \(reason)", advice: "Give the address of one host.")
        }
        return address
    }

    /// nil for `none`.
    static func addressOrNone(_ text: String) throws(ValueError) -> IPAddress? {
        text == "none" ? nil : try address(text)
    }

    static func prefixed(_ text: String) throws(ValueError) -> PrefixedAddress {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2 else { return PrefixedAddress(address: try address(text)) }
        let address = try address(parts[0])
        let prefix = try IntegerText.parse(parts[1])
        guard (1...address.fullPrefix).contains(prefix) else {
            throw ValueError("`/\(parts[1])` is no prefix of this address", advice: "Prefixes are 1 to \(address.fullPrefix).")
        }
        return PrefixedAddress(address: address, prefix: prefix)
    }

    /// Why a prefix is probably a slip, or nil. A prefix brings a route to its whole network, on every host with the address.
    static func doubt(about address: PrefixedAddress) -> ValueError? {
        let usual: [ClosedRange<Int>] = address.address.family == .ipv4 ? [16...30, 32...32] : [48...64, 128...128]
        guard !usual.contains(where: { $0.contains(address.prefix) }) else { return nil }
        return ValueError(
            "`/\(address.prefix)` is an unusual prefix; it makes the kernel reach that whole network through this interface",
            advice: "Leave the prefix out unless you need it: /\(address.address.fullPrefix) is what a virtual address wants.")
    }

    private static func wrong(_ text: String) -> ValueError {
        let what = "`\(text)` is not a numeric IPv4 or IPv6 address"
        if text.contains("/") { return ValueError(what, advice: "Leave the prefix out here.") }
        if text.contains("%") {
            return ValueError(what, advice: "Leave the interface out, and use an address that is not link-local.")
        }
        let octets = text.split(separator: ".", omittingEmptySubsequences: false)
        if octets.count == 4, octets.allSatisfy({ Int($0) != nil }) {
            return ValueError(what, advice: "Four numbers from 0 to 255, without leading zeros.")
        }
        if text.contains(where: \.isLetter), !text.contains(":") {
            return ValueError(
                what, advice: "Names are not looked up, as a failover must not wait for name service: give the number.")
        }
        return ValueError(what)
    }
}
