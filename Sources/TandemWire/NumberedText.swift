/// A text that comes again and again with nothing new in it but some numbers: what stands around them.
///
/// It is made from a text that holds stand-ins in their places, so it never guesses which of the digits of a text are meant.
public struct NumberedText: Sendable {
    /// Before each number, and last what follows them all.
    private var pieces: [[UInt8]] = []
    /// Which number stands behind each piece but the last.
    private var order: [Int] = []

    /// That many numbers to make the text with: no counter of ours ever gets there, and milliseconds of that many are a `Duration` still.
    public static func standIns(_ count: Int) -> [UInt64] { (0..<UInt64(count)).map { 1_618_033_988_740 + $0 } }

    /// - Parameter text: made with `standIns(count)`.
    /// nil: one of them does not stand in it exactly once, as a number of its own.
    public init?(_ text: [UInt8], count: Int) {
        let standIns = Self.standIns(count).map { Array(String($0).utf8) }
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
            guard place > begin, !Self.isDigit(text[place - 1]), end < text.count, !Self.isDigit(text[end]) else { return nil }
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
            text += String(numbers[number]).utf8
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
                let begin = place
                var value: UInt64 = 0
                // 18 digits cannot overflow; longer ones are read the long way.
                while place < text.count, Self.isDigit(text[place]), place - begin < 18 {
                    value = value * 10 + UInt64(text[place] - UInt8(ascii: "0"))
                    place += 1
                }
                guard place > begin, text[begin] != UInt8(ascii: "0") || place == begin + 1 else { return false }
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

    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
}

/// The last message of one kind without its numbers, and its text once it has come twice: while nothing but the numbers changes, reading
/// and writing cost a tenth of reading and writing JSON.
struct Recurring<Message: Equatable & Sendable>: Sendable {
    private var last: Message?
    private(set) var text: NumberedText?
    private var isTried = false

    /// - Parameter encode: the message's text with these numbers.
    mutating func write(
        _ message: Message, _ numbers: [UInt64], encode: (_ numbers: [UInt64]) throws -> [UInt8]
    ) rethrows -> [UInt8] {
        if try isKnown(message, numbers.count, encode), let text { return text.text(numbers) }
        return try encode(numbers)
    }

    /// The message that has this text, but for its numbers.
    func read(_ bytes: [UInt8]) -> (message: Message, numbers: [UInt64])? {
        guard let last, let numbers = text?.numbers(in: bytes) else { return nil }
        return (last, numbers)
    }

    /// What `read` did not know was read the long way, and may come again.
    mutating func learn(
        _ message: Message, _ numbers: [UInt64], from bytes: [UInt8], encode: (_ numbers: [UInt64]) throws -> [UInt8]
    ) rethrows {
        guard try isKnown(message, numbers.count, encode), let text else { return }
        // Its sender writes in another way than we do: each of its messages is read the long way.
        if text.text(numbers) != bytes { self.text = nil }
    }

    /// Whether it came the last time, too. Only then is its text worth making: on a busy pair each message is new.
    private mutating func isKnown(_ message: Message, _ count: Int, _ encode: ([UInt64]) throws -> [UInt8]) rethrows -> Bool {
        guard last == message else {
            last = message
            text = nil
            isTried = false
            return false
        }
        if !isTried {
            isTried = true
            text = NumberedText(try encode(NumberedText.standIns(count)), count: count)
        }
        return true
    }
}
