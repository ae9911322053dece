import TandemSystem

/// How `pg_hba.conf` lets the superuser in through the Unix socket: the agent needs that, and adds nothing for it.
public enum LocalAccess: Hashable, Sendable {
    case works(method: String)
    case refused(line: Int, method: String)
    /// No line matches: PostgreSQL refuses.
    case noLine
    /// The file uses something that only the server can resolve (a map, a list in a file, a group).
    case unknown

    /// Looks at the file, without a server.
    /// - Throws: if the superuser surely cannot get in.
    @discardableResult
    public static func require(_ settings: InstanceSettings, hbaFile: String? = nil) throws(PostgresError) -> LocalAccess {
        let path = hbaFile ?? settings.effectiveHBAFile
        let attempted = "check in \(path) that \(settings.superuser) gets in through the Unix socket"
        guard let bytes = try KeptFile(path: path, user: nil).read(attempted) else {
            throw PostgresError(
                attempted: attempted, happened: "There is no such file.", meaning: "Nothing was changed.",
                advice: "Correct `postgresql.hba_file`.")
        }
        let user = settings.osUser ?? Privileges.userName(of: Privileges.ourUserID) ?? settings.superuser
        let found = of(bytes, database: settings.database, superuser: settings.superuser, osUser: user)
        let happened: String
        switch found {
        case .works, .unknown: return found
        case .refused(let line, let method): happened = "Line \(line) asks for \(method)."
        case .noLine: happened = "No line of type local matches."
        }
        throw PostgresError(
            attempted: attempted, happened: happened, meaning: "The agent, which runs as \(user), could not reach its server.",
            advice: "Add `local all \(settings.superuser) peer` as its first line, and reload PostgreSQL.")
    }

    static func of(_ bytes: [UInt8], database: String, superuser: String, osUser: String) -> LocalAccess {
        for (index, line) in ConfigText(bytes).lines.enumerated() {
            let fields = fields(line)
            guard let kind = fields.first?.first else { continue }
            if kind.text.hasPrefix("include") || kind.text.hasPrefix("@") { return .unknown }
            guard kind.text == "local", fields.count > 3 else { continue }
            guard let database = matches(fields[1], name: database, isDatabase: true, user: superuser),
                let user = matches(fields[2], name: superuser, isDatabase: false, user: superuser)
            else { return .unknown }
            guard database, user else { continue }
            let method = fields[3].first?.text ?? ""
            switch method {
            case "trust": return .works(method: method)
            case "peer", "ident":
                if fields.dropFirst(4).joined().contains(where: { $0.text.hasPrefix("map=") }) { return .unknown }
                return osUser == superuser ? .works(method: method) : .refused(line: index + 1, method: method)
            default: return .refused(line: index + 1, method: method)
            }
        }
        return .noLine
    }

    struct Word: Equatable {
        var text: String
        var isQuoted: Bool
    }

    /// nil: it cannot be told here.
    private static func matches(_ words: [Word], name: String, isDatabase: Bool, user: String) -> Bool? {
        var isUnsure = false
        for word in words {
            if word.text == name, word.isQuoted || !(isDatabase && word.text == "replication") { return true }
            if word.isQuoted { continue }
            if word.text == "all" { return true }
            if isDatabase, word.text == "sameuser", name == user { return true }
            if "@+/".contains(word.text.first ?? " ") || word.text == "samerole" || word.text == "samegroup" { isUnsure = true }
        }
        return isUnsure ? nil : false
    }

    /// Fields are parted by blanks, words of a field by commas.
    static func fields(_ line: [UInt8]) -> [[Word]] {
        var fields: [[Word]] = []
        var words: [Word] = []
        var word: Word?
        var isInQuotes = false
        func closeWord() {
            if let word { words.append(word) }
            word = nil
        }
        func closeField() {
            closeWord()
            if !words.isEmpty { fields.append(words) }
            words = []
        }
        scan: for character in String(decoding: line, as: UTF8.self) {
            switch character {
            case "\"":
                isInQuotes.toggle()
                word = Word(text: word?.text ?? "", isQuoted: true)
            case "#" where !isInQuotes: break scan
            case "," where !isInQuotes: closeWord()
            case " " where !isInQuotes, "\t" where !isInQuotes, "\r" where !isInQuotes:
                // "a, b" is one field.
                if word != nil || words.isEmpty { closeField() }
            default: word = Word(text: (word?.text ?? "") + String(character), isQuoted: word?.isQuoted ?? false)
            }
        }
        closeField()
        return fields
    }
}
