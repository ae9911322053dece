import Crypto
import Foundation
import NIOSSL
import X509

/// A node's certificate, key and authority, checked and ready to use for links. A value: a reload makes a new one.
public struct TLSIdentity: Sendable {
    public let cluster: String
    public let node: String
    /// What a person should know: dates that are over, not yet begun, or end within 30 days. Never a reason to stop.
    public let warnings: [String]
    /// SHA-256 of the DER form of the authority that signed this node's certificate, in lower-case hex: by it, the cluster's
    /// name and the system identifier a witness knows a pair.
    public let authorityFingerprint: String

    let authorities: [Certificate]
    let serverContext: NIOSSLContext
    let clientContext: NIOSSLContext

    /// Reads `ca.crt`, `node.crt` and `node.key`. `ca.crt` may hold several authorities (while one is replaced by the next).
    /// - Throws: `TLSError` with the remedy: a missing or unreadable file, a key that others can read or that belongs to neither us nor
    ///   root (root itself may use any owner's), a key of another certificate, another authority, another cluster or node.
    public static func load(directory: String, cluster: String, node: String) throws(TLSError) -> TLSIdentity {
        let host = try TLSName.host(node: node, cluster: cluster)
        let authorities = try TLSFile.certificates("\(directory)/ca.crt")
        let chain = try TLSFile.certificates("\(directory)/node.crt")
        let key = try TLSFile.key("\(directory)/node.key")
        let certificate = chain[0]
        try areAuthorities(authorities, "\(directory)/ca.crt")
        guard key.key.publicKey == certificate.publicKey else {
            throw TLSError(
                .keyMismatch, attempted: "use \(directory)/node.key", found: "it is not the key of \(directory)/node.crt",
                advice: "Copy both files again from this node's folder of `pgtandem tls create`.")
        }
        try judge(certificate, authorities, host, directory, cluster, node)
        let warnings =
            PeerCertificate.warnings(about: certificate, called: "the certificate \(directory)/node.crt")
            + authorities.flatMap { PeerCertificate.warnings(about: $0, called: "the authority in \(directory)/ca.crt") }
        do {
            return try TLSIdentity(cluster, node, warnings, authorities, certificate, key.pem)
        } catch {
            throw TLSError(
                .content, attempted: "use the certificates in \(directory)", found: "TLS refuses them (\(error))",
                advice: "Copy the three files again from this node's folder of `pgtandem tls create`.")
        }
    }

    private init(
        _ cluster: String, _ node: String, _ warnings: [String], _ authorities: [Certificate], _ certificate: Certificate,
        _ key: [UInt8]
    ) throws {
        self.cluster = cluster
        self.node = node
        self.warnings = warnings
        self.authorities = authorities
        let issuer = authorities.first { PeerCertificate.isIssued(certificate, by: $0) }
        let fingerprint = SHA256.hash(data: try TLSCertificates.der(issuer ?? certificate))
        authorityFingerprint = fingerprint.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let own = [NIOSSLCertificateSource.certificate(try Self.forTLS(certificate))]
        let secret = NIOSSLPrivateKeySource.privateKey(try NIOSSLPrivateKey(bytes: key, format: .pem))
        let roots = NIOSSLTrustRoots.certificates(try authorities.map(Self.forTLS))
        // `noHostnameVerification` makes the server demand a certificate; who it is, `PeerCertificate` judges on both sides.
        var server = TLSConfiguration.makeServerConfiguration(certificateChain: own, privateKey: secret)
        server.certificateVerification = .noHostnameVerification
        server.trustRoots = roots
        server.minimumTLSVersion = .tlsv13
        server.shutdownTimeout = .milliseconds(300)
        serverContext = try NIOSSLContext(configuration: server)
        var client = TLSConfiguration.makeClientConfiguration()
        client.certificateChain = own
        client.privateKey = secret
        client.certificateVerification = .noHostnameVerification
        client.trustRoots = roots
        client.minimumTLSVersion = .tlsv13
        client.shutdownTimeout = .milliseconds(300)
        clientContext = try NIOSSLContext(configuration: client)
    }

    /// The TLS name of another node of this cluster.
    func host(of peer: String) throws(TLSError) -> String {
        try TLSName.host(node: peer, cluster: cluster)
    }

    private static func forTLS(_ certificate: Certificate) throws -> NIOSSLCertificate {
        try NIOSSLCertificate(bytes: try TLSCertificates.der(certificate), format: .der)
    }

    private static func areAuthorities(_ authorities: [Certificate], _ path: String) throws(TLSError) {
        for authority in authorities {
            do {
                if case .isCertificateAuthority? = try authority.extensions.basicConstraints { continue }
            } catch {
                throw TLSError(
                    .content, attempted: "use \(path)", found: "a certificate in it cannot be read (\(error))",
                    advice: "Copy the authority's ca.crt there again.")
            }
            throw TLSError(
                .content, attempted: "use \(path)", found: "a certificate in it is not an authority's",
                advice: "Copy the authority's ca.crt there again.")
        }
    }

    private static func judge(
        _ certificate: Certificate, _ authorities: [Certificate], _ host: String, _ directory: String, _ cluster: String,
        _ node: String
    ) throws(TLSError) {
        let attempted = "use \(directory)/node.crt as node \(node) of cluster \(cluster)"
        do {
            _ = try PeerCertificate.name(in: certificate, of: authorities, among: [host])
        } catch {
            switch error {
            case .foreignAuthority:
                throw TLSError(
                    .foreignAuthority, attempted: attempted, found: "\(directory)/ca.crt did not sign it",
                    advice: "Copy all three files from ONE folder that `pgtandem tls create` made.")
            case .foreignName(let presented, let expected):
                throw TLSError(
                    .foreignName, attempted: attempted, found: "it is for \(presented), not for \(expected.joined())",
                    advice: "Copy the folder of THIS node of THIS cluster, or correct `node` and `cluster` in the configuration.")
            case .missing, .malformed, .notForNodes:
                throw TLSError(
                    .content, attempted: attempted, found: error.description,
                    advice: "Copy the three files again from this node's folder of `pgtandem tls create`.")
            }
        }
    }
}
