/// A position in PostgreSQL's write-ahead log, in bytes (PostgreSQL manual, "pg_lsn type").
public struct LSN: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    public var bytes: UInt64

    public init(_ bytes: UInt64) { self.bytes = bytes }

    /// Reads PostgreSQL's own notation, two hexadecimal numbers with a slash between: `16/B374D848`.
    public init?(_ text: some StringProtocol) {
        // A watch reads several of these ten times a second.
        var half: UInt64 = 0
        var digits = 0
        var high: UInt64?
        for byte in text.utf8 {
            let digit: UInt8
            switch byte {
            case 48...57: digit = byte - 48
            case 65...70: digit = byte - 55
            case 97...102: digit = byte - 87
            case UInt8(ascii: "/"):
                guard high == nil, digits > 0 else { return nil }
                (high, half, digits) = (half, 0, 0)
                continue
            default: return nil
            }
            guard digits < 8 else { return nil }
            half = half << 4 | UInt64(digit)
            digits += 1
        }
        guard let high, digits > 0 else { return nil }
        bytes = high << 32 | half
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
