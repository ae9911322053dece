import TandemSystem

/// A certificate, a key or a name that cannot be used: what was attempted, what was found, what a person can do.
public struct TLSError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: String, Sendable {
        /// A cluster's or node's name that cannot stand in a certificate.
        case name
        /// The folder holds something that must not be overwritten, or only a part of what belongs together.
        case existing
        /// A file is not there, not readable, not writable.
        case file
        /// A file's content is not what it should be.
        case content
        /// A private key that others than its owner can read, or that belongs to a stranger.
        case permissions
        /// The key does not belong to the certificate.
        case keyMismatch
        /// The certificate is not one of this CA.
        case foreignAuthority
        /// The certificate is one of this CA, but for another cluster or node.
        case foreignName
    }

    public var kind: Kind
    /// As "read /etc/pgtandem/tls/node.key".
    public var attempted: String
    /// The fact that stood against it.
    public var found: String
    /// One imperative sentence.
    public var advice: String

    public init(_ kind: Kind, attempted: String, found: String, advice: String) {
        self.kind = kind
        self.attempted = attempted
        self.found = found
        self.advice = advice
    }

    public var description: String { "\(attempted) failed: \(found). \(advice)" }
}

extension TLSError {
    init(_ error: SystemError) {
        self.init(
            .file, attempted: error.attempted, found: "\(error.reason) (\(error.code))",
            advice: error.advice ?? "Look at the folder's owner, mode and free space.")
    }
}
