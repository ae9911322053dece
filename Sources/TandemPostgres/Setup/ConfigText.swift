/// The lines of a file in the form of `postgresql.conf` (PostgreSQL manual, "Parameter Interaction via the Configuration
/// File"). Lines that nobody changes stay byte for byte as they are, whatever their encoding.
struct ConfigText: Equatable, Sendable {
    private(set) var lines: [[UInt8]]
    private let endsWithNewline: Bool

    init(_ bytes: [UInt8]) {
        lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { Array($0) }
        endsWithNewline = lines.last?.isEmpty == true
        if endsWithNewline { lines.removeLast() }
    }

    init(_ text: String) { self.init([UInt8](text.utf8)) }

    /// Always with a newline at the end.
    var bytes: [UInt8] { Array(lines.map { $0 + [UInt8(ascii: "\n")] }.joined()) }

    /// The value that counts (the last one); names compare without case, as PostgreSQL's do.
    func value(of name: String) -> String? {
        lines.reversed().lazy.compactMap { ConfigText.setting($0) }.first { $0.name == name }?.value
    }

    /// Gives every assignment of the name this value, comments kept; appends one if there is none.
    mutating func set(_ name: String, _ value: String) {
        var found = false
        for (index, line) in lines.enumerated() {
            guard let setting = ConfigText.setting(line), setting.name == name else { continue }
            found = true
            if setting.value == value { continue }
            let comment = setting.comment.isEmpty ? "" : "\t" + setting.comment
            lines[index] = [UInt8]("\(name) = \(ConfigText.quoted(value))\(comment)".utf8)
        }
        if !found { append("\(name) = \(ConfigText.quoted(value))") }
    }

    mutating func append(_ line: String) { lines.append([UInt8](line.utf8)) }

    mutating func removeLines(where isUnwanted: (String, Setting?) -> Bool) {
        lines.removeAll { isUnwanted(String(decoding: $0, as: UTF8.self), ConfigText.setting($0)) }
    }

    /// Lines of nothing at the end.
    mutating func removeTrailingBlankLines() {
        while let last = lines.last, String(decoding: last, as: UTF8.self).trimmed().isEmpty { lines.removeLast() }
    }

    struct Setting: Equatable, Sendable {
        /// In lower case.
        var name: String
        var value: String
        /// From `#` on, or empty.
        var comment: String
    }

    /// nil: an empty line, a comment, or nothing that PostgreSQL would take.
    static func setting(_ line: [UInt8]) -> Setting? {
        var rest = Substring(String(decoding: line, as: UTF8.self))
        func skipBlanks() { rest = rest.drop { $0 == " " || $0 == "\t" || $0 == "\r" } }
        skipBlanks()
        let name = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." || $0 == "$" }
        guard let first = name.first, first.isLetter || first == "_" else { return nil }
        rest = rest.dropFirst(name.count)
        skipBlanks()
        if rest.first == "=" {
            rest = rest.dropFirst()
            skipBlanks()
        }
        guard let value = rest.first == "'" ? takeQuoted(&rest) : takeWord(&rest) else { return nil }
        skipBlanks()
        guard rest.isEmpty || rest.first == "#" else { return nil }
        return Setting(name: name.lowercased(), value: value, comment: rest.first == "#" ? rest.trimmed() : "")
    }

    private static func takeWord(_ rest: inout Substring) -> String? {
        let word = rest.prefix { $0 != " " && $0 != "\t" && $0 != "#" && $0 != "\r" && $0 != "\r\n" }
        guard !word.isEmpty else { return nil }
        rest = rest.dropFirst(word.count)
        return String(word)
    }

    private static func takeQuoted(_ rest: inout Substring) -> String? {
        rest = rest.dropFirst()
        var value = ""
        while let character = rest.popFirst() {
            if character == "\\" {
                guard let escaped = rest.popFirst() else { return nil }
                let known: [Character: Character] = ["n": "\n", "t": "\t", "r": "\r", "b": "\u{8}", "f": "\u{c}"]
                value.append(known[escaped] ?? escaped)
            } else if character != "'" {
                value.append(character)
            } else if rest.first == "'" {
                value.append("'")
                rest = rest.dropFirst()
            } else {
                return value
            }
        }
        return nil
    }

    /// As PostgreSQL's configuration files and its connection strings do not share: here a quote is doubled.
    static func quoted(_ value: String) -> String {
        var text = ""
        for character in value {
            if character == "'" || character == "\\" { text.append(character) }
            text.append(character)
        }
        return "'\(text)'"
    }
}
