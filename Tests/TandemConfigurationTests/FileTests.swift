import Foundation
import Testing

@testable import TandemConfiguration

/// A folder for one test, removed with it.
final class TemporaryFolder {
    let path: String

    init() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pgtandem-configuration-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        path = folder.path
    }

    deinit {
        do { try FileManager.default.removeItem(atPath: path) } catch { Issue.record("left behind: \(path): \(error)") }
    }

    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = path + "/" + name
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return path
    }
}

@Suite struct FileTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func failure(_ path: String) -> String {
        let error = #expect(throws: ConfigurationErrors.self) { try Configuration.load(path: path) }
        return error?.description ?? ""
    }

    @Test func aFileIsReadAndNamedAsTheOriginOfItsValues() throws {
        let path = try folder.file("pair.yml", Array((Fixture.minimal + "agent_port: 7433\n").utf8))
        let configuration = try Configuration.load(path: path)
        #expect(configuration.file == path)
        #expect(configuration.origin(of: "agent_port").description == "\(path):13")
        #expect(configuration.origin(of: "postgresql.data_directory") == .file(path, line: 12))
        #expect(configuration.origin(of: "nodes.b.addresses") == .file(path, line: 5))
        #expect(configuration.origin(of: "log.level").description == "default")
    }

    @Test func aFileThatEveryUserMayChangeIsWarnedOf() throws {
        let path = try folder.file("pair.yml", Array(Fixture.minimal.utf8))
        #expect(try Configuration.load(path: path).warnings.isEmpty)
        try #require(chmod(path, 0o666) == 0)
        #expect(try Configuration.load(path: path).warnings.map(\.severity) == [.warning])
    }

    @Test func aFileThatIsNotThereIsCalledMissing() {
        let text = failure(folder.path + "/none.yml")
        #expect(text.contains("there is no such file") && text.contains("--config"))
    }

    @Test func aDirectoryIsNotAFile() { #expect(failure(folder.path).contains("is a directory")) }

    @Test func aPipeIsNotAFileAndDoesNotHoldUpTheReader() throws {
        let path = folder.path + "/pipe"
        try #require(mkfifo(path, 0o600) == 0)
        #expect(failure(path).contains("not a regular file"))
    }

    @Test func anEmptyFileIsCalledEmpty() throws { #expect(try failure(folder.file("empty", [])).contains("is empty")) }

    @Test func aFileOfMoreThanAMegabyteIsNotRead() throws {
        let path = try folder.file("large", [UInt8](repeating: UInt8(ascii: "#"), count: Configuration.sizeLimit + 1))
        #expect(failure(path).contains("at most 1MB"))
        let largest =
            Array(Fixture.minimal.utf8)
            + [UInt8](repeating: UInt8(ascii: "#"), count: Configuration.sizeLimit - Fixture.minimal.utf8.count)
        #expect(try Configuration.load(path: folder.file("largest", largest)).cluster == "orders")
    }

    @Test func textThatIsNotUTF8IsShownWithItsLine() throws {
        let path = try folder.file("latin1", Array("a: 1\nb: caf".utf8) + [0xE9, 0x0A])
        #expect(failure(path).contains(":2: error: the file is not UTF-8"))
    }

    @Test(.enabled(if: geteuid() == 0, "only root can become another user")) func aFileThatMayNotBeReadIsCalledSo() async throws {
        // In a process of its own, as the user belongs to the whole process.
        await #expect(processExitsWith: .success) {
            let folder = try TemporaryFolder()
            let path = try folder.file("pair.yml", Array(Fixture.minimal.utf8))
            try #require(chmod(path, 0) == 0 && seteuid(65534) == 0)
            defer { seteuid(0) }
            let error = #expect(throws: ConfigurationErrors.self) { try Configuration.load(path: path) }
            #expect(error?.description.contains("may not read it") == true)
        }
    }
}

@Suite(.enabled(if: geteuid() == 0, "only root can give files to others"))
struct SecretFileTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func check(owner: String, group: String, mode: mode_t) throws -> String? {
        let path = try folder.file("secret", [])
        let user = try #require(getpwnam(owner)).pointee.pw_uid
        let group = try #require(getgrnam(group)).pointee.gr_gid
        try #require(chown(path, user, group) == 0 && chmod(path, mode) == 0)
        return SecretFiles.check(path, "daemon", key: "replication.password_file").map(\.description)
    }

    @Test(arguments: [
        ("daemon", "daemon", 0o600), ("daemon", "root", 0o400), ("root", "daemon", 0o640), ("root", "daemon", 0o440),
    ])
    func aSecretThatOnlyItsUserCanReadIsFine(owner: String, group: String, mode: Int) throws {
        #expect(try check(owner: owner, group: group, mode: mode_t(mode)) == nil)
    }

    @Test(arguments: [
        ("daemon", "daemon", 0o640, "mode 0640", "chmod 0600"), ("daemon", "daemon", 0o604, "mode 0604", "chmod 0600"),
        ("daemon", "daemon", 0o200, "its owner cannot read it", "chmod 0600"),
        ("root", "daemon", 0o644, "mode 0644", "chmod 0640"), ("root", "daemon", 0o660, "mode 0660", "chmod 0640"),
        ("root", "root", 0o600, "cannot read it", "chown daemon: "),
        ("root", "daemon", 0o600, "cannot read it", "chown daemon: "),
        ("bin", "daemon", 0o600, "belongs to `bin`", "chown daemon: "),
    ])
    func aSecretOthersCanUseIsAnsweredWithTheRemedy(owner: String, group: String, mode: Int, says: String, remedy: String) throws
    {
        let text = try check(owner: owner, group: group, mode: mode_t(mode)) ?? ""
        #expect(text.contains(says) && text.contains(remedy + (remedy.hasSuffix(" ") ? "" : " ") + folder.path), "\(text)")
    }

    /// As `tls create` makes it, copied by root.
    @Test func aFolderThatOnlyRootCanEnterIsAnsweredWithTheRemedy() throws {
        for (mode, isFine) in [(0o700, false), (0o750, false), (0o751, true)] as [(mode_t, Bool)] {
            try #require(chmod(folder.path, mode) == 0)
            let text = try check(owner: "daemon", group: "daemon", mode: 0o600)
            #expect((text == nil) == isFine, "\(String(mode, radix: 8)): \(text ?? "")")
            #expect(text?.contains("pass through that folder") != false, "\(text ?? "")")
            let keys = SecretFiles.check(folder.path + "/secret", "daemon", key: "tls.directory")
            #expect(keys?.advice == (isFine ? nil : "Run `chown -R daemon: \(folder.path)`."))
        }
        let owner = try #require(getpwnam("daemon")).pointee
        try #require(chown(folder.path, owner.pw_uid, owner.pw_gid) == 0 && chmod(folder.path, 0o700) == 0)
        #expect(try check(owner: "daemon", group: "daemon", mode: 0o600) == nil)
    }

    @Test func missingFilesUsersAndStrangeKindsAreToldApart() {
        #expect(SecretFiles.check(folder.path + "/none", "daemon")?.message == "there is no such file")
        #expect(SecretFiles.check(folder.path, "daemon")?.message == "is not a regular file")
        #expect(SecretFiles.check(folder.path, "nobody-of-this-name")?.message.contains("there is no user") == true)
    }

    @Test func theSecretsOfAConfigurationAreFoundByTheirKeys() throws {
        let text = Fixture.minimal + "replication: { password_file: \(folder.path)/pass }\ntls: { directory: \(folder.path) }\n"
        let configuration = try Fixture.parse(text.replacing("main\n", with: "main\n  os_user: daemon\n"))
        let all = ["replication.password_file", "tls.directory", "tls.directory", "tls.directory"]
        #expect(SecretFiles.check(configuration).map(\.key) == all)
        #expect(SecretFiles.check(configuration, passwordMayBeMissing: true).map(\.key) == Array(all.dropFirst()))
        for name in ["pass", "node.key", "node.crt", "ca.crt"] {
            let path = try folder.file(name, [])
            try #require(chown(path, #require(getpwnam("daemon")).pointee.pw_uid, 0) == 0 && chmod(path, 0o600) == 0)
        }
        #expect(SecretFiles.check(configuration).isEmpty)
    }

    @Test func theCommandInTheAdviceCanBePasted() throws {
        let path = try folder.file("it's here", [])
        #expect(SecretFiles.check(path, "daemon")?.advice?.contains("'\(folder.path)/it'\\''s here'") == true)
    }
}
