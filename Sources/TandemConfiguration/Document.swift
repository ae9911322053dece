import Yams

/// The text of a configuration and the tree that YAML makes of it, both with places.
struct Document {
    var file: String
    /// The lines as they stand in the file, for excerpts.
    var lines: [String]
    /// nil: the text holds nothing, or nothing that could be read (then there are problems).
    var root: Yams.Node.Mapping?
    var problems: [ConfigurationProblem] = []

    init(text: String, file: String) {
        self.file = file
        var text = text
        if text.unicodeScalars.first == "\u{FEFF}" { text.unicodeScalars.removeFirst() }
        lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map(String.init)
        var current = lines
        // Yams refuses the whole text for a key that is given twice, and names its first place only. So each round reports
        // one such key, renames the later ones and reads again: the other problems of the file are found in the same run.
        for _ in 0..<100 {
            do {
                try read(text)
                return
            } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
                guard report(duplicate: keys.first ?? "", at: Position(context.mark), current: &current) else { return }
                text = current.joined(separator: "\n")
            } catch let error as YamlError {
                report(error)
                return
            } catch {
                add("cannot be read as YAML: \(error)")
                return
            }
        }
    }

    /// Whether a key is the stand-in for one that was given twice, and reported.
    static func isRenamed(_ key: String) -> Bool {
        key.unicodeScalars.first.map { standIns.contains($0.value) } ?? false
    }

    /// The private use area of Unicode: printable for YAML, and in nobody's key.
    private static let standIns: ClosedRange<UInt32> = 0xE000...0xF8FF

    private mutating func read(_ text: String) throws {
        guard let node = try Yams.compose(yaml: text, .default, .default, .utf8) else { return addEmpty() }
        switch node {
        case .mapping(let mapping): root = mapping
        case .scalar(let scalar) where scalar.string.isEmpty && scalar.style == .plain: addEmpty()
        case .scalar, .sequence, .alias:
            add("the file must hold keys with values", at: node.position, advice: "Write lines like `cluster: orders`.")
        }
    }

    private mutating func addEmpty() {
        add("the configuration is empty", advice: "Begin with the documented example, docs/pgtandem.example.yml.")
    }

    /// Says where a key, first found at `first`, stands again, and renames the later ones in `current`; false if the places
    /// were not found.
    private mutating func report(duplicate key: String, at first: Position, current: inout [String]) -> Bool {
        let places = DuplicateKeys.places(of: key, line: first.line, column: first.column, lines: current)
        guard places.count > 1 else {
            add("`\(key)` is given more than once in one section", at: first, advice: "Keep one of them.")
            return false
        }
        for place in places.dropFirst() {
            add(
                "`\(key)` is given a second time; the first is in line \(first.line)",
                at: Position(line: place.line, column: place.column), advice: "Keep one of them.")
            var scalars = Array(current[place.line - 1].unicodeScalars)
            let name = Unicode.Scalar(Self.standIns.lowerBound + UInt32(problems.count)) ?? "\u{F8FF}"
            // As many scalars as before, so that the columns behind it stay right.
            for offset in 0..<place.length { scalars[place.column - 1 + offset] = offset == 0 ? name : "_" }
            current[place.line - 1] = String(String.UnicodeScalarView(scalars))
        }
        return true
    }

    private mutating func report(_ error: YamlError) {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            var message = "this is not YAML: \(problem)"
            if let context {
                message += " \(context.text)"
                if context.mark.line > 1 || context.mark.column > 1 { message += " that begins in line \(context.mark.line)" }
            }
            add(message, at: Position(mark), advice: advice(for: problem, at: Position(mark)))
        case .reader(let problem, let offset, _, let text):
            let before = offset.map { text.prefix($0) } ?? ""
            let line = before.count(where: \.isNewline) + 1
            let column =
                (before.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).last?.unicodeScalars.count ?? 0) + 1
            add("this is not YAML: \(problem)", at: Position(line: line, column: column), advice: "Remove the character.")
        case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded, .duplicatedKeysInMapping:
            add("cannot be read as YAML: \(error)")
        }
    }

    private func advice(for problem: String, at mark: Position) -> String? {
        let near = lines.prefix(mark.line).suffix(2)
        if near.contains(where: { $0.prefix(while: \.isWhitespace).contains("\t") }) {
            return "Indent with blanks; YAML allows no tabs."
        }
        if problem.contains("another document") { return "Keep one document; remove the line `---`." }
        if problem.contains("mapping values are not allowed") {
            return "Look for a missing line break, or a text with `: ` that needs quotes."
        }
        if problem.contains("expected ',' or") { return "Close the bracket, and quote texts that hold commas or colons." }
        if problem.contains("did not find expected key") { return "Look at the indentation here and above." }
        if problem.contains("cannot start any token") { return "Put the text in quotes." }
        return nil
    }

    private mutating func add(_ message: String, at mark: Position? = nil, advice: String? = nil) {
        let excerpt = mark.flatMap { lines.indices.contains($0.line - 1) ? lines[$0.line - 1] : nil }
        problems.append(
            ConfigurationProblem(
                file: file, line: mark?.line, column: mark?.column, message: message, advice: advice, excerpt: excerpt))
    }
}
