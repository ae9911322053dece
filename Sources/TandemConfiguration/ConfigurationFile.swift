import Glibc
import TandemSystem

extension Configuration {
    /// The longest file that is read: a configuration is a page long, so more is a mistake in the path.
    public static let sizeLimit = 1 << 20

    /// Reads a configuration from a file. Errors: every problem of the file, with places.
    public static func load(path: String) throws(ConfigurationErrors) -> Configuration {
        let bytes: [UInt8]
        let othersMayWrite: Bool
        do throws(ConfigurationProblem.Failure) {
            (bytes, othersMayWrite) = try readFile(path)
        } catch {
            throw ConfigurationErrors(file: path, problems: [error.problem])
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            let before = bytes.prefix(firstInvalidByte(bytes))
            let line = before.count { $0 == UInt8(ascii: "\n") } + 1
            let problem = ConfigurationProblem(
                file: path, line: line, message: "the file is not UTF-8", advice: "Save it in the encoding UTF-8.")
            throw ConfigurationErrors(file: path, problems: [problem])
        }
        var configuration = try parse(text: text, file: path)
        if othersMayWrite {
            // The file names programs and folders that root uses.
            let message = "every user of this host may change it"
            configuration.warnings.append(
                ConfigurationProblem(.warning, file: path, message: message, advice: "Run `chmod o-w \(path)`."))
        }
        return configuration
    }

    /// Reads a configuration from a text. `file` is only its name, for messages and origins.
    public static func parse(text: String, file: String) throws(ConfigurationErrors) -> Configuration {
        let document = Document(text: text, file: file)
        // Without a tree every required key would be reported as missing, which says nothing.
        guard document.root != nil else { throw ConfigurationErrors(file: file, problems: document.problems) }
        let builder = ConfigurationReader(document)
        let configuration = builder.configuration()
        let problems = builder.reader.sortedProblems
        guard var configuration, problems.allSatisfy({ $0.severity == .warning }) else {
            throw ConfigurationErrors(file: file, problems: problems)
        }
        configuration.warnings = problems
        return configuration
    }

    private static func readFile(_ path: String) throws(ConfigurationProblem.Failure) -> ([UInt8], othersMayWrite: Bool) {
        func failure(_ message: String, _ advice: String? = nil) -> ConfigurationProblem.Failure {
            ConfigurationProblem.Failure(problem: ConfigurationProblem(file: path, message: message, advice: advice))
        }
        // Not blocking: a FIFO without a writer must not hold up the start.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let error = SystemError.last("open \(path)")
            switch error.code {
            case ENOENT:
                throw failure(
                    "there is no such file", "Name the right one with --config, or begin with docs/pgtandem.example.yml.")
            case EACCES: throw failure("this user may not read it", "Run as root or as the owner of the data directory.")
            default: throw failure("cannot be opened: \(error.reason)")
            }
        }
        defer { close(descriptor) }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0 else {
            throw failure("cannot be looked at: \(SystemError.last("look at \(path)").reason)")
        }
        switch facts.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: throw failure("is a directory", "Name the file in it, for example \(path)/pgtandem.yml.")
        default: throw failure("is not a regular file")
        }
        guard facts.st_size <= sizeLimit else {
            throw failure(
                "has \(facts.st_size) bytes; a configuration has at most \(SizeText.text(Int64(sizeLimit)))", "Look at the path.")
        }
        var bytes = [UInt8](repeating: 0, count: sizeLimit + 1)
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress?.advanced(by: count), $0.count - count) }
            if got == 0 { break }
            if got < 0 {
                let error = SystemError.last("read \(path)")
                if error.code == EINTR { continue }
                throw failure("cannot be read: \(error.reason)")
            }
            count += got
        }
        guard count <= sizeLimit else { throw failure("grew beyond \(SizeText.text(Int64(sizeLimit))) while it was read") }
        return (Array(bytes.prefix(count)), facts.st_mode & S_IWOTH != 0)
    }

    /// Where the longest valid beginning ends.
    private static func firstInvalidByte(_ bytes: [UInt8]) -> Int {
        var low = 0
        for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "\n") {
            guard String(validating: bytes[low...index], as: UTF8.self) != nil else { return low }
            low = index + 1
        }
        return low
    }
}

extension ConfigurationProblem {
    /// One problem that ends the reading at once.
    struct Failure: Error {
        var problem: ConfigurationProblem
    }
}
