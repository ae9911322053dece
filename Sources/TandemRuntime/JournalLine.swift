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
        let text = try JSON.encode(event)
        var head = "{\"t\":[\(moment.boot.nanoseconds),\(moment.raw.nanoseconds)]"
        if !memory.tells(wall, at: moment.boot) { head += ",\"wall\":\(wall)" }
        if !effects.isEmpty { head += ",\"effects\":" + String(decoding: try JSON.encode(effects), as: UTF8.self) }
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

/// What need not be written, because the lines before tell it; forgotten at each header, so that what follows it stands on its own. It makes
/// a journal reach back ten times as far.
///
/// Most events differ from the last one of their kind in a number or two: a heartbeat in its own number. Cut behind each comma and colon,
/// the text of such an event has as many pieces as the last one had, and only those that differ are written. And the wall clock usually
/// goes on as the other one does.
struct JournalMemory: Sendable {
    /// Of the last event of each kind.
    private var pieces: [String: [ArraySlice<UInt8>]] = [:]
    /// The same, for the reader.
    private var events: [String: Event] = [:]
    /// The last wall time that was written, and the moment it belongs to.
    private var written: (wall: Int64, boot: Instant)?

    /// The pieces that differ, by their places; nil: there is nothing to compare with. The text is kept for the next one.
    mutating func changes(to text: [UInt8], of kind: String) -> [String: String]? {
        let new = Self.cut(text)
        defer { pieces[kind] = new }
        guard let old = pieces[kind], old.count == new.count else { return nil }
        var changes: [String: String] = [:]
        for place in new.indices where new[place] != old[place] {
            changes[String(place)] = String(decoding: new[place], as: UTF8.self)
        }
        return changes
    }

    /// The event that the changes were made of.
    mutating func event(like kind: String, with changes: [String: String]) throws(WireError) -> Event {
        guard var all = pieces[kind], let last = events[kind] else {
            throw WireError("it is like an earlier `\(kind)`, and there was none")
        }
        if changes.isEmpty { return last }
        for (place, piece) in changes {
            guard let place = Int(place), all.indices.contains(place) else {
                throw WireError("it changes the piece \(place) of a `\(kind)` that has \(all.count)")
            }
            all[place] = Array(piece.utf8)[...]
        }
        let event = try Self.decoded(Array(all.joined()))
        pieces[kind] = all
        events[kind] = event
        return event
    }

    /// The event whose text this is.
    mutating func event(_ text: [UInt8]) throws(WireError) -> Event {
        let event = try Self.decoded(text)
        pieces[event.word] = Self.cut(text)
        events[event.word] = event
        return event
    }

    private static func decoded(_ text: [UInt8]) throws(WireError) -> Event {
        do {
            return try JSON.decode(Event.self, from: text)
        } catch {
            throw WireError("its event is none that this version knows: \(error)")
        }
    }

    private static func cut(_ text: [UInt8]) -> [ArraySlice<UInt8>] {
        var pieces: [ArraySlice<UInt8>] = []
        var start = 0
        for (place, byte) in text.enumerated() where byte == UInt8(ascii: ",") || byte == UInt8(ascii: ":") {
            pieces.append(text[start...place])
            start = place + 1
        }
        return pieces + [text[start...]]
    }

    /// Whether the reader can tell this wall time by itself, to the millisecond; if not, it is to be written.
    mutating func tells(_ wall: Int64, at boot: Instant) -> Bool {
        if let derived = derivedWall(boot), abs(derived - wall) <= 1 { return true }
        written = (wall, boot)
        return false
    }

    mutating func wall(_ told: Int64?, at boot: Instant) throws(WireError) -> Int64 {
        if let told {
            written = (told, boot)
            return told
        }
        guard let derived = derivedWall(boot) else { throw WireError("it has no wall time, and no line before it had one") }
        return derived
    }

    private func derivedWall(_ boot: Instant) -> Int64? { written.map { $0.wall + (boot - $0.boot).milliseconds } }
}
