/// One thing that is wrong, or doubtful, in a configuration: where it stands, what it is, what to do.
public struct ConfigurationProblem: Hashable, Sendable {
    public enum Severity: String, Hashable, Sendable {
        /// The configuration is not used.
        case error
        /// The configuration is used; a person should look.
        case warning
    }

    public var severity: Severity
    /// The file as the user named it.
    public var file: String
    /// Line from 1; nil: the problem has no place in the file (a key that is missing, a file that cannot be read).
    public var line: Int?
    /// Column from 1, counted in Unicode scalars.
    public var column: Int?
    /// The key's path, for example `postgresql.port`; nil for problems of the file itself.
    public var key: String?
    /// What is wrong, one sentence without a full stop.
    public var message: String
    /// What to do, one imperative sentence.
    public var advice: String?
    /// The line of the file, to be shown with a caret under `column`.
    public var excerpt: String?

    public init(
        _ severity: Severity = .error, file: String, line: Int? = nil, column: Int? = nil, key: String? = nil, message: String,
        advice: String? = nil, excerpt: String? = nil
    ) {
        self.severity = severity
        self.file = file
        self.line = line
        self.column = column
        self.key = key
        self.message = message
        self.advice = advice
        self.excerpt = excerpt
    }
}

extension ConfigurationProblem: CustomStringConvertible {
    /// The form that compilers use, so that editors find the place:
    ///
    ///     pgtandem.yml:14:3: error: postgresql.prot: unknown key
    ///       14 |   prot: 5432
    ///          |   ^
    ///       → Did you mean `port`?
    public var description: String {
        var place = file
        if let line { place += ":\(line)" }
        if line != nil, let column { place += ":\(column)" }
        var text = "\(place): \(severity.rawValue): "
        if let key { text += "\(key): " }
        text += message
        if let line, let excerpt {
            let number = String(line)
            let margin = String(repeating: " ", count: number.count)
            text += "\n  \(number) | \(excerpt)"
            if let column {
                // Tabs stay tabs, so that the caret stands under its column however wide a tab is shown.
                let indent = excerpt.unicodeScalars.prefix(max(0, column - 1)).map { $0 == "\t" ? "\t" : " " }.joined()
                text += "\n  \(margin) | \(indent)^"
            }
        }
        if let advice { text += "\n  → \(advice)" }
        return text
    }
}

/// Why a configuration is not used: every problem that was found, not only the first, in the order of the file.
public struct ConfigurationErrors: Error, Hashable, Sendable {
    /// The file as the user named it.
    public var file: String
    /// At least one of them is an error; warnings may be among them.
    public var problems: [ConfigurationProblem]

    public init(file: String, problems: [ConfigurationProblem]) {
        self.file = file
        self.problems = problems
    }
}

extension ConfigurationErrors: CustomStringConvertible {
    public var description: String {
        let errors = problems.count { $0.severity == .error }
        let warnings = problems.count - errors
        var summary = "\(file): \(errors) error\(errors == 1 ? "" : "s")"
        if warnings > 0 { summary += ", \(warnings) warning\(warnings == 1 ? "" : "s")" }
        return (problems.map(\.description) + [summary]).joined(separator: "\n")
    }
}

/// Where a value comes from, for `config show`.
public enum ValueOrigin: Hashable, Sendable, CustomStringConvertible {
    /// It stands in the file.
    case file(String, line: Int)
    /// It is not in the file; the documented default holds.
    case byDefault

    public var description: String {
        switch self {
        case .file(let file, let line): "\(file):\(line)"
        case .byDefault: "default"
        }
    }
}
