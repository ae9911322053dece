/// A position in PostgreSQL's write-ahead log, in bytes (PostgreSQL manual, "pg_lsn type").
public struct LSN: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    public var bytes: UInt64

    public init(_ bytes: UInt64) { self.bytes = bytes }

    /// Reads PostgreSQL's own notation, two hexadecimal numbers with a slash between: `16/B374D848`.
    public init?(_ text: some StringProtocol) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, halves.allSatisfy({ (1...8).contains($0.count) && $0.first != "+" }),
            let high = UInt32(halves[0], radix: 16), let low = UInt32(halves[1], radix: 16)
        else { return nil }
        bytes = UInt64(high) << 32 | UInt64(low)
    }

    public var description: String {
        "\(String(bytes >> 32, radix: 16, uppercase: true))/\(String(bytes & 0xFFFF_FFFF, radix: 16, uppercase: true))"
    }

    public static func < (a: LSN, b: LSN) -> Bool { a.bytes < b.bytes }

    /// How many bytes this position is behind `other`; 0 if it is at or beyond it.
    public func behind(_ other: LSN) -> UInt64 { other.bytes > bytes ? other.bytes - bytes : 0 }
}

/// A PostgreSQL timeline: a new one begins with every promotion. Two independent promotions can carry the same number, so it
/// is no identity; the term is (`protocol.md` 9).
public typealias Timeline = UInt32
