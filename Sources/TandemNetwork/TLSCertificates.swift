import Crypto
import Foundation
import SwiftASN1
import X509

/// The certificates that we make: P-256 and SHA-256, one authority, everything signed by it directly.
enum TLSCertificates {
    /// A certificate is valid from a day before it was made: hosts' clocks differ, and a warning on the first day helps nobody.
    private static let backdated: TimeInterval = 86_400

    /// Good for twenty years at least: those that it signs can be renewed, it cannot.
    static func authority(cluster: String, key: Certificate.PrivateKey, days: Int, now: Date) throws -> Certificate {
        let name = try authorityName(cluster)
        return try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey,
            notValidBefore: now - backdated, notValidAfter: end(now, max(days, TLSAuthority.defaultDays)), issuer: name,
            subject: name,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: key.publicKey)
            },
            issuerPrivateKey: key)
    }

    static func node(
        _ node: String, cluster: String, key: Certificate.PublicKey, days: Int, now: Date,
        authority: Certificate, authorityKey: Certificate.PrivateKey
    ) throws -> Certificate {
        let host = try TLSName.host(node: node, cluster: cluster)
        return try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key,
            notValidBefore: now - backdated, notValidAfter: end(now, days), issuer: authority.subject,
            subject: try DistinguishedName {
                OrganizationName("pgtandem \(cluster)")
                CommonName(node)
            },
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth, .clientAuth])
                SubjectAlternativeNames([.dnsName(host)])
                SubjectKeyIdentifier(hash: key)
                AuthorityKeyIdentifier(keyIdentifier: SubjectKeyIdentifier(hash: authority.publicKey).keyIdentifier)
            },
            issuerPrivateKey: authorityKey)
    }

    static func authorityName(_ cluster: String) throws -> DistinguishedName {
        try DistinguishedName {
            OrganizationName("pgtandem CA")
            CommonName(cluster)
        }
    }

    /// Clients and libraries read years up to 9999; nobody's certificate is to end later.
    private static func end(_ now: Date, _ days: Int) -> Date {
        min(now + TimeInterval(days) * 86_400, Date(timeIntervalSince1970: 253_402_300_799))
    }

    /// Every certificate of a PEM text.
    static func all(inPEM bytes: [UInt8]) throws -> [Certificate] {
        try PEMDocument.parseMultiple(pemString: String(decoding: bytes, as: UTF8.self))
            .filter { $0.discriminator == Certificate.defaultPEMDiscriminator }
            .map { try Certificate(pemDocument: $0) }
    }

    static func pem(_ certificate: Certificate) throws -> [UInt8] {
        Array((try certificate.serializeAsPEM().pemString + "\n").utf8)
    }

    static func der(_ certificate: Certificate) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }
}
