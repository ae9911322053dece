import Yams

/// One section of a configuration, and the ways to read a value from it. Each reports what is wrong and answers nil then.
struct Section {
    let reader: Reader
    /// `postgresql`; empty at the top level.
    let path: String
    /// Where the section's own key stands.
    let line: Int?
    let values: [String: Entry]
    /// The keys in the order of the file.
    let order: [String]
    /// It is known to be wrong as a whole: what it lacks need not be said too.
    var isBroken = false

    func fullKey(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    /// The value of a key, or its default when the key is not there; nil when what is there is wrong.
    func value<Value>(_ key: String, default byDefault: Value, _ parse: (String) throws(ValueError) -> Value) -> Value? {
        guard let entry = values[key] else { return byDefault }
        return scalar(key, entry, parse)?.value
    }

    /// The value of a key that must be there. `example`: the text after `key: `.
    func required<Value>(
        _ key: String, example: String, why: String? = nil, _ parse: (String) throws(ValueError) -> Value
    ) -> Placed<Value>? {
        guard let entry = values[key] else {
            reportMissing(key, example: example, why: why)
            return nil
        }
        return scalar(key, entry, parse)
    }

    /// A whole number: unlike the other values it may not be quoted.
    func number(_ key: String, default byDefault: Int, _ parse: (String) throws(ValueError) -> Int) -> Int? {
        if let entry = values[key], let scalar = entry.value.scalar, scalar.style != .plain, Int(scalar.string) != nil {
            reader.report(
                "is a text, and a number is wanted", at: entry.value.position, key: fullKey(key),
                advice: "Remove the quotes: `\(scalar.string)`.")
            return nil
        }
        return value(key, default: byDefault, parse)
    }

    /// One of a few words.
    func word<Value: RawRepresentable & CaseIterable>(_ key: String, default byDefault: Value) -> Value?
    where Value.RawValue == String {
        value(key, default: byDefault) { text throws(ValueError) in try Self.word(text) }
    }

    static func word<Value: RawRepresentable & CaseIterable>(_ text: String) throws(ValueError) -> Value
    where Value.RawValue == String {
        if let value = Value(rawValue: text) { return value }
        let words = Value.allCases.map(\.rawValue)
        let nearest = words.map { ($0, KnownKeys.editDistance(text.lowercased(), $0)) }.min { $0.1 < $1.1 }
        if let nearest, nearest.1 <= max(1, nearest.0.count / 3) {
            throw ValueError("`\(text)` is not one of the words that may stand here", advice: "Did you mean `\(nearest.0)`?")
        }
        let list = words.map { "`\($0)`" }.joined(separator: words.count == 2 ? " or " : ", ")
        throw ValueError("`\(text)` is not one of the words that may stand here", advice: "Write \(list).")
    }

    /// A list of at least one value. The key must be there.
    func list<Value>(_ key: String, example: String, _ parse: (String) throws(ValueError) -> Value) -> [Placed<Value>]? {
        guard let entry = values[key] else {
            reportMissing(key, example: example, why: nil)
            return nil
        }
        reader.remember(fullKey(key), at: entry.key)
        guard let sequence = entry.value.sequence else {
            let text = entry.value.scalar.map { entry.isEmpty ? example : "[\($0.string)]" } ?? example
            reader.report(
                "\(Self.kind(entry)) stands here, and a list is wanted", at: entry.value.position ?? entry.key, key: fullKey(key),
                advice: "Write `\(key): \(text)`.")
            return nil
        }
        guard !sequence.isEmpty else {
            reader.report("the list is empty", at: entry.value.position, key: fullKey(key), advice: "Write `\(key): \(example)`.")
            return nil
        }
        let items = sequence.map { scalar(key, Entry(key: entry.key, value: $0), parse, remembers: false) }
        return items.contains { $0 == nil } ? nil : items.compactMap(\.self)
    }

    /// A section below this one. One that is not there is read as an empty one, so that what is missing in it is said.
    func section(_ key: String) -> Section {
        let full = fullKey(key)
        guard let entry = values[key] else {
            return Section(reader: reader, path: full, line: nil, values: [:], order: [])
        }
        reader.remember(full, at: entry.key)
        let position = entry.key
        if let mapping = entry.value.mapping {
            return reader.section(mapping, path: full, schema: schema(of: full), line: position?.line)
        }
        if !entry.isEmpty {
            let keys = (KnownKeys.sections[schema(of: full) ?? ""] ?? []).first ?? "key"
            reader.report(
                "\(Self.kind(entry)) stands here, and a section is wanted", at: entry.value.position ?? position, key: full,
                advice: "Write its keys on lines of their own, indented: `\(keys): …`.")
        }
        return Section(reader: reader, path: full, line: position?.line, values: [:], order: [], isBroken: !entry.isEmpty)
    }

    /// A section that must be there. `example`: the whole section on one line.
    func requiredSection(_ key: String, example: String, why: String? = nil) -> Section {
        if values[key] == nil {
            reportMissing(key, example: example, why: why)
            return Section(reader: reader, path: fullKey(key), line: nil, values: [:], order: [], isBroken: true)
        }
        return section(key)
    }

    func reportMissing(_ key: String, example: String, why: String?) {
        let full = fullKey(key)
        if isBroken || reader.wasMisspelt(full) || (!path.isEmpty && reader.wasMisspelt(path)) { return }
        let text = "\(key): \(example)"
        let advice: String =
            if path.isEmpty {
                "Add the line `\(text)`."
            } else if line == nil {
                "Add the section `\(path):` and in it, indented, the line `\(text)`."
            } else {
                "Add to the section `\(path)` the line `\(text)`."
            }
        reader.report("is missing" + (why.map { ": \($0)" } ?? ""), line: line, key: full, advice: advice)
    }

    private func scalar<Value>(
        _ key: String, _ entry: Entry, _ parse: (String) throws(ValueError) -> Value, remembers: Bool = true
    ) -> Placed<Value>? {
        let full = fullKey(key)
        if remembers { reader.remember(full, at: entry.key) }
        guard !entry.isEmpty else {
            reader.report("has no value", at: entry.key, key: full, advice: "Write a value behind the colon.")
            return nil
        }
        guard let scalar = entry.value.scalar else {
            reader.report(
                "\(Self.kind(entry)) stands here, and one value is wanted", at: entry.value.position ?? entry.key, key: full)
            return nil
        }
        do {
            return Placed(value: try parse(scalar.string), key: full, position: entry.value.position ?? entry.key)
        } catch {
            reader.report(error.message, at: entry.value.position ?? entry.key, key: full, advice: error.advice)
            return nil
        }
    }

    private func schema(of path: String) -> String? { KnownKeys.sections[path] == nil ? nil : path }

    private static func kind(_ entry: Entry) -> String {
        switch entry.value {
        case .mapping: "a section"
        case .sequence: "a list"
        case .scalar, .alias: entry.isEmpty ? "nothing" : "a single value"
        }
    }
}
