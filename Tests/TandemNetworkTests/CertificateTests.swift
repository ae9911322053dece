import Foundation
import Glibc
import TandemSystem
import Testing
import X509

@testable import TandemNetwork

@Suite("Certificates")
struct CertificateTests {
    @Test func `tls create makes an authority and a folder per node and for the witness`() throws {
        let folder = try Folder()
        let files = try TLSAuthority.create(cluster: "orders", directory: "\(folder.path)/tls", nodes: ["a", "b"])
        let top = "\(folder.path)/tls"
        let expected =
            ["\(top)/ca.key", "\(top)/ca.crt"]
            + ["a", "b", "witness"].flatMap { ["\(top)/\($0)/node.key", "\(top)/\($0)/node.crt", "\(top)/\($0)/ca.crt"] }
        #expect(files.made == expected)
        #expect(files.left.isEmpty)
        for path in expected where path.hasSuffix(".key") { #expect(try mode(path) == 0o600) }
        #expect(try DurableFile.read("\(top)/a/ca.key") == nil)
        for node in ["a", "b", "witness"] {
            let identity = try TLSIdentity.load(directory: "\(top)/\(node)", cluster: "orders", node: node)
            #expect(identity.warnings.isEmpty)
            #expect(identity.authorityFingerprint.count == 64)
        }
    }

    @Test func `a certificate carries one name, both uses and a long life`() throws {
        let pair = try Pair()
        let certificate = try TLSFile.certificates("\(pair.directory("a"))/node.crt")[0]
        let names = try #require(try certificate.extensions.subjectAlternativeNames)
        #expect(Array(names) == [.dnsName("a.orders.pgtandem")])
        let usage = try #require(try certificate.extensions.extendedKeyUsage)
        #expect(usage.contains(.serverAuth) && usage.contains(.clientAuth))
        #expect(certificate.notValidAfter > Date() + 7299 * 86_400)
        let other = try TLSFile.certificates("\(pair.directory("b"))/node.crt")[0]
        #expect(certificate.serialNumber != other.serialNumber)
    }

    @Test func `openssl agrees that the chain is good`() throws {
        let pair = try Pair()
        let openssl = Process()
        openssl.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        openssl.arguments = [
            "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "\(pair.folder.path)/ca.crt",
            "\(pair.directory("a"))/node.crt",
        ]
        openssl.standardOutput = FileHandle.nullDevice
        try openssl.run()
        openssl.waitUntilExit()
        #expect(openssl.terminationStatus == 0)
    }

    @Test func `a second run adds what is missing and says what it left`() throws {
        let pair = try Pair()
        let before = try DurableFile.read("\(pair.directory("a"))/node.crt")
        let files = try TLSAuthority.create(cluster: "orders", directory: pair.folder.path, nodes: ["a", "c"])
        #expect(files.made == ["node.key", "node.crt", "ca.crt"].map { "\(pair.directory("c"))/\($0)" })
        #expect(files.left.contains("\(pair.folder.path)/ca.crt") && files.left.contains("\(pair.directory("a"))/node.key"))
        #expect(try DurableFile.read("\(pair.directory("a"))/node.crt") == before)
        _ = try TLSIdentity.load(directory: pair.directory("c"), cluster: "orders", node: "c")
    }

    @Test func `without the authority's key nothing is added`() throws {
        let pair = try Pair()
        try DurableFile.remove("\(pair.folder.path)/ca.key")
        #expect(try TLSAuthority.create(cluster: "orders", directory: pair.folder.path, nodes: ["a", "b"]).made.isEmpty)
        #expect(kind { _ = try TLSAuthority.create(cluster: "orders", directory: pair.folder.path, nodes: ["c"]) } == .existing)
    }

    @Test func `an authority of another cluster is not used`() throws {
        let pair = try Pair()
        #expect(kind { _ = try TLSAuthority.create(cluster: "billing", directory: pair.folder.path, nodes: ["a"]) } == .existing)
    }

    @Test func `renew makes new certificates of the same authority`() throws {
        let pair = try Pair()
        let before = try pair.identity("a")
        let key = try DurableFile.read("\(pair.directory("a"))/node.key")
        _ = try TLSAuthority.renew(cluster: "orders", directory: pair.folder.path, nodes: ["a"])
        #expect(try DurableFile.read("\(pair.directory("a"))/node.key") != key)
        #expect(try pair.identity("a").authorityFingerprint == before.authorityFingerprint)
    }

    @Test(arguments: ["", "a.b", "-a", "a-", "a b", "ä", "a/../b", String(repeating: "x", count: 64), "a\u{0}"])
    func `a name that cannot be a DNS label is refused`(name: String) throws {
        let folder = try Folder()
        #expect(kind { _ = try TLSAuthority.create(cluster: name, directory: folder.path, nodes: ["a"]) } == .name)
        #expect(kind { _ = try TLSAuthority.create(cluster: "orders", directory: folder.path, nodes: [name]) } == .name)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    }

    @Test func `no node is called witness, none is named twice`() throws {
        let folder = try Folder()
        #expect(kind { _ = try TLSAuthority.create(cluster: "orders", directory: folder.path, nodes: ["witness"]) } == .name)
        #expect(kind { _ = try TLSAuthority.create(cluster: "orders", directory: folder.path, nodes: ["a", "a"]) } == .name)
    }

    @Test func `a key that others can read is refused with the remedy`() throws {
        let pair = try Pair()
        let path = "\(pair.directory("a"))/node.key"
        #expect(chmod(path, 0o640) == 0)
        let error = try #require(throws: TLSError.self) { try pair.identity("a") }
        #expect(error.kind == .permissions)
        #expect(error.advice.contains("chmod 0600 \(path)"))
    }

    @Test func `the key of another certificate is refused`() throws {
        let pair = try Pair()
        let key = try #require(try DurableFile.read("\(pair.directory("b"))/node.key"))
        try DurableFile.write(key, to: "\(pair.directory("a"))/node.key", mode: 0o600)
        #expect(kind { _ = try pair.identity("a") } == .keyMismatch)
    }

    @Test func `the certificate of another cluster, node or authority is refused`() throws {
        let pair = try Pair()
        #expect(kind { _ = try TLSIdentity.load(directory: pair.directory("a"), cluster: "billing", node: "a") } == .foreignName)
        #expect(kind { _ = try TLSIdentity.load(directory: pair.directory("a"), cluster: "orders", node: "b") } == .foreignName)
        let other = try Pair()
        let authority = try #require(try DurableFile.read("\(other.folder.path)/ca.crt"))
        try DurableFile.write(authority, to: "\(pair.directory("a"))/ca.crt", mode: 0o644)
        #expect(kind { _ = try pair.identity("a") } == .foreignAuthority)
    }

    @Test func `missing and broken files are named`() throws {
        let pair = try Pair()
        let path = "\(pair.directory("a"))/node.crt"
        try DurableFile.write(Array("nonsense".utf8), to: path, mode: 0o644)
        let broken = try #require(throws: TLSError.self) { try pair.identity("a") }
        #expect(broken.kind == .content && broken.attempted.contains(path))
        try DurableFile.remove(path)
        let missing = try #require(throws: TLSError.self) { try pair.identity("a") }
        #expect(missing.kind == .file && missing.description.contains("tls create"))
    }

    @Test func `dates only warn`() throws {
        let pair = try Pair()
        try pair.age("a", to: Date() - 40 * 86_400)
        #expect(try pair.identity("a").warnings.map { $0.contains("ended on") } == [true])
        try pair.age("a", to: Date() + 40 * 86_400)
        #expect(try pair.identity("a").warnings.map { $0.contains("begins on") } == [true])
        try pair.age("a", to: Date() + 86_400)
        #expect(try pair.identity("a").warnings.count == 1)
    }

    @Test func `while an authority is replaced both are trusted`() throws {
        let pair = try Pair()
        let next = try Pair()
        let both =
            try #require(try DurableFile.read("\(next.folder.path)/ca.crt")) + #require(
                try DurableFile.read("\(pair.folder.path)/ca.crt"))
        try DurableFile.write(both, to: "\(pair.directory("a"))/ca.crt", mode: 0o644)
        let fingerprint = try pair.identity("b").authorityFingerprint
        #expect(try pair.identity("a").authorityFingerprint == fingerprint)
    }

    private func kind(_ work: () throws -> Void) -> TLSError.Kind? {
        do {
            try work()
            return nil
        } catch {
            return (error as? TLSError)?.kind
        }
    }

    private func mode(_ path: String) throws -> mode_t {
        var status = stat()
        try #require(stat(path, &status) == 0)
        return status.st_mode & 0o7777
    }
}
