import Glibc
import TandemSystem

/// The machine's own tools (ip, nft, nsenter), found once per call in the usual places.
enum Command {
    private static let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]

    /// The tool's path.
    /// - Throws: with the name of the package to install.
    static func path(_ name: String, package: String) throws(LabError) -> String {
        for place in places where access("\(place)/\(name)", X_OK) == 0 { return "\(place)/\(name)" }
        throw LabError(
            attempted: "find the program \(name)", happened: "it is not installed",
            advice: "Install the package \(package).")
    }

    /// Runs to the end; anything but exit status 0 within the deadline is an error that carries the tool's words.
    @discardableResult
    static func run(
        _ path: String, _ arguments: [String], input: String = "", deadline: Duration = .seconds(10)
    ) throws(LabError) -> String {
        var tool = Tool(path, arguments)
        tool.input = Array(input.utf8)
        let ordered = tool
        let result = try asLabError { () throws(SystemError) in try ordered.run(deadline: deadline) }
        guard result.succeeded else {
            let words = result.errors.split(whereSeparator: \.isNewline).joined(separator: "; ")
            throw LabError(
                attempted: "run \(path) \(arguments.joined(separator: " "))\(input.isEmpty ? "" : " (\(input))")",
                happened: "\(result.ending) \(words)")
        }
        return result.output
    }
}
