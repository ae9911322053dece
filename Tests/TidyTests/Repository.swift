import Foundation

/// The files of this repository, as a reader of it sees them.
struct Repository {
    /// One text file: its path from the root, and its lines.
    struct File {
        var path: String
        var lines: [String]

        /// Numbers from 1, as compilers print them.
        var numberedLines: [(number: Int, text: String)] { lines.enumerated().map { ($0.offset + 1, $0.element) } }
    }

    let root: URL
    let files: [File]

    /// From the place of this file upwards to the folder that holds Package.swift.
    static func find(from path: String = #filePath) throws -> Repository {
        var folder = URL(fileURLWithPath: path).resolvingSymlinksInPath().deletingLastPathComponent()
        while !FileManager.default.fileExists(atPath: folder.appendingPathComponent("Package.swift").path) {
            guard folder.path != "/" else { throw CocoaError(.fileNoSuchFile) }
            folder.deleteLastPathComponent()
        }
        return try Repository(root: folder)
    }

    init(root: URL) throws {
        self.root = root
        var files: [File] = []
        for path in try Self.paths(in: root.path, below: "") {
            let bytes = try Data(contentsOf: root.appendingPathComponent(path))
            // Pictures and the like hold zero bytes; what is larger than this was not written by a person.
            guard bytes.count < 4 << 20, !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else { continue }
            files.append(File(path: path, lines: text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)))
        }
        self.files = files.sorted { $0.path < $1.path }
    }

    /// What .gitignore names is not part of the repository. Git itself is not asked: a source archive has none.
    private static func paths(in folder: String, below prefix: String) throws -> [String] {
        var paths: [String] = []
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            if name == ".git" || name == "Package.resolved" || name.hasPrefix(".build") || name.hasSuffix(".orig") { continue }
            let path = folder + "/" + name
            let kind = try FileManager.default.attributesOfItem(atPath: path)[.type] as? FileAttributeType
            if kind == .typeDirectory {
                paths += try Self.paths(in: path, below: prefix + name + "/")
            } else if kind == .typeRegular, !name.hasPrefix("core.") {
                paths.append(prefix + name)
            }
        }
        return paths
    }

    func files(under folders: String..., suffix: String = "") -> [File] {
        files.filter { file in folders.contains { file.path.hasPrefix($0) } && file.path.hasSuffix(suffix) }
    }
}

/// One place that breaks a rule, printed so that an editor finds it.
struct Violation: CustomStringConvertible {
    var file: Repository.File
    var line: Int
    var text: String

    var description: String { "\(file.path):\(line): \(text)" }
}

extension String {
    /// Whether the text holds this word, not as a part of another word. Letters of both cases are equal if `anyCase`.
    func holds(word: String, anyCase: Bool = false) -> Bool {
        let text = anyCase ? lowercased() : self
        var start = text.startIndex
        while let found = text.range(of: word, range: start..<text.endIndex) {
            let before = found.lowerBound > text.startIndex ? text[text.index(before: found.lowerBound)] : " "
            let after = found.upperBound < text.endIndex ? text[found.upperBound] : " "
            if !Self.continuesWord(before), !(word.last.map(Self.continuesWord) ?? false && Self.continuesWord(after)) {
                return true
            }
            start = found.upperBound
        }
        return false
    }

    private static func continuesWord(_ character: Character) -> Bool {
        character.isLetter || character.isNumber || character == "_"
    }
}
