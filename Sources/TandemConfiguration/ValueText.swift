/// Why a text is not a value of its kind: a message without the key, and what to write instead.
struct ValueError: Error, Hashable {
    var message: String
    var advice: String?

    init(_ message: String, advice: String? = nil) {
        self.message = message
        self.advice = advice
    }
}

/// Durations as PostgreSQL writes them (manual, "Parameter Names and Values"), without microseconds: `200ms`, `2s`, `1min`,
/// `1h`, `1d`.
enum DurationText {
    private static let units: [(name: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]
    private static let misspelt = [
        "m": "min", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "mins": "min", "minute": "min", "minutes": "min",
        "hour": "h", "hours": "h", "hr": "h", "day": "d", "days": "d", "msec": "ms", "millis": "ms",
    ]

    static func parse(_ text: String) throws(ValueError) -> Duration {
        let (number, unit) = try QuantityText.split(text, kind: "a duration", examples: "200ms, 2s, 1min, 1h, 1d")
        guard !unit.isEmpty else {
            throw ValueError(
                "`\(text)` has no unit", advice: "Write the unit: `\(number)s` for seconds, `\(number)ms` for milliseconds.")
        }
        guard let (_, factor) = units.first(where: { $0.name == unit }) else {
            let right = misspelt[unit.lowercased()] ?? units.first { $0.name == unit.lowercased() }?.name
            throw ValueError(
                "`\(unit)` is no unit of time",
                advice: right.map { "Write `\(number)\($0)`." } ?? "The units are ms, s, min, h and d.")
        }
        // Durations are counted in nanoseconds: what does not fit, with room for sums, is no duration but a slip.
        return .milliseconds(try QuantityText.multiply(number, by: factor, limit: Int64.max / 10_000_000, text: text))
    }

    /// The shortest text that means the same: `60s` becomes `1min`.
    static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        let unit = units.last { milliseconds % $0.milliseconds == 0 && milliseconds != 0 } ?? units[0]
        return "\(milliseconds / unit.milliseconds)\(unit.name)"
    }
}

/// Sizes in PostgreSQL's units, which are powers of 1024 and case-sensitive: `512kB`, `64MB`, `1GB`, `1TB`; a bare number is
/// bytes.
enum SizeText {
    private static let units: [(name: String, bytes: Int64)] = [
        ("B", 1), ("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("TB", 1 << 40),
    ]
    private static let misspelt = [
        "k": "kB", "m": "MB", "g": "GB", "t": "TB", "kib": "kB", "mib": "MB", "gib": "GB", "tib": "TB", "byte": "B", "bytes": "B",
    ]

    static func parse(_ text: String) throws(ValueError) -> Int64 {
        let (number, unit) = try QuantityText.split(text, kind: "a size", examples: "512kB, 64MB, 1GB")
        if unit.isEmpty { return try QuantityText.multiply(number, by: 1, text: text) }
        guard let (_, factor) = units.first(where: { $0.name == unit }) else {
            let small = unit.lowercased()
            let right = units.first { $0.name.lowercased() == small }?.name ?? misspelt[small]
            throw ValueError(
                "`\(unit)` is no unit of size",
                advice: right.map { "Write `\(number)\($0)`." } ?? "The units are B, kB, MB, GB and TB, spelt exactly so.")
        }
        return try QuantityText.multiply(number, by: factor, text: text)
    }

    /// The shortest text that means the same: `1024kB` becomes `1MB`.
    static func text(_ bytes: Int64) -> String {
        let unit = units.last { bytes % $0.bytes == 0 && bytes != 0 } ?? units[0]
        return "\(bytes / unit.bytes)\(unit.name)"
    }
}

/// A number with a unit behind it.
enum QuantityText {
    /// The digits and the unit, which may be empty. Blanks between them are allowed, as in PostgreSQL.
    static func split(_ text: String, kind: String, examples: String) throws(ValueError) -> (number: String, unit: String) {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let rest = text.dropFirst(digits.count)
        let advice = "Write a whole number with its unit: \(examples)."
        guard !digits.isEmpty else { throw ValueError("`\(text)` is not \(kind)", advice: advice) }
        if let next = rest.first, next == "." || next == "," {
            throw ValueError("`\(text)` is a fraction", advice: "Write a whole number in a smaller unit: \(examples).")
        }
        let unit = rest.drop { $0 == " " }
        guard unit.allSatisfy({ $0.isLetter }) else { throw ValueError("`\(text)` is not \(kind)", advice: advice) }
        try IntegerText.refuseLeadingZero(String(digits), in: text)
        return (String(digits), String(unit))
    }

    static func multiply(_ number: String, by factor: Int64, limit: Int64 = Int64.max / 2, text: String) throws(ValueError)
        -> Int64
    {
        guard let count = Int64(number) else { throw ValueError("`\(text)` is too large") }
        let (product, overflow) = count.multipliedReportingOverflow(by: factor)
        guard !overflow, product <= limit else { throw ValueError("`\(text)` is too large") }
        return product
    }
}

/// Whole decimal numbers; what YAML 1.1 would read as octal, hexadecimal or base 60 is refused instead of misread.
enum IntegerText {
    static func parse(_ text: String) throws(ValueError) -> Int {
        let digits = text.hasPrefix("-") || text.hasPrefix("+") ? String(text.dropFirst()) : text
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }) else {
            throw ValueError("`\(text)` is not a whole number", advice: "Write decimal digits only.")
        }
        try refuseLeadingZero(digits, in: text)
        guard let number = Int(text) else { throw ValueError("`\(text)` is too large") }
        return number
    }

    static func refuseLeadingZero(_ digits: String, in text: String) throws(ValueError) {
        guard digits.count > 1, digits.hasPrefix("0") else { return }
        let plain = digits.drop { $0 == "0" }
        throw ValueError(
            "`\(text)` begins with a zero, which YAML reads as octal",
            advice: "Write it without the zero: `\(plain.isEmpty ? "0" : String(plain))\(text.dropFirst(digits.count))`.")
    }

    static func port(_ text: String) throws(ValueError) -> Int {
        let number = try parse(text)
        guard (1...65535).contains(number) else {
            throw ValueError("`\(text)` is no port", advice: "Ports are 1 to 65535.")
        }
        return number
    }
}
