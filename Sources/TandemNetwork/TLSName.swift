/// The names that tie a certificate to one node of one cluster: one DNS name, `NODE.CLUSTER.pgtandem`.
///
/// Allowed for clusters and nodes: 1 to 63 ASCII letters, digits, `-` and `_`, the first and the last one a letter or a digit (a DNS
/// label of RFC 1123, and the underscore that database names like). No dot: it would make the pair (`a.b`, `c`) and (`a`, `b.c`) one
/// name. Compared byte by byte, so upper and lower case differ.
public enum TLSName {
    /// The folder and the name of the arbiter's certificate; no node is called so.
    public static let witness = "witness"

    static let suffix = "pgtandem"

    /// `NODE.CLUSTER.pgtandem`.
    /// - Throws: `TLSError` (name).
    public static func host(node: String, cluster: String) throws(TLSError) -> String {
        try check(cluster, is: "cluster")
        try check(node, is: "node")
        return "\(node).\(cluster).\(suffix)"
    }

    /// The node and the cluster that such a name ties together; nil: it is no name of ours.
    public static func parts(of host: String) -> (node: String, cluster: String)? {
        let labels = host.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard labels.count == 3, labels[2] == suffix, labels[..<2].allSatisfy({ problem(with: $0) == nil }) else { return nil }
        return (labels[0], labels[1])
    }

    /// Whether `name` can be the name of a cluster or node; nil, or what is wrong with it.
    public static func problem(with name: String) -> String? {
        let bytes = Array(name.utf8)
        guard !bytes.isEmpty else { return "it is empty" }
        guard bytes.count <= 63 else { return "it has \(bytes.count) bytes, 63 are allowed" }
        guard bytes.allSatisfy({ isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }) else {
            return "it has a character other than ASCII letters, digits, - and _"
        }
        guard let first = bytes.first, let last = bytes.last, isAlphanumeric(first), isAlphanumeric(last) else {
            return "it begins or ends with - or _"
        }
        return nil
    }

    static func check(_ name: String, is what: String) throws(TLSError) {
        guard let problem = problem(with: name) else { return }
        throw TLSError(
            .name, attempted: "use the \(what) name \"\(name)\" in a certificate", found: problem,
            advice:
                "Choose a \(what) name of 1 to 63 ASCII letters, digits, - and _ that begins and ends with a letter or a digit.")
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
