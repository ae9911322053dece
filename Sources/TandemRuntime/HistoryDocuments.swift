import TandemWire

/// What `pgtandem history` asks of the other host's agent.
public struct HistoryRequestDocument: Codable, Sendable {
    /// Only so many of the newest; nil: all that one answer holds.
    public var last: Int?
    public init(last: Int?) { self.last = last.map { max(0, $0) } }

    public init(from decoder: any Decoder) throws {
        self.init(last: try decoder.container(keyedBy: CodingKeys.self).decodeIfPresent(Int.self, forKey: .last))
    }
}

public struct HistoryAnswerDocument: Codable, Sendable {
    public var node: String
    /// Oldest first.
    public var entries: [HistoryEntry] = []
    /// How many older ones had no room.
    public var left_out = 0
    /// Lines of the file that could not be read.
    public var damaged = 0
    /// Why there are none.
    public var problem: String?

    public init(node: String) { self.node = node }

    /// Of the entries, in bytes of JSON: below the link's limit for one frame, some hundred changes of roles.
    static let limit = 900 << 10

    /// The newest ones that there is room for.
    mutating func fill(with all: some BidirectionalCollection<HistoryEntry>, limit: Int = Self.limit) throws {
        var size = 0
        var chosen: [HistoryEntry] = []
        for entry in all.reversed() {
            size += try JSON.encode(entry).count + 1
            guard size <= limit else { break }
            chosen.append(entry)
        }
        entries = chosen.reversed()
        left_out = all.count - chosen.count
    }
}

extension HistoryEntry {
    /// Two hosts' sides by the time of the day; each one's own order stands, also where its clock was set back meanwhile.
    public static func merged(_ own: [HistoryEntry], _ theirs: [HistoryEntry]) -> [HistoryEntry] {
        var (left, right) = (own[...], theirs[...])
        var all: [HistoryEntry] = []
        // Times of one form, in UTC: the order of the texts is theirs.
        while let one = left.first, let other = right.first {
            all.append(one.at <= other.at ? left.removeFirst() : right.removeFirst())
        }
        return all + left + right
    }
}
