/// Names and paths: what may stand in certificates, file names, SQL identifiers and kernel interfaces.
enum NameText {
    /// Cluster and node names become parts of certificates, file names and server names.
    static func name(_ text: String) throws(ValueError) -> String {
        let allowed = text.utf8.allSatisfy { isSmallOrDigit($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") }
        guard allowed, (1...63).contains(text.utf8.count), let first = text.utf8.first, isSmallOrDigit(first) else {
            throw ValueError(
                "`\(text)` is no name", advice: "Use 1 to 63 of a-z, 0-9, `_` and `-`, beginning with a letter or a digit.")
        }
        return text
    }

    /// A node's name; two words have another meaning where a node's name may stand.
    static func node(_ text: String) throws(ValueError) -> String {
        if text == "none" || text == "witness" {
            throw ValueError("no node may be called `\(text)`: the word means something else", advice: "Choose another name.")
        }
        return try name(text)
    }

    /// The name of a database or a role: at most 63 bytes (PostgreSQL manual, "Identifiers and Key Words"), no control
    /// characters.
    static func identifier(_ text: String) throws(ValueError) -> String {
        guard (1...63).contains(text.utf8.count) else {
            throw ValueError("a name in PostgreSQL has 1 to 63 bytes, and this one has \(text.utf8.count)")
        }
        try refuseControlCharacters(text)
        return text
    }

    static func database(_ text: String) throws(ValueError) -> String {
        if text == "template0" {
            throw ValueError("`template0` accepts no connections", advice: "Use `postgres`, or a database of your own.")
        }
        return try identifier(text)
    }

    static func role(_ text: String) throws(ValueError) -> String {
        if text.hasPrefix("pg_") || text == "public" || text == "none" {
            throw ValueError("`\(text)` is reserved in PostgreSQL", advice: "Use a name that does not begin with `pg_`.")
        }
        return try identifier(text)
    }

    static func systemUser(_ text: String) throws(ValueError) -> String {
        let first = text.utf8.first.map { isLetter($0) || $0 == UInt8(ascii: "_") } ?? false
        let rest = text.utf8.allSatisfy { isLetter($0) || isDigit($0) || "_-.".utf8.contains($0) }
        guard first, rest, text.utf8.count <= 32 else {
            throw ValueError(
                "`\(text)` is no user name", advice: "Give the name of an operating-system user, for example `postgres`.")
        }
        if text == "root" {
            throw ValueError(
                "PostgreSQL refuses to run as root", advice: "Name the owner of the data directory, for example `postgres`.")
        }
        return text
    }

    /// Linux: at most 15 bytes, no slash, no blank, no colon (dev_valid_name in the kernel).
    static func interface(_ text: String) throws(ValueError) -> String {
        let allowed = text.utf8.allSatisfy { $0 > 32 && $0 != 127 && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
        guard allowed, (1...15).contains(text.utf8.count), text != ".", text != ".." else {
            throw ValueError("`\(text)` is no network interface", advice: "Name one that `ip link` shows, for example `eth0`.")
        }
        return text
    }

    /// An absolute path; slashes at its end are dropped.
    static func path(_ text: String) throws(ValueError) -> String {
        guard text.hasPrefix("/") else {
            let reason = text.hasPrefix("~") ? "`~` is not expanded here" : "a service has no working directory to rely on"
            throw ValueError("`\(text)` is not an absolute path: \(reason)", advice: "Begin the path with `/`.")
        }
        try refuseControlCharacters(text)
        guard text.utf8.count < 4096 else { throw ValueError("the path is longer than 4095 bytes") }
        var path = text
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }

    /// nil for `none`.
    static func pathOrNone(_ text: String) throws(ValueError) -> String? { text == "none" ? nil : try path(text) }

    /// The path of a Unix socket: the kernel keeps 107 bytes of it (unix(7)); `name` is what will be added.
    static func socket(_ text: String, adding name: String = "") throws(ValueError) -> String {
        let path = try path(text)
        let length = path.utf8.count + name.utf8.count
        guard length <= 107 else {
            throw ValueError(
                "the socket's path would have \(length) bytes, and 107 are possible", advice: "Choose a shorter folder.")
        }
        return path
    }

    private static func refuseControlCharacters(_ text: String) throws(ValueError) {
        guard text.unicodeScalars.allSatisfy({ $0.value >= 32 && $0.value != 127 }) else {
            throw ValueError("the text holds a control character or a line break", advice: "Write it on one line.")
        }
    }

    private static func isSmallOrDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || isDigit(byte)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }
}
