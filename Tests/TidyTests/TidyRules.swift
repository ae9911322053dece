/// Rules of style that a program can check (`docs/architecture.md`). Each answers with the places that break it.
///
/// Words that the rules look for are put together from parts, as these files are looked at too.
enum TidyRules {
    /// TandemCore is the same on every machine and in every simulation because it can reach nothing.
    static func imports(inTheCoreOf repository: Repository) -> [Violation] {
        let core = repository.files(under: "Sources/TandemCore/")
        let foreign = core.filter { !$0.path.hasSuffix(".swift") }.map { Violation(file: $0, line: 1, text: "not a Swift file") }
        return foreign
            + lines(of: core) { line in
                let code = line.trimmingPrefix(while: \.isWhitespace)
                return !code.hasPrefix("//") && code.split { " \t;".contains($0) }.contains("import")
            }
    }

    /// A file is read at once, or not at all.
    static func longFiles(in repository: Repository) -> [Violation] {
        repository.files.compactMap { file in
            guard [".swift", ".c", ".h"].contains(where: file.path.hasSuffix) else { return nil }
            let limit = file.path.hasPrefix("Sources/TandemCore/") ? 250 : 400
            // A text that ends in a line break has an empty last piece.
            let count = file.lines.last == "" ? file.lines.count - 1 : file.lines.count
            return count > limit ? Violation(file: file, line: limit + 1, text: "\(count) lines, limit \(limit)") : nil
        }
    }

    /// Errors are handled, and what is left for later is an issue, not a note.
    static func hiddenErrorsAndNotes(in repository: Repository) -> [Violation] {
        let words = ["try" + "!", "try" + "?", "TO" + "DO", "FIX" + "ME", "fatal" + "Error("]
        return lines(of: repository.files(under: "Sources/")) { line in words.contains { line.holds(word: $0) } }
    }

    /// A test polls a fact with a deadline (`SystemClock.wait`).
    static func sleeps(inTheTestsOf repository: Repository) -> [Violation] {
        let sleep = "sle" + "ep"
        let names = ["Task.\(sleep)", "Thread.\(sleep)", "u\(sleep)(", "nano\(sleep)(", "\(sleep)("]
        return lines(of: repository.files(under: "Tests/", suffix: ".swift")) { line in names.contains { line.holds(word: $0) } }
    }

    /// Which module owns these names differs from build to build (CLinux says why); a build on a fresh machine once failed so.
    static func namesThatABuildMayNotSee(in repository: Repository) -> [Violation] {
        let names = [
            "SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "MSG_", "IPPROTO_", "SHUT_RD", "SHUT_WR",
        ]
        let swift = repository.files(under: "Sources/", "Tests/", suffix: ".swift").filter {
            !$0.path.hasPrefix("Tests/TidyTests/")
        }
        return lines(of: swift) { line in
            // Behind a dot it is Python's, behind a letter the end of a longer name.
            names.contains { name in
                line.ranges(of: name).contains { place in
                    guard let before = line[..<place.lowerBound].last else { return true }
                    return before != "." && before != "_" && !before.isLetter
                }
            }
        }
    }

    /// The roles are called primary and standby.
    static func otherWordsForTheRoles(in repository: Repository) -> [Violation] {
        let words = ["mas" + "ter", "sla" + "ve"].flatMap { [$0, $0 + "s"] }
        return lines(of: repository.files(under: "Sources/", "docs/", "README")) { line in
            // The kernel's own word for the bridge that a port belongs to, as iproute2 takes it.
            let isBridge = line.contains("link set") || line.contains("\"link\", \"set\"")
            return !isBridge && words.contains { line.holds(word: $0, anyCase: true) }
        }
    }

    /// No file knows the machine that it was written on.
    static func machinePaths(in repository: Repository) -> [Violation] {
        let paths = ["work", "root", "home", "Users"].map { "/" + $0 + "/" }
        return lines(of: repository.files) { line in
            paths.contains { path in
                line.ranges(of: path).contains { range in
                    let before = range.lowerBound > line.startIndex ? line[line.index(before: range.lowerBound)] : " "
                    // Behind a letter or the like it is the middle of a longer path, or of an address.
                    return !before.isLetter && !before.isNumber && !"._-})/~".contains(before)
                }
            }
        }
    }

    /// A test that is switched off says why.
    static func unexplainedSwitches(in repository: Repository) -> [Violation] {
        let name = ".dis" + "abled"
        return repository.files(under: "Tests/", suffix: ".swift").flatMap { file in
            file.numberedLines.filter { number, line in
                guard let range = line.range(of: name), !(line[range.upperBound...].first?.isLetter ?? false) else {
                    return false
                }
                // The reason is a text in the parentheses, which may go on for two more lines.
                let rest = line[range.upperBound...] + file.lines[number..<min(file.lines.count, number + 2)].joined()
                return !(rest.hasPrefix("(") && rest.contains("\"") && !rest.hasPrefix("()") && !rest.hasPrefix("(\"\")"))
            }.map { Violation(file: file, line: $0.number, text: $0.text) }
        }
    }

    private static func lines(of files: [Repository.File], _ isWrong: (String) -> Bool) -> [Violation] {
        files.flatMap { file in
            file.numberedLines.filter { isWrong($0.text) }.map { Violation(file: file, line: $0.number, text: $0.text) }
        }
    }
}
