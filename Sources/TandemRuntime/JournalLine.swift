import TandemCore
import TandemWire

/// The number of the journal's format: what the lines are, and how the core's values stand in them. It grows with every change after
/// which this version could not read, or would read as something else, what an older one wrote: a field or a case of `Event`, `Node`
/// or `Policy` renamed, removed, or added without being optional.
public enum JournalFormat {
    public static let number = 2
}

/// A line from which on the journal can be replayed without anything before it: the first line of each file, of each run of the agent,
/// and after a gap.
struct JournalHeader: Codable, Sendable {
    /// `JournalFormat.number` of the writer.
    var journal: Int
    /// So many events before this line are missing, because the disk did not keep up or refused.
    var lost: Int?
    /// The state before the next event; the policy is part of it.
    var node: Node
    /// The version of the program that wrote it.
    var program: String
    /// Milliseconds since 1970, for display only.
    var wall: Int64

    /// What can be read of a header of any format.
    struct Origin: Codable {
        var journal: Int
        var program: String
    }

    /// Keys are sorted, and this one comes first.
    static let beginning = Array("{\"journal\":".utf8)
    static let ownBeginning = Array("{\"journal\":\(JournalFormat.number),".utf8)

    func line() throws -> [UInt8] { try JSON.encode(self) + [UInt8(ascii: "\n")] }
}

/// One event that entered the core, as it stands in a line.
struct JournalEvent: Sendable {
    var event: Event
    var moment: Moment
    /// Milliseconds since 1970, for display only.
    var wall: Int64
    /// The words of what the agent ordered then, in order.
    var effects: [String]

    /// `{"t":[boot,raw],"wall":…,"effects":[…],"event":{…}}`. What `JournalMemory` can tell is left out: the wall time, and all of the event
    /// but the pieces that differ from the last one of its kind, `"like":kind,"with":{…}`.
    func line(_ memory: inout JournalMemory) throws -> [UInt8] {
        var head = "{\"t\":[\(moment.boot.nanoseconds),\(moment.raw.nanoseconds)]"
        if !memory.tells(wall, at: moment.boot) { head += ",\"wall\":\(wall)" }
        if !effects.isEmpty { head += ",\"effects\":" + (try memory.text(of: effects, with: event.word)) }
        if let short = try memory.recurring(event) { return Array((head + short + "}\n").utf8) }
        let text = try JSON.encode(event)
        var rest = Self.mark + text
        if let changes = memory.changes(to: text, of: event.word) {
            var short = Array(",\"like\":\"\(event.word)\"".utf8)
            if !changes.isEmpty { short += Array(",\"with\":".utf8) + (try JSON.encode(changes)) }
            if short.count < rest.count { rest = short }
        }
        return Array(head.utf8) + rest + Array("}\n".utf8)
    }

    /// Stands in a line once and nowhere else: inside a text, its quotation marks would be escaped.
    private static let mark = Array(",\"event\":".utf8)

    private struct Head: Decodable {
        var t: [Int64]
        var wall: Int64?
        var effects: [String]?
        var like: String?
        var with: [String: String]?
    }

    /// Without the line break. Throws `WireError`, whose text says what is wrong with the line.
    init(_ line: ArraySlice<UInt8>, _ memory: inout JournalMemory) throws(WireError) {
        let head: Head
        var whole: ArraySlice<UInt8>?
        if let place = Self.find(Self.mark, in: line) {
            head = try Self.head(Array(line[..<place]) + [UInt8(ascii: "}")])
            guard line.last == UInt8(ascii: "}") else { throw WireError("the line has no end") }
            whole = line[(place + Self.mark.count)...].dropLast()
        } else {
            head = try Self.head(Array(line))
        }
        guard head.t.count == 2, head.t.allSatisfy({ (0..<1 << 61).contains($0) }), (0..<1 << 50).contains(head.wall ?? 0) else {
            throw WireError("its time is none")
        }
        switch (whole, head.like) {
        case (let text?, _): event = try memory.event(Array(text))
        case (nil, let kind?): event = try memory.event(like: kind, with: head.with ?? [:])
        case (nil, nil): throw WireError("there is no event in it")
        }
        moment = Moment(boot: Instant(nanoseconds: head.t[0]), raw: Instant(nanoseconds: head.t[1]))
        wall = try memory.wall(head.wall, at: moment.boot)
        effects = head.effects ?? []
    }

    init(event: Event, moment: Moment, wall: Int64, effects: [String]) {
        self.event = event
        self.moment = moment
        self.wall = wall
        self.effects = effects
    }

    private static func head(_ text: [UInt8]) throws(WireError) -> Head {
        do {
            return try JSON.decode(Head.self, from: text)
        } catch {
            throw WireError("it is no line of a journal")
        }
    }

    private static func find(_ mark: [UInt8], in line: ArraySlice<UInt8>) -> Int? {
        var start = line.startIndex
        while let place = line[start...].firstIndex(of: mark[0]) {
            if line[place...].starts(with: mark) { return place }
            start = place + 1
        }
        return nil
    }
}
