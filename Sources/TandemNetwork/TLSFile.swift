import Foundation
import Glibc
import TandemSystem
import X509

/// Reads certificates and private keys, with errors that name the remedy.
enum TLSFile {
    /// Bigger files are not ours.
    private static let limit = 256 << 10

    static func certificates(_ path: String) throws(TLSError) -> [Certificate] {
        let bytes = try read(path, secret: false)
        let found: [Certificate]
        do {
            found = try TLSCertificates.all(inPEM: bytes)
        } catch {
            throw TLSError(
                .content, attempted: "read \(path)", found: "it is not a PEM certificate (\(error))",
                advice: "Copy the file again from the folder that `pgtandem tls create` made.")
        }
        guard !found.isEmpty else {
            throw TLSError(
                .content, attempted: "read \(path)", found: "there is no certificate in it",
                advice: "Copy the file again from the folder that `pgtandem tls create` made.")
        }
        return found
    }

    static func key(_ path: String) throws(TLSError) -> (key: Certificate.PrivateKey, pem: [UInt8]) {
        let bytes = try read(path, secret: true)
        do {
            return (try Certificate.PrivateKey(pemEncoded: String(decoding: bytes, as: UTF8.self)), bytes)
        } catch {
            // The parser's own words are left out: nothing of a key's content may reach a log.
            throw TLSError(
                .content, attempted: "read \(path)", found: "it is not a private key in PEM form without a passphrase",
                advice: "Copy the file again from the folder that `pgtandem tls create` made.")
        }
    }

    private static func read(_ path: String, secret: Bool) throws(TLSError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard file >= 0 else { throw refused(path, errno) }
        defer { close(file) }
        // The open file is judged, not the path: nobody can exchange it in between.
        var status = stat()
        guard fstat(file, &status) == 0 else { throw refused(path, errno) }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= limit else {
            throw TLSError(
                .content, attempted: "read \(path)", found: "it is not a small plain file",
                advice: "Name the folder that holds this node's ca.crt, node.crt and node.key.")
        }
        if secret { try judge(path, status) }
        return try content(file, path, expecting: Int(status.st_size))
    }

    private static func judge(_ path: String, _ status: stat) throws(TLSError) {
        guard status.st_mode & 0o077 == 0 else {
            let mode = String(status.st_mode & 0o7777, radix: 8)
            throw TLSError(
                .permissions, attempted: "use the private key \(path)", found: "its mode is 0\(mode), so others can reach it",
                advice: "Run `chmod 0600 \(path)`.")
        }
        // Root may read a key that belongs to the service's user: `sudo pgtandem join` on a host that is set up for postgres.
        guard status.st_uid == geteuid() || status.st_uid == 0 || geteuid() == 0 else {
            throw TLSError(
                .permissions, attempted: "use the private key \(path)",
                found: "it belongs to user \(status.st_uid), we run as user \(geteuid())",
                advice: "Run `chown \(geteuid()) \(path)` as root.")
        }
    }

    private static func content(_ file: Int32, _ path: String, expecting size: Int) throws(TLSError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: size)
        var count = 0
        while count < size {
            let begin = count
            let more = bytes.withUnsafeMutableBytes { room in
                let rest = UnsafeMutableRawBufferPointer(rebasing: room[begin...])
                return Glibc.read(file, rest.baseAddress, rest.count)
            }
            if more < 0, errno == EINTR { continue }
            guard more >= 0 else { throw refused(path, errno) }
            if more == 0 { break }
            count += more
        }
        return Array(bytes[..<count])
    }

    private static func refused(_ path: String, _ code: Int32) -> TLSError {
        let advice =
            switch code {
            case ENOENT: "Make the certificates with `pgtandem tls create` and copy this node's folder to the host."
            case EACCES: "Run `chown \(geteuid()) \(path)` as root."
            default: "Look at the file and its folder."
            }
        return TLSError(SystemError(attempted: "read \(path)", code: code, advice: advice))
    }
}
