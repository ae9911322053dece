import Foundation

@testable import TandemConfiguration

/// A configuration with nothing but what must be said, and ways to change it.
enum Fixture {
    static let minimal = """
        cluster: orders
        node: a
        nodes:
          a: { addresses: [10.77.0.11] }
          b: { addresses: [10.77.0.12] }
        virtual_addresses:
          interface: eth0
          primary: [10.77.0.100]
          standby: [10.77.0.101]
        arbiter: { kind: manual }
        postgresql:
          data_directory: /var/lib/postgresql/15/main

        """

    /// The minimal configuration with one text replaced by another.
    static func replacing(_ old: String, _ new: String) -> String {
        precondition(minimal.contains(old), "the fixture has no \(old)")
        return minimal.replacing(old, with: new)
    }

    static func parse(_ text: String) throws(ConfigurationErrors) -> Configuration {
        try Configuration.parse(text: text, file: "pair.yml")
    }

    /// What is found wrong with a text; empty when nothing is.
    static func problems(_ text: String) -> [ConfigurationProblem] {
        do {
            return try parse(text).warnings
        } catch {
            return error.problems
        }
    }

    /// From #filePath: the folder that holds Package.swift.
    static func repositoryFile(_ path: String) -> String {
        var folder = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent()
        while folder.path != "/", !FileManager.default.fileExists(atPath: folder.appendingPathComponent("Package.swift").path) {
            folder.deleteLastPathComponent()
        }
        return folder.appendingPathComponent(path).path
    }
}
