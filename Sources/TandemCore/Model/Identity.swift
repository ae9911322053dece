/// The name of a node, as the configuration gives it. Names are ASCII; their order decides who numbers terms even (section 1).
public struct NodeName: Hashable, Comparable, Sendable, Codable, CustomStringConvertible, ExpressibleByStringLiteral {
    public var text: String
    public init(_ text: String) { self.text = text }
    public init(stringLiteral text: String) { self.text = text }
    public var description: String { text }
    /// By bytes: the same on every host, whatever its locale.
    public static func < (a: NodeName, b: NodeName) -> Bool { a.text.utf8.lexicographicallyPrecedes(b.text.utf8) }
}

/// A data directory, made once: a random id that `init`, a base copy or a restore gives it (section 1, "copy").
public struct CopyID: Hashable, Sendable, Codable, CustomStringConvertible {
    public var text: String
    /// 32 hexadecimal digits in lower case; anything else is refused, as the id becomes part of an application name.
    public init?(_ text: some StringProtocol) {
        guard text.utf8.count == 32, text.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else {
            return nil
        }
        self.text = String(text)
    }
    /// From 128 random bits, which the shell supplies: the core has no chance of its own.
    public init(high: UInt64, low: UInt64) {
        func hex(_ word: UInt64) -> String {
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.utf8.count) + digits
        }
        text = hex(high) + hex(low)
    }
    public var description: String { text }

    /// The `application_name` of the standby that holds this copy; one of its kind may be a synchronous standby (4.2).
    public var applicationName: String { "pgtandem_" + text }

    /// The value of `synchronous_standby_names` by which commits wait for this copy alone (4.2).
    public var synchronousStandbyNames: String { "FIRST 1 (\"\(applicationName)\")" }
}

/// One run of an agent: a random number in every message (section 1, "session").
public struct SessionID: Hashable, Sendable, Codable, CustomStringConvertible {
    public var number: UInt64
    public init(_ number: UInt64) { self.number = number }
    public var description: String { String(number, radix: 16) }
}

/// One boot of a host: the kernel's `boot_id`. What a node was told before its host booted counts for nothing (4.3).
public struct BootID: Hashable, Sendable, Codable, CustomStringConvertible {
    public var text: String
    public init(_ text: String) { self.text = text }
    public var description: String { text }
}
