/// Accepted connections of which nobody knows yet who they are, and who has to go when all places are taken.
///
/// The place of the origin that takes most of them is given away first, and that of an origin from which a node has come before last: a
/// crowd of strangers displaces each other, and no known pair.
struct Lobby {
    private let places: Int
    /// By origin, the oldest first.
    private var waiting: [String: [UInt64]] = [:]
    private var known: Set<String> = []
    private(set) var count = 0

    /// Origins that are remembered: more than there are nodes of one witness.
    private static let memory = 8192

    init(places: Int) { self.places = places }

    /// Who has to go so that one more may come in; nil: there is room.
    func victim() -> UInt64? {
        guard count >= places else { return nil }
        let strangers = waiting.filter { !known.contains($0.key) }
        let crowd = (strangers.isEmpty ? waiting : strangers).max { ($0.value.count, $1.key) < ($1.value.count, $0.key) }
        return crowd?.value.first
    }

    mutating func enter(_ id: UInt64, from host: String) {
        waiting[Self.origin(host), default: []].append(id)
        count += 1
    }

    /// - Parameter isKnown: it has shown that it is a node.
    mutating func leave(_ id: UInt64, from host: String, isKnown: Bool) {
        let origin = Self.origin(host)
        guard var ids = waiting[origin], let place = ids.firstIndex(of: id) else { return }
        ids.remove(at: place)
        waiting[origin] = ids.isEmpty ? nil : ids
        count -= 1
        guard isKnown else { return }
        if known.count >= Self.memory, !known.contains(origin) { known.removeFirst() }
        known.insert(origin)
    }

    /// Whoever has one IPv6 address has 2^64 of them.
    static func origin(_ host: String) -> String {
        guard host.contains(":") else { return host }
        return host.split(separator: ":", maxSplits: 4, omittingEmptySubsequences: false).prefix(4).joined(separator: ":")
    }
}
