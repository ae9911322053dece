import NIOCore
import TandemSystem

/// A link or client that could not do what was asked: what was attempted, what happened, what a person can do.
public struct LinkError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: String, Sendable {
        /// Another process (or another agent) listens there.
        case portInUse
        /// Listening was refused for another reason.
        case cannotListen
        /// Not a literal IPv4 or IPv6 address.
        case notAnAddress
        /// Started twice, or used after `stop`.
        case wrongState
        /// Nothing answered, or the host refused.
        case cannotConnect
        /// TLS or `hello` failed, on one side or the other.
        case refused
        /// The connection is over.
        case closed
        /// The deadline passed.
        case timedOut
        /// The payload is longer than its kind may be.
        case frameTooLong
        /// The link uses this kind itself.
        case reservedKind
        /// A name that cannot be used, an identity that TLS refuses.
        case identity
    }

    public var kind: Kind
    /// As "listen on 10.77.0.11:7432".
    public var attempted: String
    public var happened: String
    /// One imperative sentence.
    public var advice: String

    public init(_ kind: Kind, attempted: String, happened: String, advice: String) {
        self.kind = kind
        self.attempted = attempted
        self.happened = happened
        self.advice = advice
    }

    public var description: String { "\(attempted) failed: \(happened). \(advice)" }
}

/// Why a connection ended, or never became a path.
public enum LinkEnd: Error, Sendable, Equatable, CustomStringConvertible {
    /// We stopped, or the peer's address was taken out of the configuration.
    case stopped
    /// The layer above closed it.
    case closedByUs(String)
    case closedByPeer
    /// Closed in the middle of a frame; `bytes` of it had come.
    case truncatedFrame(bytes: Int)
    case emptyFrame
    case frameTooLong(kind: UInt8, bytes: Int, limit: Int)
    case frameBeforeHello(kind: UInt8)
    case secondHello
    /// `onHello` refused it.
    case helloRefused(String)
    case noHelloInTime
    case noHandshakeInTime
    /// Not TLS at all, or an old version of it.
    case notTLS(String)
    case handshakeFailed(String)
    /// We refused the other side's certificate.
    case certificateRefused(String)
    /// The other side refused ours.
    case refusedByPeer(String)
    /// Nothing came for this long although we sent.
    case silent(Duration)
    /// It takes too little of what we send; `bytes` wait.
    case doesNotRead(bytes: Int)
    /// Too many connections at a time.
    case crowdedOut
    /// The socket's own error.
    case failed(String)

    public var description: String {
        switch self {
        case .stopped: "the link stopped"
        case .closedByUs(let why): "closed by us: \(why)"
        case .closedByPeer: "closed by the other side"
        case .truncatedFrame(let bytes): "closed by the other side in the middle of a frame (\(bytes) bytes of it had come)"
        case .emptyFrame: "protocol error: a frame of length zero"
        case .frameTooLong(let kind, let bytes, let limit):
            "protocol error: a frame of kind \(kind) with \(bytes) bytes, \(limit) are allowed"
        case .frameBeforeHello(let kind): "protocol error: a frame of kind \(kind) before hello"
        case .secondHello: "protocol error: hello twice"
        case .helloRefused(let why): "hello refused: \(why)"
        case .noHelloInTime: "it said no hello in time"
        case .noHandshakeInTime: "it finished no TLS handshake in time"
        case .notTLS(let why): "it does not speak TLS 1.3 (\(why))"
        case .handshakeFailed(let why): "the TLS handshake failed (\(why))"
        case .certificateRefused(let why): why
        case .refusedByPeer(let why): "the other side refused our certificate (\(why))"
        case .silent(let duration): "nothing came for \(duration) although we sent"
        case .doesNotRead(let bytes): "the other side does not read (\(bytes) bytes wait)"
        case .crowdedOut: "too many connections at a time"
        case .failed(let why): why
        }
    }
}

extension LinkEnd {
    /// From what NIO or TLS reported. Library errors name source files; only the words of the error itself are kept.
    static func from(_ error: any Error) -> LinkEnd {
        if let end = error as? LinkEnd { return end }
        if let error = error as? IOError { return .failed(reason(of: error)) }
        let words = tlsWords("\(error)")
        let told = words.isEmpty ? "\(type(of: error))" : words.joined(separator: ", ")
        if words.contains(where: { $0.contains("ALERT") && !$0.contains("PROTOCOL_VERSION") }) { return .refusedByPeer(told) }
        let foreign = ["WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION"]
        if words.contains(where: { word in foreign.contains { word.contains($0) } }) { return .notTLS(told) }
        return .handshakeFailed(told)
    }

    static func reason(of error: IOError) -> String {
        "\(SystemError(attempted: "", code: error.errnoCode).reason) (\(error.errnoCode))"
    }

    /// The error names of BoringSSL (`WRONG_VERSION_NUMBER`) in its description.
    private static func tlsWords(_ text: String) -> [String] {
        var words: [String] = []
        for piece in text.split(whereSeparator: { !($0.isASCII && ($0.isUppercase || $0.isNumber || $0 == "_")) }) {
            let word = String(piece)
            if word.count > 6, word.contains("_"), !word.hasSuffix("_"), !words.contains(word) { words.append(word) }
        }
        return words
    }
}
