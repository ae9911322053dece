import TandemCore
import TandemWire

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
    /// For the writer: how the last event of each kind comes again.
    private var recurrences: [String: JournalRecurrence] = [:]
    /// Of the last event of each kind.
    private var orders: [String: (effects: [String], text: String)] = [:]
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

    /// The end of the line of an event that is the last one of its kind but for numbers, as `changes` would make it, for a fiftieth of the
    /// work; nil: it is to be written the long way.
    mutating func recurring(_ event: Event) throws -> String? {
        let kind = event.word
        let (bare, numbers) = event.parted
        guard var known = recurrences[kind], known.bare == bare else {
            recurrences[kind] = JournalRecurrence(bare: bare, numbers: numbers)
            return nil
        }
        defer { recurrences[kind] = known }
        if !known.isTried, let last = pieces[kind] {
            known.isTried = true
            // Nothing is in it but its kind: not worth a text.
            known.places = numbers.isEmpty ? [] : try JournalRecurrence.places(event, numbers.count, in: last, cut: Self.cut)
        }
        guard let places = known.places else {
            known.numbers = numbers
            return nil
        }
        var changes: [String] = []
        for (index, place) in places.enumerated() where numbers[index] != known.numbers[index] {
            let piece = String(numbers[index]) + place.end
            pieces[kind]?[place.piece] = Array(piece.utf8)[...]
            changes.append("\"\(place.piece)\":\"\(piece)\"")
        }
        known.numbers = numbers
        let with = changes.isEmpty ? "" : ",\"with\":{\(changes.joined(separator: ","))}"
        return ",\"like\":\"\(kind)\"" + with
    }

    /// As JSON.
    mutating func text(of effects: [String], with kind: String) throws -> String {
        if let known = orders[kind], known.effects == effects { return known.text }
        let text = String(decoding: try JSON.encode(effects), as: UTF8.self)
        orders[kind] = (effects, text)
        return text
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

/// An event that comes again with nothing new but numbers that count it, and where these stand in its text.
struct JournalRecurrence: Sendable {
    struct Place: Sendable {
        /// Of the event's text, cut.
        var piece: Int
        /// What follows the number in that piece: no quotation mark can be in it.
        var end: String
    }

    /// With zeros in their places.
    var bare: Event
    /// Of the last one.
    var numbers: [UInt64]
    var isTried = false
    /// Of each number; nil: not found, and each event is written the long way.
    var places: [Place]?

    init(bare: Event, numbers: [UInt64]) {
        self.bare = bare
        self.numbers = numbers
    }

    /// - Parameter last: the pieces of the last event of the kind, in which nothing else may differ.
    static func places(
        _ event: Event, _ count: Int, in last: [ArraySlice<UInt8>], cut: ([UInt8]) -> [ArraySlice<UInt8>]
    ) throws -> [Place]? {
        let standIns = NumberedText.standIns(count)
        let pieces = cut(try JSON.encode(event.with(standIns)))
        guard pieces.count == last.count else { return nil }
        var places: [Int: Place] = [:]
        for index in pieces.indices where pieces[index] != last[index] {
            let piece = String(decoding: pieces[index], as: UTF8.self)
            guard let number = standIns.firstIndex(where: { piece.hasPrefix(String($0)) }), places[number] == nil else {
                return nil
            }
            places[number] = Place(piece: index, end: String(piece.dropFirst(String(standIns[number]).count)))
        }
        let found = (0..<count).compactMap { places[$0] }
        return found.count == count ? found : nil
    }
}

extension Event {
    /// The event without the numbers that are new in each of its kind, and these.
    var parted: (bare: Event, numbers: [UInt64]) {
        var numbers: [UInt64] = []
        let bare = exchanging {
            numbers.append($0)
            return 0
        }
        return (bare, numbers)
    }

    /// The same with other numbers.
    func with(_ numbers: [UInt64]) -> Event {
        var left = numbers[...]
        return exchanging { _ in left.removeFirst() }
    }

    /// The same with what `exchange` makes of each of these numbers, in the order of their places here.
    private func exchanging(_ exchange: (UInt64) -> UInt64) -> Event {
        switch self {
        case .heartbeat(var heartbeat, let header):
            heartbeat.number = exchange(heartbeat.number)
            heartbeat.acknowledged = heartbeat.acknowledged.map(exchange)
            heartbeat.report.dataAge = heartbeat.report.dataAge.map { $0.exchanged(exchange) }
            heartbeat.report.postgres.exchange(exchange)
            return .heartbeat(heartbeat, header)
        case .postgres(var postgres):
            postgres.exchange(exchange)
            return .postgres(postgres)
        case .witness(var answer, let header):
            answer.number = exchange(answer.number)
            answer.position = answer.position.map { LSN(exchange($0.bytes)) }
            return .witness(answer, header)
        default:
            return self
        }
    }
}

private let attosecondsPerSecond: UInt64 = 1_000_000_000_000_000_000

extension LocalPostgres {
    /// Positions: the heartbeat row alone moves them once a second.
    fileprivate mutating func exchange(_ exchange: (UInt64) -> UInt64) {
        func new(_ position: LSN?) -> LSN? { position.map { LSN(exchange($0.bytes)) } }
        flushed = new(flushed)
        received = new(received)
        replayed = new(replayed)
        for index in replicas.indices {
            replicas[index].flushed = new(replicas[index].flushed)
            replicas[index].replayed = new(replicas[index].replayed)
        }
        guard let known = row else { return }
        row = HeartbeatRow(
            beat: exchange(known.beat), turn: exchange(known.turn), shownAge: known.shownAge.map { $0.exchanged(exchange) })
    }
}

extension Duration {
    /// By the low half of what stands in the text, if the other one is 0.
    fileprivate func exchanged(_ exchange: (UInt64) -> UInt64) -> Duration {
        let (seconds, rest) = components
        guard (0..<9).contains(seconds), rest >= 0 else { return self }
        let new = exchange(UInt64(seconds) * attosecondsPerSecond + UInt64(rest))
        return Duration(
            secondsComponent: Int64(new / attosecondsPerSecond), attosecondsComponent: Int64(new % attosecondsPerSecond))
    }
}
