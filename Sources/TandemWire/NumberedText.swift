import TandemCore

/// A text that comes again and again with nothing new in it but some numbers: what stands around them.
///
/// It is made from a text that holds stand-ins in their places, so it never guesses which of the digits of a text are meant.
public struct NumberedText: Sendable {
    /// How a number stands in the text.
    public enum Style: Sendable {
        case decimal
        /// A WAL position, such as `16/B374D848`.
        case position

        func text(_ number: UInt64) -> String { self == .decimal ? String(number) : LSN(number).description }
    }

    /// Before each number, and last what follows them all.
    private var pieces: [[UInt8]] = []
    /// Which number stands behind each piece but the last.
    private var order: [Int] = []
    private var styles: [Style] = []

    /// That many numbers to make the text with: no counter of ours ever gets there, and milliseconds of that many are a `Duration` still.
    public static func standIns(_ count: Int) -> [UInt64] { (0..<UInt64(count)).map { 1_618_033_988_740 + $0 } }

    /// - Parameter text: made with as many `standIns` as there are styles.
    /// nil: one of them does not stand in it exactly once, as a number of its own.
    public init?(_ text: [UInt8], _ styles: [Style]) {
        self.styles = styles
        let standIns = zip(Self.standIns(styles.count), styles).map { Array($1.text($0).utf8) }
        var places: [(place: Int, number: Int)] = []
        for (number, digits) in standIns.enumerated() {
            var found: [Int] = []
            var place = 0
            while place + digits.count <= text.count {
                if text[place] == digits[0], text[place..<place + digits.count].elementsEqual(digits) { found.append(place) }
                place += 1
            }
            guard found.count == 1 else { return nil }
            places.append((found[0], number))
        }
        places.sort { $0.place < $1.place }
        var begin = 0
        for (place, number) in places {
            let end = place + standIns[number].count
            // A digit before or behind it would make another number of it.
            guard place > begin, Self.value(text[place - 1]) == nil, end < text.count, Self.value(text[end]) == nil else {
                return nil
            }
            pieces.append(Array(text[begin..<place]))
            order.append(number)
            begin = end
        }
        pieces.append(Array(text[begin...]))
    }

    /// The text with these numbers in it.
    public func text(_ numbers: [UInt64]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(pieces.reduce(20 * order.count) { $0 + $1.count })
        for (piece, number) in zip(pieces, order) {
            text += piece
            text += styles[number].text(numbers[number]).utf8
        }
        return text + pieces[order.count]
    }

    /// The numbers in it; nil: something else differs, or a number is written in another way than ours.
    public func numbers(in text: [UInt8]) -> [UInt64]? {
        var numbers = [UInt64](repeating: 0, count: order.count)
        let isSame = text.withUnsafeBufferPointer { text in
            var place = 0
            for (piece, number) in zip(pieces, order) {
                guard Self.stands(piece, at: place, in: text) else { return false }
                place += piece.count
                guard let value = Self.read(styles[number], at: &place, in: text) else { return false }
                numbers[number] = value
            }
            let last = pieces[order.count]
            return place + last.count == text.count && Self.stands(last, at: place, in: text)
        }
        return isSame ? numbers : nil
    }

    private static func stands(_ piece: [UInt8], at place: Int, in text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard place + piece.count <= text.count else { return false }
        for index in piece.indices where piece[index] != text[place + index] { return false }
        return true
    }

    /// As we write it; nil: it is written in another way, and is read the long way.
    private static func read(_ style: Style, at place: inout Int, in text: UnsafeBufferPointer<UInt8>) -> UInt64? {
        // 18 digits cannot overflow.
        if style == .decimal { return read(base: 10, atMost: 18, at: &place, in: text) }
        guard let high = read(base: 16, atMost: 8, at: &place, in: text), place < text.count, text[place] == UInt8(ascii: "/")
        else {
            return nil
        }
        place += 1
        return read(base: 16, atMost: 8, at: &place, in: text).map { high << 32 | $0 }
    }

    private static func read(base: UInt64, atMost: Int, at place: inout Int, in text: UnsafeBufferPointer<UInt8>) -> UInt64? {
        let begin = place
        var number: UInt64 = 0
        while place < text.count, place - begin < atMost, let digit = value(text[place]), digit < base {
            number = number * base + digit
            place += 1
        }
        return place > begin && (text[begin] != UInt8(ascii: "0") || place == begin + 1) ? number : nil
    }

    /// Of a digit, also a hexadecimal one in upper case.
    private static func value(_ byte: UInt8) -> UInt64? {
        switch byte {
        case 48...57: UInt64(byte - 48)
        case 65...70: UInt64(byte - 55)
        default: nil
        }
    }
}

/// What is new in each message of a kind although nothing has happened.
struct Numbers {
    private(set) var values: [UInt64] = []
    private(set) var styles: [NumberedText.Style] = []

    /// - Returns: what stands for it in the message without its numbers.
    mutating func part(_ value: UInt64, _ style: NumberedText.Style) -> UInt64 {
        values.append(value)
        styles.append(style)
        return 0
    }
}

/// The last message of one kind without its numbers, and its text once it has come twice: while nothing but the numbers changes, reading
/// and writing cost a tenth of reading and writing JSON.
struct Recurring<Message: Equatable & Sendable>: Sendable {
    private var last: Message?
    private(set) var text: NumberedText?
    /// What `write` wrote last was like the one before it, but for the numbers.
    private(set) var isRepetition = false
    private var isTried = false

    /// - Parameters:
    ///   - message: with 0 for each number, so that its like has numbers of the same styles.
    ///   - encode: the message's text with these numbers.
    mutating func write(
        _ message: Message, _ numbers: Numbers, encode: (_ numbers: [UInt64]) throws -> [UInt8]
    ) rethrows -> [UInt8] {
        isRepetition = try isKnown(message, numbers.styles, encode)
        if isRepetition, let text { return text.text(numbers.values) }
        return try encode(numbers.values)
    }

    /// The message that has this text, but for its numbers.
    func read(_ bytes: [UInt8]) -> (message: Message, numbers: [UInt64])? {
        guard let last, let numbers = text?.numbers(in: bytes) else { return nil }
        return (last, numbers)
    }

    /// What `read` did not know was read the long way, and may come again.
    mutating func learn(
        _ message: Message, _ numbers: Numbers, from bytes: [UInt8], encode: (_ numbers: [UInt64]) throws -> [UInt8]
    ) rethrows {
        guard try isKnown(message, numbers.styles, encode), let text else { return }
        // Its sender writes in another way than we do: each of its messages is read the long way.
        if text.text(numbers.values) != bytes { self.text = nil }
    }

    /// Whether it came the last time, too. Only then is its text worth making: on a busy pair each message is new.
    private mutating func isKnown(
        _ message: Message, _ styles: [NumberedText.Style], _ encode: ([UInt64]) throws -> [UInt8]
    ) rethrows -> Bool {
        guard last == message else {
            last = message
            text = nil
            isTried = false
            return false
        }
        if !isTried {
            isTried = true
            text = NumberedText(try encode(NumberedText.standIns(styles.count)), styles)
        }
        return true
    }
}
