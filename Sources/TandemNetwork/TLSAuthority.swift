import Crypto
import Foundation
import Glibc
import TandemSystem
import X509

/// What `tls create` and `tls renew` did.
public struct TLSFiles: Sendable, Equatable {
    /// Files made or replaced, in that order.
    public var made: [String] = []
    /// Files that were there and stayed as they were.
    public var left: [String] = []
}

/// Makes a cluster's certificate authority and certificates (interface.md 1, `tls create`): `ca.key` (0600) and `ca.crt` in the
/// folder, and a folder per node and `witness/`, each with `ca.crt`, `node.crt`, `node.key` (0600).
public enum TLSAuthority {
    public static let defaultDays = 7300
    /// The name of the witness in certificates, and of its folder.
    public static let witness = TLSName.witness

    /// Makes what is missing. An existing authority is never overwritten: a second run adds nodes that have no files yet.
    /// - Parameter nodes: without the witness, which always gets a certificate.
    /// - Throws: `TLSError`: a bad name, another cluster's authority in the folder, an authority without its key, a file error.
    public static func create(
        cluster: String, directory: String, nodes: [String] = ["a", "b"], days: Int = defaultDays
    ) throws(TLSError) -> TLSFiles {
        try make(cluster, directory, nodes, days, replacing: false)
    }

    /// New keys and certificates for `nodes` (and the witness, if named there) from the authority in the folder.
    /// - Throws: `TLSError` as `create`; also when there is no authority yet.
    public static func renew(
        cluster: String, directory: String, nodes: [String], days: Int = defaultDays
    ) throws(TLSError) -> TLSFiles {
        guard try exists("\(directory)/ca.crt") else {
            throw TLSError(
                .existing, attempted: "renew certificates in \(directory)", found: "there is no ca.crt",
                advice: "Name the folder that `pgtandem tls create` made.")
        }
        return try make(cluster, directory, nodes, days, replacing: true)
    }

    private static func make(
        _ cluster: String, _ directory: String, _ nodes: [String], _ days: Int, replacing: Bool
    ) throws(TLSError) -> TLSFiles {
        try check(cluster, nodes, days, mayNameWitness: replacing)
        var files = TLSFiles()
        try folder(directory)
        let authority = try authority(cluster, directory, days, &files)
        for node in nodes + (replacing ? [] : [TLSName.witness]) {
            try issue(node, cluster, directory, days, authority, replacing: replacing, &files)
        }
        return files
    }

    private static func check(_ cluster: String, _ nodes: [String], _ days: Int, mayNameWitness: Bool) throws(TLSError) {
        try TLSName.check(cluster, is: "cluster")
        for node in nodes { try TLSName.check(node, is: "node") }
        if !mayNameWitness, nodes.contains(TLSName.witness) {
            throw TLSError(
                .name, attempted: "use the node name \"witness\" in a certificate", found: "it is the arbiter's name",
                advice: "Choose another name for the node; the witness gets its certificate without being named.")
        }
        guard Set(nodes).count == nodes.count else {
            throw TLSError(
                .name, attempted: "make certificates for \(nodes.joined(separator: ", "))", found: "a node is named twice",
                advice: "Name each node once.")
        }
        guard (1...36_500).contains(days) else {
            throw TLSError(
                .name, attempted: "make certificates for \(days) days", found: "1 to 36500 days are possible",
                advice: "Choose a number of days in that range; their end only makes the agents warn.")
        }
    }

    private struct Authority {
        var certificate: Certificate
        /// Nil: the key is kept elsewhere; enough while nothing is to be signed.
        var key: Certificate.PrivateKey?
        var keyPath: String
    }

    private static func authority(
        _ cluster: String, _ directory: String, _ days: Int, _ files: inout TLSFiles
    ) throws(TLSError) -> Authority {
        let certificatePath = "\(directory)/ca.crt"
        let keyPath = "\(directory)/ca.key"
        switch (try exists(certificatePath), try exists(keyPath)) {
        case (false, false):
            let key = P256.Signing.PrivateKey()
            let wrapped = Certificate.PrivateKey(key)
            let certificate = try signing(certificatePath) {
                try TLSCertificates.authority(cluster: cluster, key: wrapped, days: days, now: Date())
            }
            // The key first: an interruption leaves a key that signed nothing, and the next run says what to do about it.
            try write(Array((key.pemRepresentation + "\n").utf8), keyPath, 0o600, &files)
            try write(try signing(certificatePath) { try TLSCertificates.pem(certificate) }, certificatePath, 0o644, &files)
            return Authority(certificate: certificate, key: wrapped, keyPath: keyPath)
        case (false, true):
            throw TLSError(
                .existing, attempted: "make an authority in \(directory)", found: "ca.key is there without ca.crt",
                advice: "Put its ca.crt back, or remove ca.key if no certificate of it is in use.")
        case (true, let hasKey):
            let certificate = try TLSFile.certificates(certificatePath)[0]
            try belongs(certificate, to: cluster, certificatePath)
            var key: Certificate.PrivateKey?
            if hasKey {
                let found = try TLSFile.key(keyPath)
                guard found.key.publicKey == certificate.publicKey else {
                    throw TLSError(
                        .keyMismatch, attempted: "use \(keyPath)", found: "it is not the key of \(certificatePath)",
                        advice: "Put the two files of one authority there.")
                }
                key = found.key
                files.left.append(keyPath)
            }
            files.left.append(certificatePath)
            return Authority(certificate: certificate, key: key, keyPath: keyPath)
        }
    }

    private static func belongs(_ certificate: Certificate, to cluster: String, _ path: String) throws(TLSError) {
        let name = try signing(path) { try TLSCertificates.authorityName(cluster) }
        guard certificate.subject == name else {
            throw TLSError(
                .existing, attempted: "use the authority \(path) for the cluster \(cluster)",
                found: "it was made for another one (\(certificate.subject))",
                advice: "Name another folder: each cluster has an authority of its own.")
        }
    }

    private static func issue(
        _ node: String, _ cluster: String, _ directory: String, _ days: Int, _ authority: Authority, replacing: Bool,
        _ files: inout TLSFiles
    ) throws(TLSError) {
        let own = "\(directory)/\(node)"
        let paths = (key: "\(own)/node.key", certificate: "\(own)/node.crt", authority: "\(own)/ca.crt")
        if !replacing, try exists(paths.key), try exists(paths.certificate), try exists(paths.authority) {
            files.left += [paths.key, paths.certificate, paths.authority]
            return
        }
        guard let authorityKey = authority.key else {
            throw TLSError(
                .existing, attempted: "sign a certificate for \(node)", found: "\(authority.keyPath) is not there",
                advice: "Put the authority's ca.key back for as long as certificates are made.")
        }
        let key = P256.Signing.PrivateKey()
        let texts = try signing(paths.certificate) {
            let certificate = try TLSCertificates.node(
                node, cluster: cluster, key: Certificate.PrivateKey(key).publicKey, days: days, now: Date(),
                authority: authority.certificate, authorityKey: authorityKey)
            return (node: try TLSCertificates.pem(certificate), authority: try TLSCertificates.pem(authority.certificate))
        }
        try folder(own)
        try write(Array((key.pemRepresentation + "\n").utf8), paths.key, 0o600, &files)
        try write(texts.node, paths.certificate, 0o644, &files)
        try write(texts.authority, paths.authority, 0o644, &files)
    }

    private static func signing<Value>(_ path: String, _ work: () throws -> Value) throws(TLSError) -> Value {
        do {
            return try work()
        } catch let error as TLSError {
            throw error
        } catch {
            throw TLSError(
                .content, attempted: "make \(path)", found: "\(error)", advice: "Report this; the names given should have worked."
            )
        }
    }

    private static func exists(_ path: String) throws(TLSError) -> Bool {
        var status = stat()
        if lstat(path, &status) == 0 { return true }
        if errno == ENOENT || errno == ENOTDIR { return false }
        throw TLSError(SystemError.last("look at \(path)"))
    }

    /// 0700: a new folder holds private keys. An existing one stays as it is.
    private static func folder(_ path: String) throws(TLSError) {
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
            throw TLSError(SystemError.last("make the folder \(path)", advice: "Make the folder above it first."))
        }
    }

    private static func write(_ bytes: [UInt8], _ path: String, _ mode: UInt32, _ files: inout TLSFiles) throws(TLSError) {
        do {
            try DurableFile.write(bytes, to: path, mode: mode)
        } catch {
            throw TLSError(error)
        }
        files.made.append(path)
    }
}
