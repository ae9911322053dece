import Yams

/// Walks over the sections of a document and keeps what it finds wrong; the caller goes on with the next value.
final class Reader {
    let document: Document
    private(set) var problems: [ConfigurationProblem]
    private(set) var origins: [String: ValueOrigin] = [:]
    /// Keys that an unknown key was probably meant to be: that they are missing too need not be said.
    private var misspelt: Set<String> = []

    init(_ document: Document) {
        self.document = document
        problems = document.problems
    }

    func root() -> Section { section(document.root ?? Yams.Node.Mapping([]), path: "", schema: "", line: nil) }

    /// One section: its values by key, after unknown keys are reported. `line`: where the section's own key stands.
    func section(_ mapping: Yams.Node.Mapping, path: String, schema: String?, line: Int?) -> Section {
        var values: [String: Entry] = [:]
        for (keyNode, value) in mapping {
            guard let key = keyNode.scalar?.string else {
                report("a key must be a plain word", at: keyNode.position, key: path.isEmpty ? nil : path)
                continue
            }
            if Document.isRenamed(key) { continue }
            if let schema, !(KnownKeys.sections[schema]?.contains(key) ?? true) {
                refuse(key, at: keyNode.position, path: path, schema: schema)
                continue
            }
            values[key] = Entry(key: keyNode.position, value: value)
        }
        return Section(reader: self, path: path, line: line, values: values, order: mapping.compactMap(\.key.scalar?.string))
    }

    private func refuse(_ key: String, at position: Position?, path: String, schema: String) {
        let full = path.isEmpty ? key : "\(path).\(key)"
        if KnownKeys.isLater(key, in: schema) {
            return report(
                "is known, but not in this version of pgtandem: nothing would act on it", at: position, key: full,
                advice: "Remove it.")
        }
        switch KnownKeys.suggestion(for: key, in: schema) {
        case .spelling(let right):
            misspelt.insert(path.isEmpty ? right : "\(path).\(right)")
            report("unknown key", at: position, key: full, advice: "Did you mean `\(right)`?")
        case .place(let section) where section.isEmpty:
            misspelt.insert(key)
            report(
                "unknown key here", at: position, key: full, advice: "`\(key)` stands at the top level: remove its indentation.")
        case .place(let section):
            misspelt.insert("\(section).\(key)")
            report("unknown key here", at: position, key: full, advice: "`\(key)` belongs to `\(section)`.")
        case nil:
            let keys = (KnownKeys.sections[schema] ?? []).joined(separator: ", ")
            let name = path.isEmpty ? "The keys at the top level are" : "The keys of `\(path)` are"
            report("unknown key", at: position, key: full, advice: "\(name) \(keys).")
        }
    }

    func wasMisspelt(_ key: String) -> Bool { misspelt.contains(key) }

    func remember(_ key: String, at position: Position?) {
        guard let position else { return }
        origins[key] = .file(document.file, line: position.line)
    }

    func report(
        _ message: String, at position: Position?, key: String?, advice: String? = nil,
        severity: ConfigurationProblem.Severity = .error
    ) {
        report(message, line: position?.line, column: position?.column, key: key, advice: advice, severity: severity)
    }

    func report(
        _ message: String, line: Int?, column: Int? = nil, key: String?, advice: String? = nil,
        severity: ConfigurationProblem.Severity = .error
    ) {
        let excerpt = line.flatMap { document.lines.indices.contains($0 - 1) ? document.lines[$0 - 1] : nil }
        problems.append(
            ConfigurationProblem(
                severity, file: document.file, line: line, column: column, key: key, message: message, advice: advice,
                excerpt: excerpt))
    }

    /// In the order of the file; what has no place comes last.
    var sortedProblems: [ConfigurationProblem] {
        problems.enumerated().sorted { a, b in
            let left = (a.element.line ?? Int.max, a.element.column ?? 0, a.offset)
            return left < (b.element.line ?? Int.max, b.element.column ?? 0, b.offset)
        }.map(\.element)
    }
}

/// A key and its value, with places.
struct Entry {
    var key: Position?
    var value: Yams.Node

    /// `key:` with nothing behind it, or `~`.
    var isEmpty: Bool {
        guard let scalar = value.scalar, scalar.style == .plain else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }
}

/// A value with its place, for checks that concern several values.
struct Placed<Value> {
    var value: Value
    /// The key's path.
    var key: String
    var position: Position?
}
