/// Finds where a key stands in one section of a YAML text; Yams says that a key is there twice, but not where.
enum DuplicateKeys {
    /// Line and column from 1 of the key's first character, and its length, in Unicode scalars.
    struct Place: Hashable {
        var line: Int
        var column: Int
        var length: Int
    }

    /// Every place of `key` in its section, in order, from the first one, which is at `line` and `column`; empty where the text
    /// is more artful than this search.
    static func places(of key: String, line: Int, column: Int, lines: [String]) -> [Place] {
        guard lines.indices.contains(line - 1), column >= 1, !key.isEmpty else { return [] }
        let before = lines[line - 1].unicodeScalars.prefix(column - 1).last { $0 != " " }
        // In braces a key may be the first on its line; then the line above ends in `{` or `,`.
        let earlier = before ?? lines.prefix(line - 1).last { $0.contains { $0 != " " } }?.unicodeScalars.last { $0 != " " }
        return earlier == "{" || earlier == ","
            ? inBraces(Array(key.unicodeScalars), line: line, column: column, lines: lines)
            : inBlock(Array(key.unicodeScalars), line: line, column: column, lines: lines)
    }

    /// A block: its keys stand at the same column, until a line stands further left.
    private static func inBlock(_ key: [Unicode.Scalar], line: Int, column: Int, lines: [String]) -> [Place] {
        var places: [Place] = []
        for number in line...lines.count {
            let scalars = Array(lines[number - 1].unicodeScalars)
            let indent = number == line ? column - 1 : scalars.prefix { $0 == " " }.count
            if indent >= scalars.count || scalars[indent] == "#" { continue }
            if indent < column - 1 { break }
            if indent == column - 1, let place = match(key, scalars, at: indent, line: number) { places.append(place) }
        }
        return places
    }

    /// Braces: keys follow `{` and `,` at the first level.
    private static func inBraces(_ key: [Unicode.Scalar], line: Int, column: Int, lines: [String]) -> [Place] {
        var places: [Place] = []
        var depth = 1
        var quote: Unicode.Scalar?
        var awaitsKey = true
        for number in line...lines.count {
            let scalars = Array(lines[number - 1].unicodeScalars)
            var index = number == line ? column - 1 : 0
            while index < scalars.count {
                let scalar = scalars[index]
                if quote == nil, scalar == "#", index == 0 || scalars[index - 1] == " " { break }
                if awaitsKey, depth == 1, scalar != " ", let place = match(key, scalars, at: index, line: number) {
                    places.append(place)
                }
                if scalar != " " { awaitsKey = false }
                if let open = quote {
                    if scalar == open { quote = nil }
                } else {
                    switch scalar {
                    case "\"", "'": quote = scalar
                    case "{", "[":
                        depth += 1
                        awaitsKey = true
                    case "}", "]":
                        depth -= 1
                        if depth == 0 { return places }
                    case ",": awaitsKey = true
                    default: break
                    }
                }
                index += 1
            }
        }
        return places
    }

    /// `key:` or `"key":` at this place.
    private static func match(_ key: [Unicode.Scalar], _ scalars: [Unicode.Scalar], at index: Int, line: Int) -> Place? {
        var start = index
        let quote: Unicode.Scalar? = scalars[index] == "\"" || scalars[index] == "'" ? scalars[index] : nil
        if quote != nil { start += 1 }
        guard start + key.count <= scalars.count, Array(scalars[start..<start + key.count]) == key else { return nil }
        var end = start + key.count
        if let quote {
            guard end < scalars.count, scalars[end] == quote else { return nil }
            end += 1
        }
        while end < scalars.count, scalars[end] == " " { end += 1 }
        guard end < scalars.count, scalars[end] == ":" else { return nil }
        return Place(line: line, column: start + 1, length: key.count)
    }
}
