import Foundation
import NIOSSL
import SwiftASN1
import X509

/// Judges the certificate that the other side presents.
///
/// The whole trust model is one step deep: a node's certificate is signed by the cluster's authority directly, or it is a stranger's.
/// So this is written out instead of building chains: the authority's signature, what the certificate may be used for, and
/// exactly one name. Dates are NOT judged, they only warn (protocol.md 3.1): a lease must not hang on wall time.
enum PeerCertificate {
    enum Refusal: Error, Equatable, CustomStringConvertible {
        case missing
        case malformed
        /// No authority of ours signed it.
        case foreignAuthority
        /// Signed by our authority, but not a node's certificate: what is wrong with it.
        case notForNodes(String)
        /// A node's certificate, with another name than expected.
        case foreignName(presented: String, expected: [String])

        var description: String {
            switch self {
            case .missing: "it presented no certificate"
            case .malformed: "it presented a certificate that cannot be read"
            case .foreignAuthority: "its certificate is not one of this cluster's authority"
            case .notForNodes(let why): "its certificate is not a node's: \(why)"
            case .foreignName(let presented, let expected):
                "its certificate is for \(presented), expected \(expected.joined(separator: " or "))"
            }
        }
    }

    /// Extensions that may be marked critical: the ones that are judged here.
    private static let understood: Set<ASN1ObjectIdentifier> = [
        .X509ExtensionID.basicConstraints, .X509ExtensionID.keyUsage, .X509ExtensionID.extendedKeyUsage,
        .X509ExtensionID.subjectAlternativeName,
    ]

    /// The name in the certificate if it is one of `names`, signed by one of `authorities`, and fit for a node.
    static func name(
        in certificate: Certificate, of authorities: [Certificate], among names: [String]
    ) throws(Refusal) -> String {
        let name = try name(in: certificate, of: authorities)
        guard names.contains(name) else { throw .foreignName(presented: name, expected: names) }
        return name
    }

    /// The name in the certificate, whichever it is, if one of `authorities` signed it and it is fit for a node.
    static func name(in certificate: Certificate, of authorities: [Certificate]) throws(Refusal) -> String {
        guard authorities.contains(where: { isIssued(certificate, by: $0) }) else { throw .foreignAuthority }
        guard certificate.version == .v3 else { throw .notForNodes("it is of an old version") }
        guard certificate.extensions.allSatisfy({ !$0.critical || understood.contains($0.oid) }) else {
            throw .notForNodes("it has a critical extension that we do not know")
        }
        let presented: [GeneralName]
        do {
            if case .isCertificateAuthority? = try certificate.extensions.basicConstraints {
                throw Refusal.notForNodes("it is an authority's")
            }
            guard let usage = try certificate.extensions.extendedKeyUsage, usage.contains(.serverAuth),
                usage.contains(.clientAuth)
            else {
                throw Refusal.notForNodes("it is not for both sides of a connection")
            }
            if let usage = try certificate.extensions.keyUsage, !usage.digitalSignature {
                throw Refusal.notForNodes("its key may not sign")
            }
            presented = try certificate.extensions.subjectAlternativeNames.map(Array.init) ?? []
        } catch let refusal as Refusal {
            throw refusal
        } catch {
            throw .malformed
        }
        guard presented.count == 1, case .dnsName(let name) = presented[0] else {
            throw .notForNodes("it has not exactly one DNS name")
        }
        return name
    }

    static func isIssued(_ certificate: Certificate, by authority: Certificate) -> Bool {
        certificate.issuer == authority.subject && authority.publicKey.isValidSignature(certificate.signature, for: certificate)
    }

    /// From what TLS received.
    static func read(_ presented: [NIOSSLCertificate]) throws(Refusal) -> Certificate {
        guard let leaf = presented.first else { throw .missing }
        do {
            return try Certificate(derEncoded: try leaf.toDERBytes())
        } catch {
            throw .malformed
        }
    }

    /// What a person should know about the dates; empty: nothing.
    static func warnings(about certificate: Certificate, called what: String, at now: Date = Date()) -> [String] {
        if now > certificate.notValidAfter {
            return [
                "\(what) ended on \(day(certificate.notValidAfter)); it still works; make a new one with `pgtandem tls renew`"
            ]
        }
        if now < certificate.notValidBefore {
            return ["\(what) begins on \(day(certificate.notValidBefore)); it works already; check this host's clock"]
        }
        if now + 30 * 86_400 > certificate.notValidAfter {
            return ["\(what) ends on \(day(certificate.notValidAfter)); make a new one with `pgtandem tls renew`"]
        }
        return []
    }

    private static func day(_ date: Date) -> String {
        let style = Date.ISO8601FormatStyle(timeZone: .gmt).year().month().day()
        return date.formatted(style)
    }
}
